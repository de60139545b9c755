"""The Pareto front: which choices are beaten in every respect, and by what. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Sense = Literal["min", "max"]


def front(values: ArrayLike, senses: Sequence[Sense]) -> NDArray[np.bool_]:
    """Which rows no other row dominates.

    Args:
        values: (N, C), one column an objective, finite.
        senses: `min` or `max` for each column.

    Returns:
        (N,) bool. Rows that are equal in everything do not dominate each other.
    """
    return np.logical_not(dominates(values, senses).any(axis=0))


def dominates(values: ArrayLike, senses: Sequence[Sense]) -> NDArray[np.bool_]:
    """(N, N) bool: row i is at least as good as row j in every column, and better in one.

    Args:
        values: (N, C), finite.
        senses: `min` or `max` for each column.

    Raises:
        ValueError: a value is not finite, or the columns and senses differ in number.
    """
    signs = np.array([{"min": -1.0, "max": 1.0}[sense] for sense in senses])
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.shape[1] != len(signs) or not np.isfinite(rows).all():
        raise ValueError(f"expected finite values of {len(signs)} objectives, got shape {rows.shape}")
    gains = rows * signs
    at_least = (gains[:, None] >= gains[None]).all(-1)
    better = (gains[:, None] > gains[None]).any(-1)
    return np.asarray(at_least & better, dtype=np.bool_)


def strongest_dominator(values: ArrayLike, senses: Sequence[Sense]) -> list[int | None]:
    """For each row the row on the front that dominates it (the best by the last column); None on the front.

    Args:
        values, senses: as `front`.
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    above = dominates(rows, senses)
    best = front(rows, senses)
    sign = 1.0 if senses[-1] == "max" else -1.0
    found: list[int | None] = []
    for j in range(len(rows)):
        candidates = np.flatnonzero(above[:, j] & best)
        found.append(int(candidates[np.argmax(sign * rows[candidates, -1])]) if len(candidates) else None)
    return found
