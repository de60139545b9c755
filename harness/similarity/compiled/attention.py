"""SCAN's cross-attention after the product, in one pass over the tile. Imported only where numba is (see `kernels`).

Columns come in chunks of `CHUNK`, whose weights stay in the cache. Each column's bits depend on nothing else in the tile.

Shape letters: c left items with F fragments each, n right items with P columns in all, q items of L fragments in a part.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.arithmetic import INLINED, OPTIONS, exp_parts, fma

#: Columns of a chunk.
CHUNK = 64
_ZERO, _TWO = np.float32(0), np.float32(2)


def runs(lengths: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which columns belong to successive items.

    Args:
        lengths, counts: (parts,) int64, L and q of each part.

    Returns:
        (runs, 3) int64: place in the chunk, first item, and how many columns; (chunks + 1,) int64 where each chunk's begin.

    >>> runs(np.array([2]), np.array([3]))[0].tolist()
    [[0, 0, 3], [3, 0, 3]]
    """
    firsts = np.cumsum(counts) - counts
    items = np.concatenate(
        [np.tile(np.arange(q) + first, length) for length, q, first in zip(lengths, counts, firsts, strict=True)]
    )
    columns = np.arange(len(items))
    begins = np.flatnonzero((np.diff(items, prepend=-2) != 1) | (columns % CHUNK == 0))
    table = np.stack([begins % CHUNK, items[begins], np.diff(begins, append=len(items))], 1)
    return table, np.searchsorted(begins, np.arange(0, len(items) + CHUNK, CHUNK))


@njit(**OPTIONS)
def attend(tile, gram, norms, lengths, counts, runs, starts, attention, least, out):
    """Products of queries and attended vectors, and the products of their norms.

    Args:
        tile: (c, F, P) float32.
        gram: (c, F, F) float32.
        norms: (P,) float32 of the right fragments.
        lengths, counts: (parts,) int64, L and q of each part.
        runs, starts: of `runs`.
        attention: float32 slope of negative similarities, inverse temperature and epsilon; whether the norm is L1.
        least: float32, a product of norms below it may be smaller than epsilon times the sum of the weights, and is compared.
        out: (c, 2, P) float32, overwritten.
    """
    contexts, fragments, columns = tile.shape
    leak, factor, epsilon, absolute = attention
    scales = np.empty((fragments, counts.sum()), np.float32)
    similarity, weights = np.zeros((fragments, CHUNK), np.float32), np.zeros((fragments, CHUNK), np.float32)
    scale, logits, product = np.zeros(CHUNK, np.float32), np.zeros(CHUNK, np.float32), np.zeros(CHUNK, np.float32)
    found, sums = np.zeros(CHUNK, np.float32), np.zeros(2 * CHUNK, np.float32)
    powers = np.zeros(CHUNK, np.int32)
    for c in range(contexts):
        _scales(tile[c], lengths, counts, leak, factor, epsilon, absolute, scales)
        for chunk in range(len(starts) - 1):
            first = chunk * CHUNK
            width = min(CHUNK, columns - first)
            product[:] = _ZERO
            for f in range(fragments):
                own = similarity[f]
                _copy(tile[c, f, first : first + width], own)
                for r in range(starts[chunk], starts[chunk + 1]):
                    _copy(scales[f, runs[r, 1] : runs[r, 1] + runs[r, 2]], scale[runs[r, 0] :])
                _weights(own, scale, leak, logits, powers, weights[f], product)
            _quadratic(weights, gram[c], sums, found)
            _write(product, found, weights, norms, epsilon, least, first, width, out[c])


