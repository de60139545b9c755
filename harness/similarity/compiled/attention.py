"""SCAN's cross-attention after the product, in one pass over the tile. Imported only where numba is (see `kernels`).

Right items of one length are taken `WIDTH` at a time, or left items where there are few right fragments. Every item has its
own lane, and its bits depend on nothing else in the tile.

Shape letters: c left items with F fragments each, n right items with P fragments in all, q items of L fragments in a part; T
numbers of `triangle_places`.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.arithmetic import power_of_two
from harness.similarity.compiled.lanes import (
    INLINED,
    OPTIONS,
    WIDTH,
    add,
    divide,
    first_lanes,
    fma,
    items_in_lanes,
    largest,
    load,
    load_some,
    magnitude,
    multiply,
    read,
    splat,
    spread,
    square_root,
    store,
    store_some,
)

#: Rows of a Gram matrix that a quadratic form takes at a time: their sums, and those of two columns, stay in registers.
ROWS = 4
_ZERO = np.float32(0)


@njit(**INLINED)
def _padded(fragments):
    """F filled up to whole `ROWS`."""
    return (fragments + ROWS - 1) // ROWS * ROWS


def triangle_places(fragments: int) -> tuple[np.ndarray, np.ndarray]:
    """What a quadratic form reads of an F x F Gram matrix, in the order in which it reads it: `ROWS` rows at a time, by column.

    Args:
        fragments: F.

    Returns:
        (T,) int64 places in the flattened matrix, and (T,) float32 factors: 1 on the diagonal, 2 above it, 0 below it and in
        rows and columns from F on.

    >>> places, factors = triangle_places(2)
    >>> places.reshape(4, 4)[:2].tolist(), factors.reshape(4, 4)[:2].tolist()
    ([[0, 0, 0, 0], [1, 3, 0, 0]], [[1.0, 0.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0]])
    """
    padded = _padded.py_func(fragments)
    g, f = np.concatenate(
        [np.stack(np.mgrid[first:padded, first : first + ROWS]).reshape(2, -1) for first in range(0, padded, ROWS)], 1
    )
    there = (f <= g) & (g < fragments)
    return np.where(there, f * fragments + g, 0), np.where(there, np.where(f < g, 2, 1), 0).astype(np.float32)


@njit(**OPTIONS)
def attend(tile, stride, part, fragments, triangles, together, norms, lengths, counts, attention, out):
    """Products of queries and attended vectors, and the products of their norms.

    Args:
        tile: float32, the P similarities of left fragment f of item c from `(c * F + f) * stride` on.
        stride: int.
        part: the first left item to take, and the one after the last.
        fragments: F.
        triangles: (c / together, T, together) float32 flattened: `triangle_places` of the Gram matrices, by item last.
        together: 1 or `WIDTH`.
        norms: (P,) float32 of the right fragments.
        lengths, counts: (parts,) int64, L and q of each part.
        attention: float32 slope of negative similarities, inverse temperature over ln 2, and epsilon; whether the norm is L1.
        out: (c, 2, P) float32 flattened, overwritten for the items of `part`.
    """
    columns = len(norms)
    room = _room(fragments)
    triangle = np.empty(_size(fragments), np.float32)
    for c in range(part[0], part[1]):
        first = c // together * together * len(triangle) + c % together
        for i in range(len(triangle)):
            triangle[i] = triangles[first + i * together]
        column = 0
        for length, q in zip(lengths, counts):  # noqa: B905 - numba takes no `strict`
            some, whole = first_lanes(q), q >= WIDTH
            for item in range(0, q, WIDTH):
                at = column + max(min(item, q - WIDTH), 0)  # the last vector takes some items again
                source = tile, c * fragments * stride + at, stride, q, some, whole
                target = out, c * 2 * columns + at, columns, q
                _attend(source, fragments, length, attention, triangle, 0, False, norms, at, q, room, target)
            column += length * q


@njit(**OPTIONS)
def attend_few(tile, stride, part, contexts, fragments, triangles, norms, lengths, counts, attention, out):
    """`attend` for few columns: left items take the lanes. The bits are the same.

    Args:
        tile, fragments, norms, lengths, counts, attention, out: as in `attend`.
        stride: int, not less than P filled up to a multiple of `WIDTH`.
        part: the first vector of left items to take, and the one after the last.
        contexts: c.
        triangles: as in `attend`, `WIDTH` together.
    """
    columns, room, every = len(norms), _room(fragments), first_lanes(WIDTH)
    similarity = np.empty((columns + WIDTH) * fragments * WIDTH, np.float32)
    found = np.empty(2 * columns * WIDTH, np.float32)
    for block in range(part[0], part[1]):
        here, rows = min(WIDTH, contexts - block * WIDTH), block * WIDTH * fragments
        items_in_lanes(tile, rows, stride, fragments, columns, here, similarity)
        column = 0
        for length, q in zip(lengths, counts):  # noqa: B905 - numba takes no `strict`
            for at in range(column, column + q):
                source = similarity, at * fragments * WIDTH, WIDTH, q * fragments * WIDTH, every, True
                target = found, at * WIDTH, columns * WIDTH, q * WIDTH
                first = block * _size(fragments) * WIDTH
                _attend(source, fragments, length, attention, triangles, first, True, norms, at, q, room, target)
            column += length * q
        for j in range(here):
            into = (block * WIDTH + j) * 2 * columns
            for i in range(2 * columns):
                out[into + i] = found[i * WIDTH + j]


@njit(**INLINED)
def _size(fragments):
    """T."""
    padded = _padded(fragments)
    return padded * (padded + ROWS) // 2


@njit(**INLINED)
def _room(fragments):
    """For the scales of an item, and the weights of two columns with zeros where F is filled up."""
    return np.empty(fragments * WIDTH, np.float32), np.zeros(_padded(fragments) * 2 * WIDTH, np.float32)


@njit(**INLINED)
def _attend(source, fragments, length, attention, triangle, start, by_lane, norms, at, q, room, target):
    """One item in each lane.

    Args:
        source: float32 values; where the first position's similarity with the first left fragment begins, those of the next
            left fragment, and of the next position; lanes to read, and whether these are all.
        triangle, start: of `triangle_places`, from `start` on.
        by_lane: whether each lane has its own left item, and one right item for all; or the other way round.
        norms, at, q: the norms of the right fragments: where the item's begin, and how far its positions lie apart.
        room: of `_room`.
        target: where to write; the first position's product, where its norm is from there, and the next position's product.
    """
    values, origin, to_fragment, to_position, some, whole = source
    out, into, to_norm, to_next = target
    leak, factor, epsilon, absolute = attention
    scales, weights = room
    for f in range(fragments):
        norm = splat(_ZERO)
        for p in range(length):
            s = read(values, origin + f * to_fragment + p * to_position, some, whole)
            a = largest(s, multiply(s, splat(leak)))
            norm = add(norm, magnitude(a)) if absolute else fma(a, a, norm)
        norm = norm if absolute else square_root(norm)
        store(scales, f * WIDTH, divide(splat(factor), add(norm, splat(epsilon))))
    for p in range(0, length, 2):
        other = min(p + 1, length - 1)  # of an odd number of positions, the last is taken twice
        product = other_product = total = other_total = splat(_ZERO)
        for f in range(fragments):
            first, scale = origin + f * to_fragment, load(scales, f * WIDTH)
            s = read(values, first + p * to_position, some, whole)
            w = power_of_two(multiply(largest(s, multiply(s, splat(leak))), scale))
            product, total = fma(w, s, product), add(total, w)
            store(weights, 2 * f * WIDTH, w)
            s = read(values, first + other * to_position, some, whole)
            w = power_of_two(multiply(largest(s, multiply(s, splat(leak))), scale))
            other_product, other_total = fma(w, s, other_product), add(other_total, w)
            store(weights, (2 * f + 1) * WIDTH, w)
        squares, other_squares = _quadratic(weights, fragments, triangle, start, by_lane)
        norm = _norm(squares, total, norms, at + p * q, some, by_lane, epsilon)
        store_some(out, into + p * to_next, product, some)
        store_some(out, into + p * to_next + to_norm, norm, some)
        norm = _norm(other_squares, other_total, norms, at + other * q, some, by_lane, epsilon)
        store_some(out, into + other * to_next, other_product, some)
        store_some(out, into + other * to_next + to_norm, norm, some)


@njit(**INLINED)
def _norm(squares, total, norms, at, some, by_lane, epsilon):
    """The product of the two norms, which is divided by; at least epsilon times the sum of the weights."""
    norm = spread(norms, at) if by_lane else load_some(norms, at, some)
    return largest(multiply(square_root(largest(squares, splat(_ZERO))), norm), multiply(total, splat(epsilon)))


@njit(**INLINED)
def _quadratic(weights, fragments, triangle, start, by_lane):
    """Sums over f <= g of e_f triangle_fg e_g, for two columns; `ROWS` rows and both columns at a time."""
    found = other = splat(_ZERO)
    at = start
    for f in range(0, fragments, ROWS):
        a = b = c = d = k = m = n = o = splat(_ZERO)
        for g in range(f, _padded(fragments)):
            x, y = load(weights, 2 * g * WIDTH), load(weights, (2 * g + 1) * WIDTH)
            t = _coefficient(triangle, at, by_lane)
            a, k = fma(t, x, a), fma(t, y, k)
            t = _coefficient(triangle, at + (WIDTH if by_lane else 1), by_lane)
            b, m = fma(t, x, b), fma(t, y, m)
            t = _coefficient(triangle, at + (2 * WIDTH if by_lane else 2), by_lane)
            c, n = fma(t, x, c), fma(t, y, n)
            t = _coefficient(triangle, at + (3 * WIDTH if by_lane else 3), by_lane)
            d, o = fma(t, x, d), fma(t, y, o)
            at += ROWS * WIDTH if by_lane else ROWS
        row = 2 * f * WIDTH
        found = fma(a, load(weights, row), found)
        other = fma(k, load(weights, row + WIDTH), other)
        found = fma(b, load(weights, row + 2 * WIDTH), found)
        other = fma(m, load(weights, row + 3 * WIDTH), other)
        found = fma(c, load(weights, row + 4 * WIDTH), found)
        other = fma(n, load(weights, row + 5 * WIDTH), other)
        found = fma(d, load(weights, row + 6 * WIDTH), found)
        other = fma(o, load(weights, row + 7 * WIDTH), other)
    return found, other


@njit(**INLINED)
def _coefficient(triangle, at, by_lane):
    return load(triangle, at) if by_lane else spread(triangle, at)
