"""Weighted maxima in both directions, with and without gates, in one pass over the tile. Imported only where numba is.

Shape letters: as in `harness.similarity.compiled.attention`.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.arithmetic import INLINED, OPTIONS, fma

#: Left items of a chunk, where columns are few.
CHUNK = 64
_ZERO = np.float32(0)


@njit(**OPTIONS)
def both_ways(tile, gated, split, left, right, lengths, counts, out):
    """The sum of all weighted maxima.

    Args:
        tile: (c, F, P) float32.
        gated: whether gates are read.
        split: left fragments before it have gates, those from it on are a kind of their own.
        left: (3, c, F) float32, gates and the weights of the plain and of the gated maxima over an item's positions.
        right: (4, P) float32, gates and the weights of the maxima over left fragments: plain, gated, and of the other kind.
        lengths, counts: (parts,) int64, L and q of each part.
        out: (c, n) float32, overwritten.
    """
    contexts = len(tile)
    largest = (lengths * counts).max()
    best = np.empty((3, largest), np.float32)
    rows = np.empty((2, counts.max()), np.float32)
    for c in range(contexts):
        column = item = 0
        for part in range(len(lengths)):
            length, q = lengths[part], counts[part]
            size = length * q
            end = column + size  # parts of rows one by one: numba takes those of a block for scattered ones
            scores = out[c, item : item + q]
            scores[:] = _ZERO
            best[:] = -np.inf
            for f in range(tile.shape[1]):
                kind = 0 if f < split else 2
                if gated:
                    _gated(tile[c, f, column:end], right[0, column:end], left[0, c, f], kind, q, best, rows)
                    _scaled(left[2, c, f], rows[1], scores)
                else:
                    _plain(tile[c, f, column:end], q, best[0], rows[0])
                if kind == 0:
                    _scaled(left[1, c, f], rows[0], scores)
            for at in range(0, size, q):
                first = column + at
                _weighted(right[1, first : first + q], best[0, at : at + q], scores)
                if gated:
                    _weighted(right[2, first : first + q], best[1, at : at + q], scores)
                    if split < tile.shape[1]:
                        _weighted(right[3, first : first + q], best[2, at : at + q], scores)
            column += size
            item += q


@njit(**OPTIONS)
def both_ways_few(tile, gated, split, left, right, lengths, counts, out):
    """`both_ways` for few columns: chunks of left items take the place of chunks of right items. The bits are the same.

    Args:
        tile, gated, split, right, lengths, counts, out: as in `both_ways`.
        left: (3, F, c) float32.
    """
    contexts, fragments, columns = tile.shape
    similarity = np.zeros((columns, fragments, CHUNK), np.float32)
    best, rows = np.empty((3, columns, CHUNK), np.float32), np.empty((2, CHUNK), np.float32)
    scores = np.empty(CHUNK, np.float32)
    for first in range(0, contexts, CHUNK):
        width = min(CHUNK, contexts - first)
        last = first + width
        for f in range(fragments):
            for p in range(columns):
                own = similarity[p, f]
                for j in range(width):
                    own[j] = tile[first + j, f, p]
        best[:] = -np.inf
        column = item = 0
        for part in range(len(lengths)):
            q, end = counts[part], column + lengths[part] * counts[part]
            for start in range(column, column + q):
                scores[:] = _ZERO
                for f in range(fragments):
                    kind = 0 if f < split else 2
                    rows[:] = -np.inf
                    for p in range(start, end, q):
                        _largest(similarity[p, f], best[kind, p])
                        if kind == 0:
                            _largest(similarity[p, f], rows[0])
                        if gated:
                            _largest_scaled(similarity[p, f], right[0, p], rows[1])
                            if kind == 0:
                                _largest_gated(similarity[p, f], left[0, f, first:last], best[1, p])
                    if gated:
                        _weighted(left[2, f, first:last], rows[1], scores[:width])
                    if kind == 0:
                        _weighted(left[1, f, first:last], rows[0], scores[:width])
                for p in range(start, end, q):
                    _scaled(right[1, p], best[0, p], scores)
                    if gated:
                        _scaled(right[2, p], best[1, p], scores)
                        if split < fragments:
                            _scaled(right[3, p], best[2, p], scores)
                for j in range(width):
                    out[first + j, item] = scores[j]
                item += 1
            column = end


@njit(**INLINED)
def _largest(values, largest):
    for j in range(CHUNK):
        largest[j] = max(largest[j], values[j])


@njit(**INLINED)
def _largest_scaled(values, scale, largest):
    for j in range(CHUNK):
        largest[j] = max(largest[j], values[j] * scale)


@njit(**INLINED)
def _largest_gated(values, gates, largest):
    for j in range(len(gates)):
        largest[j] = max(largest[j], values[j] * gates[j])


@njit(**INLINED)
def _plain(row, q, best, largest):
    """Maxima of a left fragment's similarities (L q,) over positions, and each into the maxima over left fragments."""
    for j in range(len(row)):
        best[j] = max(best[j], row[j])
    for j in range(q):
        largest[j] = row[j]
    for at in range(q, len(row), q):
        some = row[at : at + q]
        for j in range(q):
            largest[j] = max(largest[j], some[j])


@njit(**INLINED)
def _gated(row, gates, gate, kind, q, best, largest):
    """The same plain and times the columns' gates, and over left fragments plain and times the fragment's gate, by kind.

    One loop each: LLVM vectorises a loop over few arrays only.
    """
    plain, scaled, own, gated = largest[0], largest[1], best[kind], best[1]
    for j in range(q):
        scaled[j] = row[j] * gates[j]
    for at in range(q, len(row), q):
        some, some_gates = row[at : at + q], gates[at : at + q]
        for j in range(q):
            scaled[j] = max(scaled[j], some[j] * some_gates[j])
    for j in range(len(row)):
        own[j] = max(own[j], row[j])
    if kind == 0:
        for j in range(len(row)):
            gated[j] = max(gated[j], row[j] * gate)
        for j in range(q):
            plain[j] = row[j]
        for at in range(q, len(row), q):
            some = row[at : at + q]
            for j in range(q):
                plain[j] = max(plain[j], some[j])


@njit(**INLINED)
def _scaled(factor, values, scores):
    for j in range(len(scores)):
        scores[j] = fma(factor, values[j], scores[j])


@njit(**INLINED)
def _weighted(factors, values, scores):
    for j in range(len(scores)):
        scores[j] = fma(factors[j], values[j], scores[j])
