"""What tells two sets of queries apart: means of a trait, said to differ only where they do beyond noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Standard errors from which on two means are said to differ.
_DISTINCT = 2.0


@dataclass(frozen=True)
class Contrast:
    """Two means, and how the first is to the second: `as many` within two standard errors of their difference."""

    first: float
    second: float
    how: Literal["more", "fewer", "as many"]


def comparable(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether both sets have two known values or more; NaN is not known."""
    return all((~np.isnan(part)).sum() > 1 for part in (first, second))


def contrast(first: np.ndarray, second: np.ndarray) -> Contrast:
    """Compare the known values of two sets of queries, which must be `comparable`.

    The standard error is Welch's: the sets may differ in size and in variance. Captions of one image are taken as
    independent, so it is a remark, not a test.

    >>> contrast(np.array([9.0, 9.5, 10.0]), np.array([4.0, 4.5, 5.0]))
    Contrast(first=9.5, second=4.5, how='more')
    """
    a, b = (part[~np.isnan(part)] for part in (first, second))
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    difference = float(a.mean() - b.mean())
    how: Literal["more", "fewer"] = "more" if difference > 0 else "fewer"
    return Contrast(float(a.mean()), float(b.mean()), "as many" if abs(difference) <= _DISTINCT * error else how)
