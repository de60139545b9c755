"""Weighted maxima in both directions, with and without gates, in one pass over the tile. Imported only where numba is.

Lanes and shape letters: as in `harness.similarity.compiled.attention`.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.lanes import (
    INLINED,
    OPTIONS,
    WIDTH,
    first_lanes,
    fma,
    items_in_lanes,
    largest,
    load,
    load_some,
    multiply,
    read,
    splat,
    spread,
    store,
    store_some,
)

#: Positions of an item that are taken at a time: the maxima of all, of each kind, stay in registers.
POSITIONS = 4
#: Numbers of a left fragment, and of a right one.
LEFT, RIGHT = 3, 4
_ZERO, _LEAST = np.float32(0), np.float32(-np.inf)


@njit(**OPTIONS)
def both_ways(tile, stride, part, fragments, gated, split, left, together, right, lengths, counts, out):
    """The sum of all weighted maxima.

    Args:
        tile, stride, part, fragments, together, lengths, counts: as in `attend`.
        gated: whether gates are read.
        split: left fragments before it have gates, those from it on are a kind of their own.
        left: (c / together, 3, F, together) float32 flattened: gates, and the weights of the plain and of the gated maxima
            over an item's positions.
        right: (4, P) float32 flattened: gates, and the weights of the maxima over left fragments: plain, gated, and of the
            other kind.
        out: (c, n) float32 flattened, overwritten for the items of `part`.
    """
    columns, items = len(right) // RIGHT, counts.sum()
    own = np.empty(LEFT * fragments, np.float32)
    room = _room(fragments)
    for c in range(part[0], part[1]):
        first = c // together * together * len(own) + c % together
        for i in range(len(own)):
            own[i] = left[first + i * together]
        column = before = 0
        for length, q in zip(lengths, counts):  # noqa: B905 - numba takes no `strict`
            some, whole = first_lanes(q), q >= WIDTH
            for item in range(0, q, WIDTH):
                at = max(min(item, q - WIDTH), 0)  # the last vector takes some items again
                source = tile, c * fragments * stride + column + at, stride, q, some, whole
                weights = own, 0, right, columns, column + at, q, False
                if gated:
                    score = _gated(source, fragments, split, length, weights, room)
                else:
                    score = _plain(source, fragments, length, weights, room)
                store_some(out, c * items + before + at, score, some)
            column += length * q
            before += q


@njit(**OPTIONS)
def both_ways_few(tile, stride, part, contexts, fragments, gated, split, left, right, lengths, counts, out):
    """`both_ways` for few columns: left items take the lanes. The bits are the same.

    Args:
        tile, fragments, gated, split, right, lengths, counts, out: as in `both_ways`.
        stride, part, contexts: as in `attend_few`.
        left: as in `both_ways`, `WIDTH` together.
    """
    columns, items, every = len(right) // RIGHT, counts.sum(), first_lanes(WIDTH)
    room = _room(fragments)
    similarity = np.empty((columns + WIDTH) * fragments * WIDTH, np.float32)
    found = np.empty(WIDTH, np.float32)
    for block in range(part[0], part[1]):
        here, rows = min(WIDTH, contexts - block * WIDTH), block * WIDTH * fragments
        items_in_lanes(tile, rows, stride, fragments, columns, here, similarity)
        column = before = 0
        for length, q in zip(lengths, counts):  # noqa: B905 - numba takes no `strict`
            for item in range(q):
                at = column + item
                source = similarity, at * fragments * WIDTH, WIDTH, q * fragments * WIDTH, every, True
                weights = left, block * LEFT * fragments * WIDTH, right, columns, at, q, True
                if gated:
                    score = _gated(source, fragments, split, length, weights, room)
                else:
                    score = _plain(source, fragments, length, weights, room)
                store(found, 0, score)
                for j in range(here):
                    out[(block * WIDTH + j) * items + before + item] = found[j]
            column += length * q
            before += q


@njit(**INLINED)
def _room(fragments):
    """For the maxima over positions of each left fragment, plain and gated."""
    return np.empty(fragments * WIDTH, np.float32), np.empty(fragments * WIDTH, np.float32)


@njit(**INLINED)
def _plain(source, fragments, length, weights, room):
    """The score of one item in each lane, without gates; the arguments are those of `_gated`."""
    values, origin, to_fragment, to_position, some, whole = source
    own, first, right, columns, at, q, by_lane = weights
    rows, _ = room
    score = splat(_ZERO)
    for p in range(0, length, POSITIONS):
        best = _least()
        for f in range(fragments):
            s = _four(values, origin + f * to_fragment, to_position, p, length, some, whole)
            best = _larger(best, s)
            _keep(rows, f, p, _largest_of(s))
        score = _columns_added(score, best, right, columns + at, q, p, length, some, by_lane)
    for f in range(fragments):
        score = fma(_left(own, first, fragments + f, by_lane), load(rows, f * WIDTH), score)
    return score


@njit(**INLINED)
def _gated(source, fragments, split, length, weights, room):
    """The score of one item in each lane.

    Args:
        source: as in `harness.similarity.compiled.attention`.
        fragments, split: of `both_ways`.
        length: L.
        weights: those of left fragments and where they begin; those of right fragments, how far apart the kinds lie, where
            the item's begin, and how far its positions lie apart; whether each lane has its own left item, or right item.
        room: of `_room`.
    """
    values, origin, to_fragment, to_position, some, whole = source
    own, first, right, columns, at, q, by_lane = weights
    rows, gated_rows = room
    score = splat(_ZERO)
    for p in range(0, length, POSITIONS):
        gates = _rights(right, at, q, p, length, some, by_lane)
        best, gated = _least(), _least()
        for f in range(split):
            s = _four(values, origin + f * to_fragment, to_position, p, length, some, whole)
            best = _larger(best, s)
            gated = _larger(gated, _scaled(s, _left(own, first, f, by_lane)))
            _keep(rows, f, p, _largest_of(s))
            _keep(gated_rows, f, p, _largest_of(_times(s, gates)))
        score = _columns_added(score, best, right, columns + at, q, p, length, some, by_lane)
        score = _columns_added(score, gated, right, 2 * columns + at, q, p, length, some, by_lane)
        if split < fragments:
            best = _least()
            for f in range(split, fragments):
                s = _four(values, origin + f * to_fragment, to_position, p, length, some, whole)
                best = _larger(best, s)
                _keep(gated_rows, f, p, _largest_of(_times(s, gates)))
            score = _columns_added(score, best, right, 3 * columns + at, q, p, length, some, by_lane)
    for f in range(fragments):
        score = fma(_left(own, first, 2 * fragments + f, by_lane), load(gated_rows, f * WIDTH), score)
    for f in range(split):
        score = fma(_left(own, first, fragments + f, by_lane), load(rows, f * WIDTH), score)
    return score


@njit(**INLINED)
def _least():
    least = splat(_LEAST)
    return least, least, least, least


@njit(**INLINED)
def _four(values, at, step, p, length, some, whole):
    """Four positions from the p-th on; the last one in place of those that are missing, which no maximum sees."""
    last = length - 1
    return (
        read(values, at + p * step, some, whole),
        read(values, at + min(p + 1, last) * step, some, whole),
        read(values, at + min(p + 2, last) * step, some, whole),
        read(values, at + min(p + 3, last) * step, some, whole),
    )


@njit(**INLINED)
def _rights(right, at, q, p, length, some, by_lane):
    """`_four` of the numbers of right fragments."""
    last = length - 1
    return (
        _right(right, at + p * q, some, by_lane),
        _right(right, at + min(p + 1, last) * q, some, by_lane),
        _right(right, at + min(p + 2, last) * q, some, by_lane),
        _right(right, at + min(p + 3, last) * q, some, by_lane),
    )


@njit(**INLINED)
def _right(right, at, some, by_lane):
    return spread(right, at) if by_lane else load_some(right, at, some)


@njit(**INLINED)
def _left(own, first, at, by_lane):
    return load(own, first + at * WIDTH) if by_lane else spread(own, first + at)


@njit(**INLINED)
def _larger(best, values):
    a, b, c, d = best
    w, x, y, z = values
    return largest(a, w), largest(b, x), largest(c, y), largest(d, z)


@njit(**INLINED)
def _scaled(values, scale):
    w, x, y, z = values
    return multiply(w, scale), multiply(x, scale), multiply(y, scale), multiply(z, scale)


@njit(**INLINED)
def _times(values, others):
    a, b, c, d = values
    w, x, y, z = others
    return multiply(a, w), multiply(b, x), multiply(c, y), multiply(d, z)


@njit(**INLINED)
def _largest_of(values):
    w, x, y, z = values
    return largest(largest(w, x), largest(y, z))


@njit(**INLINED)
def _keep(rows, f, p, value):
    """The maximum over the positions up to now."""
    store(rows, f * WIDTH, largest(load(rows, f * WIDTH), value) if p else value)


@njit(**INLINED)
def _columns_added(score, best, right, at, q, p, length, some, by_lane):
    """The score with the weighted maxima of four positions from the p-th on, or of those that are there."""
    w, x, y, z = best
    score = fma(_right(right, at + p * q, some, by_lane), w, score)
    if p + 1 < length:
        score = fma(_right(right, at + (p + 1) * q, some, by_lane), x, score)
    if p + 2 < length:
        score = fma(_right(right, at + (p + 2) * q, some, by_lane), y, score)
    if p + 3 < length:
        score = fma(_right(right, at + (p + 3) * q, some, by_lane), z, score)
    return score
