"""Expected validation performance against tuning budget: how good the best of n trials is, on average.

Dodge et al., Show Your Work, EMNLP 2019, with the unbiased estimator (a U-statistic: the mean of the maximum over all
subsets of n of the N values, as in Dodge et al., Findings of EMNLP 2021) in place of the first paper's, which draws with
replacement and so is too low.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.reports.statistics.checks import array


@dataclass(frozen=True, eq=False)
class ExpectedPerformance:
    """The curve of N values; all arrays are (N,)."""

    budgets: np.ndarray  # 1..N, the number of trials
    expected: np.ndarray  # mean of the best of that many
    low: np.ndarray  # by the jackknife and Student's t; NaN above N / 2, where N values say too little of their maximum
    high: np.ndarray


def expected_performance(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> ExpectedPerformance:
    """Expected maximum of n independent draws, for every n up to the number of values.

    Args:
        values: (N,) finite, N >= 1, one per trial, in any order. They count as independent draws of one distribution:
            exact for random search without pruning, else a description of these trials in random order.
        confidence: nominal. In simulations (normal, skewed and bounded values; N = 12 to 48) intervals of 95 % held the
            truth in 91 to 97 % of cases up to n = N / 4 and in 83 to 91 % at n = N / 2.

    Returns:
        The curve.

    Raises:
        InvalidSetting: no values, or values that are not finite.

    >>> expected_performance([3.0, 1.0, 2.0]).expected.round(2).tolist()
    [2.0, 2.67, 3.0]
    """
    ordered = np.sort(array(values, "values"))
    count = len(ordered)
    budgets = np.arange(1, count + 1)
    expected = subset_weights(count) @ ordered
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    shown = count // 2
    if shown:
        without = _leave_one_out(ordered)[:, :shown]
        spread = np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0))
        half = stats.t.ppf(0.5 + confidence / 2, count - 1) * spread
        low[:shown], high[:shown] = expected[:shown] - half, expected[:shown] + half
    return ExpectedPerformance(budgets, expected, low, high)


def subset_weights(count: int) -> np.ndarray:
    """(N, N): row n-1 holds the probability that the i-th smallest of N values is the largest of a subset of n.

    That is C(i-1, n-1) / C(N, n), by logarithms since the binomials overflow beyond N = 1000.
    """
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    size, place = np.arange(1, count + 1)[:, None], np.arange(1, count + 1)[None]
    possible = place >= size
    rest = np.where(possible, place - size, 0)
    log_ways = log_factorial[place - 1] - log_factorial[size - 1] - log_factorial[rest]
    log_all = log_factorial[count] - log_factorial[size] - log_factorial[count - size]
    return np.where(possible, np.exp(np.where(possible, log_ways - log_all, 0.0)), 0.0)


def leaders(curves: Mapping[str, ExpectedPerformance]) -> list[tuple[int, int, str]]:
    """Who is ahead at which budget: (first, last, name) for each stretch of budgets that all curves reach."""
    longest = min(len(curve.budgets) for curve in curves.values())
    ahead = [max(curves, key=lambda name: curves[name].expected[index]) for index in range(longest)]
    stretches = [list(stretch) for _, stretch in itertools.groupby(enumerate(ahead, 1), lambda pair: pair[1])]
    return [(stretch[0][0], stretch[-1][0], stretch[0][1]) for stretch in stretches]


def _leave_one_out(ordered: np.ndarray) -> np.ndarray:
    """(N, N-1): the curve of the other values when the i-th smallest is left out.

    The values before the one left out keep their place, those after it move down by one: two running sums.
    """
    count = len(ordered)
    weights = subset_weights(count - 1)
    kept, moved = weights * ordered[:-1], weights * ordered[1:]
    zero = np.zeros((count - 1, 1))
    before = np.concatenate([zero, np.cumsum(kept, axis=1)], axis=1)
    after = np.concatenate([np.cumsum(moved[:, ::-1], axis=1)[:, ::-1], zero], axis=1)
    return (before + after).T