@njit(**OPTIONS)
def attend_few(tile, gram, norms, lengths, counts, attention, least, out):
    """`attend` for few columns: chunks of left items take the place of chunks of columns. The bits are the same.

    Args:
        tile, norms, lengths, counts, attention, least, out: as in `attend`, which takes P >> F.
        gram: (F, F, c) float32.
    """
    contexts, fragments, columns = tile.shape
    leak, factor, epsilon, absolute = attention
    similarity = np.zeros((columns, fragments, CHUNK), np.float32)
    scales, weights = np.zeros((fragments, CHUNK), np.float32), np.zeros((fragments, CHUNK), np.float32)
    logits, product = np.zeros(CHUNK, np.float32), np.zeros(CHUNK, np.float32)
    found, sums = np.zeros(CHUNK, np.float32), np.zeros(2 * CHUNK, np.float32)
    powers = np.zeros(CHUNK, np.int32)
    for first in range(0, contexts, CHUNK):
        width = min(CHUNK, contexts - first)
        for f in range(fragments):
            for p in range(columns):
                own = similarity[p, f]
                for j in range(width):
                    own[j] = tile[first + j, f, p]
        column = 0
        for part in range(len(lengths)):
            q, end = counts[part], column + lengths[part] * counts[part]
            for start in range(column, column + q):
                for f in range(fragments):
                    _scales_few(similarity, f, range(start, end, q), leak, factor, epsilon, absolute, scales[f])
                for p in range(start, end, q):
                    product[:] = _ZERO
                    for f in range(fragments):
                        _weights(similarity[p, f], scales[f], leak, logits, powers, weights[f], product)
                    _quadratic_few(weights, gram, first, width, sums, found)
                    _write_few(product, found, weights, norms[p], epsilon, least, first, width, p, out)
            column = end


@njit(**INLINED)
def _copy(source, target):
    for j in range(len(source)):
        target[j] = source[j]


@njit(**INLINED)
def _scales(tile, lengths, counts, leak, factor, epsilon, absolute, scales):
    """(F, P) -> (F, n): factor / (norm of an item's similarities with a left fragment + epsilon)."""
    for f in range(tile.shape[0]):
        column = item = 0
        for part in range(len(lengths)):
            q = counts[part]
            sums = scales[f, item : item + q]
            sums[:] = _ZERO
            for _ in range(lengths[part]):
                row = tile[f, column : column + q]
                if absolute:
                    for j in range(q):
                        sums[j] += abs(max(row[j], row[j] * leak))
                else:
                    for j in range(q):
                        a = max(row[j], row[j] * leak)
                        sums[j] = fma(a, a, sums[j])
                column += q
            if not absolute:
                for j in range(q):
                    sums[j] = np.sqrt(sums[j])
            for j in range(q):
                sums[j] = factor / (sums[j] + epsilon)
            item += q


@njit(**INLINED)
def _scales_few(similarity, f, positions, leak, factor, epsilon, absolute, sums):
    """`_scales` of one right item with a left fragment of each item of a chunk."""
    for j in range(CHUNK):
        sums[j] = _ZERO
    for p in positions:
        own = similarity[p, f]
        if absolute:
            for j in range(CHUNK):
                sums[j] += abs(max(own[j], own[j] * leak))
        else:
            for j in range(CHUNK):
                a = max(own[j], own[j] * leak)
                sums[j] = fma(a, a, sums[j])
    if not absolute:
        for j in range(CHUNK):
            sums[j] = np.sqrt(sums[j])
    for j in range(CHUNK):
        sums[j] = factor / (sums[j] + epsilon)


@njit(**INLINED)
def _weights(own, scale, leak, logits, powers, weights, product):
    """The unnormalised weights of a left fragment in a chunk; their products with the similarities are added to `product`."""
    count = len(own)
    for j in range(count):
        logits[j] = max(own[j], own[j] * leak) * scale[j]
    exp_parts(logits, weights, powers, count)
    twos = powers.view(np.float32)
    for j in range(count):
        weights[j] *= twos[j]
    for j in range(count):
        product[j] = fma(weights[j], own[j], product[j])


