"""Corrections for many comparisons: Holm and Benjamini-Hochberg by statsmodels, and the floor that resampling sets.

Holm over 70 comparisons with 999 resamples can never reject: the smallest p, 1/1000, times 70 exceeds 0.05.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

from harness.reports.statistics.checks import MAXIMUM_RESAMPLES, array, level, whole
from harness.reports.statistics.errors import InvalidSetting, TooFewResamples

Correction = Literal["holm", "maxt", "bh"]
CORRECTIONS: tuple[Correction, ...] = ("holm", "maxt", "bh")
LABELS = {"holm": "Holm", "maxt": "maxT", "bh": "Benjamini-Hochberg"}
_STATSMODELS = {"holm": "holm", "bh": "fdr_bh"}


def adjust(p_values: ArrayLike, correction: Correction) -> NDArray[np.float64]:
    """Adjusted p-values of one family.

    Args:
        p_values: (m,) raw.
        correction: `holm` (family-wise error) or `bh` (false discovery rate); maxT needs the resamples, see
            `permutation.MaxT`.

    Returns:
        (m,) in the order given.

    Raises:
        InvalidSetting: another correction, or values that are no p-values.
    """
    if correction not in _STATSMODELS:
        raise InvalidSetting(f"correction must be holm or bh here, got '{correction}'")
    values = array(p_values, "p-values", least=0, most=1)
    if len(values) < 2:  # nothing to correct; and statsmodels collects the interpreter's garbage at every call
        return values
    return np.asarray(multipletests(values, method=_STATSMODELS[correction])[1])


def needed_resamples(m: int, alpha: float, correction: Correction) -> int:
    """The least R with alpha (R + 1) / m >= 10: ten resamples beyond the smallest threshold of the family.

    MaxT compares with the distribution of the family's maximum, so its p-floor is not multiplied by m.

    Raises:
        InvalidSetting: m below 1, alpha outside 0 to 1, another correction.
    """
    whole(m, "the number of comparisons", least=1)
    level(alpha)
    if correction not in CORRECTIONS:
        raise InvalidSetting(f"correction must be one of {', '.join(CORRECTIONS)}, got '{correction}'")
    members = 1 if correction == "maxt" else m
    return math.ceil(round(10.0 * members / alpha, 6)) - 1


def checked_resamples(
    resamples: int, m: int, alpha: float, correction: Correction, *, raise_to_need: bool, limit: int = MAXIMUM_RESAMPLES
) -> int:
    """The number of resamples to draw for a family of m, at least what `needed_resamples` says.

    Raises:
        TooFewResamples: fewer than needed and not to be raised, or more needed than the limit.
    """
    need = needed_resamples(m, alpha, correction)
    if resamples >= need:
        return resamples
    if raise_to_need and need <= limit:
        return need
    raise TooFewResamples(
        f"{resamples} resamples cannot carry {m} comparisons at alpha {alpha:g} with {LABELS[correction]}: "
        f"at least {need} are needed; raise the resamples, compare fewer pairs, or use maxT"
    )
