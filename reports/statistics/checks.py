"""The checks of plain numbers and arrays that every entry of the statistics makes before it computes.

NaN passes every comparison and a fraction every `int(...)`, so that both give a number nobody asked for. Each check
returns what it was given, as a number or an array, or refuses it in one line.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.errors import InvalidSetting

# A million sign rows put the Monte-Carlo error of p = .05 at .0002 and take minutes; more only waits.
MAXIMUM_RESAMPLES = 1_000_000


def number(
    value: Any, name: str, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> float:
    """A finite real number in a range.

    Args:
        value: what came.
        name: what to call it.
        above, least: exclusive and inclusive lower limit.
        most: inclusive upper limit.

    Raises:
        InvalidSetting: no number, NaN, infinite or out of range.
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not (above < value and least <= value <= most):
        raise InvalidSetting(f"{name} must be a number{_range(above, least, most)}, got {value!r:.80}")
    return float(value)


def whole(value: Any, name: str, *, least: int = 0, most: float = math.inf) -> int:
    """A whole number in a range; 3.0 is none, since a count that came as a float was computed.

    Raises:
        InvalidSetting: no whole number, or out of range.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidSetting(f"{name} must be a whole number{_range(-math.inf, least, most)}, got {value!r:.80}")
    return int(value)


def level(alpha: Any, *, below: float = 1.0) -> float:
    """A level of significance, between 0 and `below`, both exclusive.

    Raises:
        InvalidSetting: another number, or none.
    """
    real = isinstance(alpha, int | float | np.integer | np.floating) and not isinstance(alpha, bool)
    if not real or not 0 < alpha < below:  # false for NaN too
        raise InvalidSetting(f"alpha must lie between 0 and {below:g}, got {alpha!r:.80}")
    return float(alpha)


def resample_count(resamples: Any) -> int:
    """A number of resamples that ends within minutes.

    Raises:
        InvalidSetting: no whole number from 1 to a million.
    """
    return whole(resamples, "resamples", least=1, most=MAXIMUM_RESAMPLES)


def array(
    values: Any,
    name: str,
    *,
    axes: int | None = 1,
    length: int | None = None,
    least: float = -math.inf,
    most: float = math.inf,
) -> NDArray[np.float64]:
    """Finite numbers of a given shape.

    Args:
        values: what came.
        name: what to call it.
        axes: number of axes; any if None.
        length: of the first axis; any but 0 if None.
        least, most: inclusive limits of every value.

    Raises:
        InvalidSetting: no numbers, another shape, NaN, infinity or a value out of range.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidSetting(f"{name} must be numbers, got {values!r:.80}") from None
    if found.ndim == 0 or found.size == 0 or (axes is not None and found.ndim != axes):
        raise InvalidSetting(f"{name} must be a non-empty array{_axes(axes)}, got shape {found.shape}")
    if length is not None and len(found) != length:
        raise InvalidSetting(f"{name} must have length {length}, got {len(found)}")
    wrong = ~(np.isfinite(found) & (found >= least) & (found <= most))
    if wrong.any():
        raise InvalidSetting(
            f"{name} must be finite{_range(-math.inf, least, most)}, got {found[wrong][0]:g} "
            f"({int(wrong.sum())} of {found.size} values)"
        )
    return found


def codes(values: Any, name: str, *, length: int | None = None) -> NDArray[np.int64]:
    """(Q,) whole numbers from 0, such as the image or the fold of each query.

    Raises:
        InvalidSetting: fractions, negative numbers, NaN, another shape.
    """
    found = array(values, name, length=length, least=0)
    if not np.array_equal(found, np.rint(found)):
        raise InvalidSetting(f"{name} must be whole numbers, got {found[found != np.rint(found)][0]:g}")
    return found.astype(np.int64)


def _axes(axes: int | None) -> str:
    return "" if axes is None else f" of {axes} ax{'is' if axes == 1 else 'es'}"


def _range(above: float, least: float, most: float) -> str:
    low, high = max(above, least), most
    if math.isinf(low):
        return "" if math.isinf(high) else f" of at most {high:,.10g}"
    if math.isinf(high):
        return f" above {low:g}" if above >= least else f" of at least {low:g}"
    return f" above {low:g} and at most {high:,.10g}" if above >= least else f" from {low:g} to {high:,.10g}"
