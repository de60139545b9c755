"""The Pareto front: which choices are dominated, and by which other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import InvalidRecord

Sense = Literal["min", "max"]


def dominates(values: ArrayLike, senses: Sequence[Sense]) -> NDArray[np.bool_]:
    """(N, N) bool: row i is at least as good as row j in every column, and better in one.

    Args:
        values: (N, C), one column per objective.
        senses: which way each column is better.

    Raises:
        InvalidRecord: a value is not finite.
    """
    gains = np.asarray(values, dtype=np.float64) * [1.0 if sense == "max" else -1.0 for sense in senses]
    if not np.isfinite(gains).all():
        raise InvalidRecord(f"values that are compared must be finite, got {gains[~np.isfinite(gains)][0]:g}")
    at_least = (gains[:, None] >= gains[None]).all(-1)
    return np.asarray(at_least & (gains[:, None] > gains[None]).any(-1), dtype=np.bool_)


def front(values: ArrayLike, senses: Sequence[Sense]) -> NDArray[np.bool_]:
    """(N,) bool: the rows that no other row dominates; rows that are equal in everything do not dominate each other.

    Args:
        values, senses: as `dominates`.

    >>> front([[1.0, 300.0], [2.0, 400.0], [3.0, 350.0]], ("min", "max")).tolist()
    [True, True, False]
    """
    return np.logical_not(dominates(values, senses).any(axis=0))


def strongest_dominator(values: ArrayLike, senses: Sequence[Sense]) -> list[int | None]:
    """For each row the row on the front that dominates it (the best by the last column); None on the front.

    Args:
        values, senses: as `dominates`.
    """
    above = np.logical_and(dominates(values, senses), front(values, senses)[:, None])
    last = np.asarray(values, dtype=np.float64)[:, -1] * (1.0 if senses[-1] == "max" else -1.0)
    best = np.where(above, last[:, None], -np.inf).argmax(axis=0)
    return [int(by) if above[by, row] else None for row, by in enumerate(best)]
