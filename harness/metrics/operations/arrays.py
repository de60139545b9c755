"""Counting in NumPy. `harness.metrics.operations.tensors` has the same functions for torch.

Shape letters: Q queries, q queries and n items of a tile, K items kept.
"""

from __future__ import annotations

from typing import Literal

import numpy as np


def home(values: np.ndarray) -> object:
    """Where the values lie; counters are kept there."""
    return "memory"


def moved(array: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """An array where others lie."""
    return array


def as_array(values: np.ndarray) -> np.ndarray:
    return values


def as_type_of(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Thresholds in the type of the scores that they are compared with, whose values they are."""
    return values.astype(scores.dtype, copy=False)


def true_places(mask: np.ndarray) -> np.ndarray:
    """(k,) int64, where a mask (n,) is true."""
    return np.flatnonzero(mask)


def distinct(values: np.ndarray) -> np.ndarray:
    return np.unique(values)


def finite(scores: np.ndarray) -> np.ndarray:
    return np.isfinite(scores)


def selected(mask: np.ndarray, values: np.ndarray | float, others: np.ndarray | float) -> np.ndarray:
    """Values where the mask is true, others elsewhere."""
    return np.where(mask, values, others)


def true_counts(mask: np.ndarray) -> np.ndarray:
    """(q,) int64 true values of each row of (q, n)."""
    if mask.flags.c_contiguous:
        return np.fromiter((np.count_nonzero(row) for row in mask), np.int64, len(mask))  # ten times as fast as a sum
    return mask.sum(1, dtype=np.int64)


def rising(scores: np.ndarray) -> np.ndarray:
    """Each row of (q, n) sorted; float16 becomes float32, exactly."""
    return np.sort(np.ascontiguousarray(comparable(scores)), axis=1)


def places_in(rising: np.ndarray, thresholds: np.ndarray, right: bool) -> np.ndarray:
    """(q, m) number of scores below each threshold (q, m) in sorted rows (q, n), or with `right` at most it."""
    side: Literal["left", "right"] = "right" if right else "left"
    found = np.empty(thresholds.shape, np.int64)
    for number, (row, wanted) in enumerate(zip(rising, thresholds, strict=True)):
        found[number] = np.searchsorted(row, wanted, side)
    return found


def comparable(scores: np.ndarray) -> np.ndarray:
    """Scores in a type that is selected from quickly; float16 becomes float32, exactly."""
    return scores.astype(np.float32) if scores.dtype == np.float16 else scores


def maxima(scores: np.ndarray) -> np.ndarray:
    """(q,) of each row."""
    return scores.max(1)


def minima(scores: np.ndarray) -> np.ndarray:
    """(q,) of each row."""
    return scores.min(1)


def doubled(scores: np.ndarray) -> np.ndarray:
    """As float64."""
    return scores.astype(np.float64)


def repeated(items: np.ndarray, rows: int) -> np.ndarray:
    """(rows, n), the same items in each."""
    return np.broadcast_to(items, (rows, len(items)))


def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rows side by side."""
    return np.concatenate([left, right], 1)


def taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of each row the values at its places."""
    return np.take_along_axis(values, places, 1)


def rising_order(values: np.ndarray) -> np.ndarray:
    return np.argsort(values, axis=1)


def falling_order(values: np.ndarray) -> np.ndarray:
    """From the highest down; equal ones as they came."""
    return np.argsort(-values, axis=1, kind="stable")


def largest(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest of each row in any order (q, K), where they are, and the next one after them (q,)."""
    array = np.ascontiguousarray(scores)
    first = array.shape[1] - count - 1
    places = np.argpartition(array, first, axis=1)[:, first:]
    values = taken(array, places)
    return values[:, 1:], places[:, 1:], values[:, 0]


def lowest(rows: np.ndarray, count: int) -> np.ndarray:
    """(q, K) the lowest of each row, rising."""
    return np.sort(rows, axis=1)[:, :count]
