"""Checks of plain numbers and arrays: NaN passes every comparison and `int()` takes fractions; these refuse both.

Each returns what came, as a number or an array, or raises `InvalidSetting` with one line.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.errors import InvalidSetting

# A million sign rows put the Monte-Carlo error of p = .05 at .0002 and take minutes; more would only take longer.
MAXIMUM_RESAMPLES = 1_000_000
_INFINITY = math.inf


def number(
    value: Any,
    name: str,
    *,
    least: float = -_INFINITY,
    most: float = _INFINITY,
    above: float = -_INFINITY,
    below: float = _INFINITY,
) -> float:
    """A finite real number within its limits; `least` and `most` are allowed values, `above` and `below` are not.

    >>> number(0.5, "a rate", least=0, most=1)
    0.5
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not (least <= value <= most and above < value < below):
        raise InvalidSetting(f"{name} must be a number{_limits(least, most, above, below)}, got {value!r:.80}")
    return float(value)


def whole(value: Any, name: str, *, least: int = 0, most: float = _INFINITY) -> int:
    """A whole number within its limits; 3.0 is refused, since a count that is a float was computed."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidSetting(f"{name} must be a whole number{_limits(least, most)}, got {value!r:.80}")
    return int(value)


def level(alpha: Any, *, below: float = 1.0) -> float:
    """A level of significance."""
    return number(alpha, "alpha", above=0, below=below)


def resample_count(resamples: Any) -> int:
    """A number of resamples that ends within minutes."""
    return whole(resamples, "resamples", least=1, most=MAXIMUM_RESAMPLES)


def array(
    values: Any,
    name: str,
    *,
    dimensions: tuple[int, ...] = (1,),
    length: int | None = None,
    least: float = -_INFINITY,
    most: float = _INFINITY,
) -> NDArray[np.float64]:
    """Finite numbers within their limits, of an allowed number of dimensions; `length` is that of the first axis."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidSetting(f"{name} must be numbers, got {values!r:.80}") from None
    if found.size == 0 or found.ndim not in dimensions:
        allowed = " or ".join(map(str, dimensions))
        raise InvalidSetting(f"{name} must be a non-empty array of dimension {allowed}, got shape {found.shape}")
    if length is not None and len(found) != length:
        raise InvalidSetting(f"{name} must have length {length}, got {len(found)}")
    wrong = ~(np.isfinite(found) & (found >= least) & (found <= most))
    if wrong.any():
        raise InvalidSetting(
            f"{name} must be finite{_limits(least, most)}, got {found[wrong][0]:g} "
            f"({int(wrong.sum())} of {found.size} values)"
        )
    return found


def codes(values: Any, name: str, *, length: int | None = None) -> NDArray[np.int64]:
    """(Q,) whole numbers from 0, such as the image or the fold of each query."""
    found = array(values, name, length=length, least=0)
    if not np.array_equal(found, np.rint(found)):
        raise InvalidSetting(f"{name} must be whole numbers, got {found[found != np.rint(found)][0]:g}")
    return found.astype(np.int64)


def _limits(least: float, most: float, above: float = -_INFINITY, below: float = _INFINITY) -> str:
    if math.isfinite(least) and math.isfinite(most):
        return f" from {least:g} to {most:,.10g}"
    words = {"of at least": least, "of at most": most, "above": above, "below": below}
    found = [f"{word} {limit:,.10g}" for word, limit in words.items() if math.isfinite(limit)]
    return f" {' and '.join(found)}" if found else ""