@njit(**INLINED)
def _quadratic(e, gram, sums, found):
    """found = sum over f, g of e_f gram_fg e_g in each column of a chunk; two rows of the upper triangle at a time.

    `sums` (2 chunks) hold those of both rows: LLVM vectorises a loop over few arrays only.
    """
    fragments = len(e)
    for j in range(CHUNK):
        found[j] = _ZERO
    for f in range(0, fragments - 1, 2):
        own, other, top, low = e[f], e[f + 1], gram[f], gram[f + 1]
        a, b, c = top[f], _TWO * top[f + 1], low[f + 1]
        for j in range(CHUNK):
            sums[j] = fma(b, other[j], a * own[j])
        for j in range(CHUNK):
            sums[CHUNK + j] = c * other[j]
        last = f + 2 + (fragments - f - 2) // 4 * 4
        for g in range(f + 2, last, 4):
            a, b, c, d = _TWO * top[g], _TWO * top[g + 1], _TWO * top[g + 2], _TWO * top[g + 3]
            k, m, n, o = _TWO * low[g], _TWO * low[g + 1], _TWO * low[g + 2], _TWO * low[g + 3]
            w, x, y, z = e[g], e[g + 1], e[g + 2], e[g + 3]
            for j in range(CHUNK):
                sums[j] = fma(d, z[j], fma(c, y[j], fma(b, x[j], fma(a, w[j], sums[j]))))
                sums[CHUNK + j] = fma(o, z[j], fma(n, y[j], fma(m, x[j], fma(k, w[j], sums[CHUNK + j]))))
        for g in range(last, fragments):
            a, k, w = _TWO * top[g], _TWO * low[g], e[g]
            for j in range(CHUNK):
                sums[j] = fma(a, w[j], sums[j])
                sums[CHUNK + j] = fma(k, w[j], sums[CHUNK + j])
        for j in range(CHUNK):
            found[j] = fma(sums[j], own[j], found[j])
        for j in range(CHUNK):
            found[j] = fma(sums[CHUNK + j], other[j], found[j])
    if fragments % 2:
        own, a = e[fragments - 1], gram[fragments - 1, fragments - 1]
        for j in range(CHUNK):
            found[j] = fma(a * own[j], own[j], found[j])


@njit(**INLINED)
def _quadratic_few(e, gram, first, width, sums, found):
    """`_quadratic` with a Gram matrix for each item of the chunk: the same operations in the same order."""
    fragments = len(e)
    more, last = sums[CHUNK:], first + width
    for j in range(width):
        found[j] = _ZERO
    for f in range(0, fragments - 1, 2):
        own, other = e[f], e[f + 1]
        a, b, c = gram[f, f, first:last], gram[f, f + 1, first:last], gram[f + 1, f + 1, first:last]
        for j in range(width):
            sums[j] = fma(_TWO * b[j], other[j], a[j] * own[j])
        for j in range(width):
            more[j] = c[j] * other[j]
        for g in range(f + 2, fragments):
            w, a, b = e[g], gram[f, g, first:last], gram[f + 1, g, first:last]
            for j in range(width):
                sums[j] = fma(_TWO * a[j], w[j], sums[j])
            for j in range(width):
                more[j] = fma(_TWO * b[j], w[j], more[j])
        for j in range(width):
            found[j] = fma(sums[j], own[j], found[j])
        for j in range(width):
            found[j] = fma(more[j], other[j], found[j])
    if fragments % 2:
        own, a = e[fragments - 1], gram[fragments - 1, fragments - 1, first:last]
        for j in range(width):
            found[j] = fma(a[j] * own[j], own[j], found[j])


@njit(**INLINED)
def _write(product, squares, weights, norms, epsilon, least, first, width, out):
    low = False
    for j in range(width):
        out[0, first + j] = product[j]
        norm = np.sqrt(max(squares[j], _ZERO)) * norms[first + j]
        out[1, first + j] = norm
        low |= norm < least
    if low:
        for j in range(width):
            total = _ZERO
            for f in range(len(weights)):
                total += weights[f, j]
            out[1, first + j] = max(out[1, first + j], total * epsilon)


@njit(**INLINED)
def _write_few(product, squares, weights, norm, epsilon, least, first, width, p, out):
    low = False
    for j in range(width):
        squares[j] = np.sqrt(max(squares[j], _ZERO)) * norm
        low |= squares[j] < least
    if low:
        for j in range(width):
            total = _ZERO
            for f in range(len(weights)):
                total += weights[f, j]
            squares[j] = max(squares[j], total * epsilon)
    for j in range(width):
        out[first + j, 0, p] = product[j]
        out[first + j, 1, p] = squares[j]
