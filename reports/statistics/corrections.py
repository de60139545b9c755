"""Corrections for many comparisons: Holm, Benjamini-Hochberg by statsmodels, and the floor that resampling sets.

Holm over 70 comparisons with 999 resamples can never reject: the smallest p, 1/1000, times 70 exceeds 0.05.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import fdrcorrection

from harness.reports.statistics.checks import MAXIMUM_RESAMPLES, array, level, whole
from harness.reports.statistics.errors import InvalidSetting, TooFewResamples

Correction = Literal["holm", "maxt", "bh"]
LABELS: dict[Correction, str] = {"holm": "Holm", "maxt": "maxT", "bh": "Benjamini-Hochberg"}


def checked_correction(correction: str) -> None:
    """Refuse a correction that does not exist."""
    if correction not in LABELS:
        raise InvalidSetting(f"correction must be one of {', '.join(LABELS)}, got '{correction}'")


def adjust(p_values: ArrayLike, correction: Correction) -> NDArray[np.float64]:
    """Adjusted p-values (m,) of one family, in the order given.

    Args:
        p_values: (m,) raw.
        correction: `holm` (family-wise error) or `bh` (false discovery rate); for maxT see `permutation.MaxT`.

    Raises:
        InvalidSetting: another correction, or values that are no p-values.

    >>> adjust([0.01, 0.04, 0.03, 0.005], "holm").round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    if correction not in ("holm", "bh"):
        raise InvalidSetting(f"correction must be holm or bh here, got '{correction}'")
    values = array(p_values, "p-values", least=0, most=1)
    if len(values) < 2:  # nothing to correct
        return values
    return _holm(values) if correction == "holm" else np.asarray(fdrcorrection(values)[1])


def _holm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `multipletests` of statsmodels, which collects the interpreter's garbage at every call: 0.1 to 0.7 s with torch."""
    order = np.argsort(values)
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def needed_resamples(m: int, alpha: float, correction: Correction) -> int:
    """The least R with alpha (R + 1) / m >= 10: ten resamples beyond the smallest threshold of the family.

    MaxT compares with the distribution of the family's maximum, so its p-floor is not multiplied by m.

    >>> needed_resamples(10, 0.05, "holm"), needed_resamples(10, 0.05, "maxt")
    (1999, 199)
    """
    whole(m, "the number of comparisons", least=1)
    level(alpha)
    checked_correction(correction)
    members = 1 if correction == "maxt" else m
    return math.ceil(round(10.0 * members / alpha, 6)) - 1


def checked_resamples(resamples: int, m: int, alpha: float, correction: Correction) -> int:
    """The number of resamples to draw for a family of m: what was asked for, raised to what `needed_resamples` says.

    Raises:
        TooFewResamples: more than a million are needed.
    """
    need = max(resamples, needed_resamples(m, alpha, correction))
    if need > MAXIMUM_RESAMPLES:
        raise TooFewResamples(
            f"{MAXIMUM_RESAMPLES:,} resamples cannot carry {m} comparisons at alpha {alpha:g} with "
            f"{LABELS[correction]}: at least {need} are needed; compare fewer pairs, or use maxT"
        )
    return need
