"""How cost grows with the gallery: the exponent of a power law, and values beyond the largest gallery that was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.records.profile import Growth


def growth(latency: Mapping[int, float], confidence: float = 0.95) -> Growth | None:
    """Fit ms ~ gallery ** exponent by least squares of the logarithms.

    Args:
        latency: ms by gallery size, all positive.
        confidence: of the exponent's interval.

    Returns:
        The exponent with its t interval over n - 2 degrees of freedom; None with fewer than two sizes.
    """
    sizes = sorted(latency)
    if len(sizes) < 2:
        return None
    x, y = np.log(sizes), np.log([latency[size] for size in sizes])
    centred = x - x.mean()
    spread = float((centred**2).sum())
    slope = float((centred * y).sum()) / spread
    if len(sizes) < 3:
        return Growth(exponent=slope, sizes=tuple(sizes))
    from scipy import stats

    residual = y - y.mean() - slope * centred
    freedom = len(sizes) - 2
    error = float(np.sqrt((residual**2).sum() / freedom / spread))
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * error
    return Growth(exponent=slope, low=slope - half, high=slope + half, sizes=tuple(sizes))


def extrapolate(latency: Mapping[int, float], size: int) -> float | None:
    """Latency of a larger gallery, on the line through the last two sizes that were measured (logarithms of both).

    Args:
        latency: ms by measured gallery size.
        size: larger than all of them.

    Returns:
        Milliseconds; None with fewer than two sizes. The last two alone, since a fixed cost a query bends the small end;
        never less than the largest measured one.
    """
    sizes = sorted(latency)
    if len(sizes) < 2:
        return None
    low, high = sizes[-2:]
    slope = float(np.log(latency[high] / latency[low]) / np.log(high / low))
    return latency[high] * (size / high) ** max(slope, 0.0)
