"""Does a wider margin mean a safer match? Scores of a ranking of answers by their margins, with what each picture moves.

Margins count by their order within a method alone: the scales of two methods have nothing in common.

Shape letters: S seeds, Q queries, N pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from harness.reports.statistics.checks import codes
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.outcomes.scores import PERCENT, Score

#: Of one seed: margins and whether the answers are right -> the statistic, and what each query moves of it (sum zero).
Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


def auroc_score(margins: ArrayLike, correct: ArrayLike, cluster: ArrayLike, size: int) -> Score:
    """How often a right answer has a wider margin than a wrong one, in percent; ties count half.

    The area under the ROC curve. 50 = margins say nothing. A query moves it by its placement among those of the other kind
    (DeLong et al. 1988), added up over the queries of a picture.

    Args:
        margins: (S, Q); NaN = the query takes no part.
        correct: (S, Q) 1 = right, 0 = wrong; NaN likewise.
        cluster: (Q,) number of the picture that each query belongs to.
        size: N.

    Raises:
        InvalidSetting: a seed without right or without wrong answers.

    >>> auroc_score([[0.9, 0.5, 0.1]], [[1, 0, 1]], [0, 1, 2], 3).mean
    50.0
    """
    return _score(_auroc, margins, correct, cluster, size)


def aurc_score(margins: ArrayLike, correct: ArrayLike, cluster: ArrayLike, size: int) -> Score:
    """The share of wrong answers among the k with the widest margins, averaged over all k, in percent: less is better.

    The area under the risk-coverage curve (Geifman and El-Yaniv 2017). Where margins say nothing, it is the share of wrong
    answers; the more they say, the further below it lies. Tied margins are averaged over their orders. A query moves it as
    itself, and by the places that it gives the queries below.

    Args, Raises: as `auroc_score`; a seed whose answers are all right or all wrong is no error here.

    >>> round(aurc_score([[0.9, 0.5, 0.1]], [[1, 1, 0]], [0, 1, 2], 3).mean, 3)
    11.111
    """
    return _score(_aurc, margins, correct, cluster, size)


def _score(statistic: Statistic, margins: ArrayLike, correct: ArrayLike, cluster: ArrayLike, size: int) -> Score:
    """A statistic of every seed, its queries added up to pictures."""
    m, right = (np.atleast_2d(np.asarray(values, dtype=np.float64)) for values in (margins, correct))
    owner = codes(cluster, "pictures of queries", length=m.shape[1])
    if m.shape != right.shape:
        raise InvalidSetting(f"margins and answers must be of the same queries, got {m.shape} and {right.shape}")
    values, influences = [], []
    support = np.zeros(size, dtype=bool)
    for row, answers in zip(m, right, strict=True):
        there = ~(np.isnan(row) | np.isnan(answers))
        if not there.any():
            raise InvalidSetting("margins need queries, and a seed has none")
        value, moved = statistic(row[there], answers[there])
        values.append(PERCENT * value)
        influences.append(PERCENT * np.bincount(owner[there], weights=moved, minlength=size))
        support |= np.bincount(owner[there], minlength=size) > 0
    return Score(np.array(values), np.stack(influences), support)


def _auroc(margins: NDArray[np.float64], correct: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    right = correct > 0
    if right.all() or not right.any():
        raise InvalidSetting("margins are compared between right and wrong answers, and a seed has one kind alone")
    among_all, among_own = rankdata(margins), np.empty(len(margins))
    for kind in (right, ~right):
        among_own[kind] = rankdata(margins[kind])
    others = np.where(right, (~right).sum(), right.sum())
    below = (among_all - among_own) / others  # share of the other kind with a narrower margin, ties half
    placement = np.where(right, below, 1 - below)
    value = float(placement[right].mean())
    return value, (placement - value) / np.where(right, right.sum(), (~right).sum())


def _aurc(margins: NDArray[np.float64], correct: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    count = len(margins)
    order = np.argsort(-margins, kind="stable")
    wrong = 1 - correct[order]
    _, group = np.unique(-margins[order], return_inverse=True)
    # The k-th place adds its risk at all coverages from k on: 1/k + 1/(k+1) + ... + 1/Q; tied queries share their places.
    inverse = 1 / np.arange(1, count + 1)
    weight = _by_group(np.cumsum(inverse[::-1])[::-1], group)
    # A query more above another one lowers what that one weighs, by the inverse of its place.
    lowered = wrong * _by_group(inverse, group)
    tied = np.bincount(group, weights=lowered)
    below = (
        np.cumsum(tied[::-1])[::-1][group] - tied[group] / 2
    )  # what lies below a query, and half of what ties with it
    value = float((wrong * weight).sum() / count)
    moved = np.empty(count)
    moved[order] = wrong * weight - below
    return value, (moved - moved.mean()) / count


def _by_group(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Every value replaced by the mean of its group."""
    return (np.bincount(group, weights=values) / np.bincount(group))[group]
