"""Verdicts in plain words: what was found, how sure it is, about what, and what would be needed to know more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.hits import components
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison, PairRow


def verdict(comparison: Comparison, row: PairRow) -> str:
    """One pair's verdict.

    Args:
        comparison: what the row belongs to.
        row: one difference.

    Returns:
        A sentence or two: a winner, equivalence, or inconclusive with what the set-up can detect. A difference that is
        not significant is never called no difference.
    """
    label = "Exploratory: " if row.family.name == "exploratory" else ""
    if row.diagnostics.disagreement == 0.0:
        return f"{label}{row.a} and {row.b} gave the same answer to every query: are the runs the same?"
    if row.significant and row.difference != 0.0:
        return f"{label}{_winner(comparison, row)}"
    if row.equivalence is not None and row.equivalence.equivalent:
        return f"{label}{_equivalent(comparison, row)}"
    return f"{label}{_inconclusive(comparison, row)}"


def verdicts(comparison: Comparison, metric: str | None = None) -> tuple[str, ...]:
    """The verdicts of all pairs on one metric (the primary one if None), in the order of the rows."""
    chosen = metric or comparison.families[0].metrics[0]
    return tuple(verdict(comparison, row) for row in comparison.of_metric(chosen))


def tier_sentences(ranking: Sequence[RankedMethod]) -> tuple[str, ...]:
    """One sentence a tier, naming its leader and those that were not told apart from it."""
    sentences = []
    for tier in range(1, max((m.tier for m in ranking), default=0) + 1):
        leader, *others = [m.name for m in ranking if m.tier == tier]
        rest = f", not told apart from it: {', '.join(others)}" if others else ", alone"
        sentences.append(f"Tier {tier}: {leader} leads{rest}.")
    return tuple(sentences)


def format_p(p: float) -> str:
    """`= .012`, or `< .001`: three decimals, as papers print it."""
    return "< .001" if p < 0.0005 else f"= {p:.3f}".replace("0.", ".", 1)


def metric_label(metric: str) -> str:
    """`rSum`, or `points of t2i R@1`: the unit of a difference."""
    if metric == "rsum":
        return "rSum"
    direction, k = components(metric)[0]
    return f"points of {direction} R@{k}"


def _winner(comparison: Comparison, row: PairRow) -> str:
    sign = 1 if row.difference > 0 else -1
    winner, loser = (row.a, row.b) if sign > 0 else (row.b, row.a)
    low, high = sorted((sign * row.low, sign * row.high))
    sentence = (
        f"{winner} beats {loser} by {_points(row, abs(row.difference))} {metric_label(row.metric)} "
        f"({_level(comparison.alpha)} {_points(row, low)} to {_points(row, high)}; {_correction(row)}) "
        f"{_scope(comparison, row)}"
    )
    if row.equivalence is not None and row.equivalence.equivalent:
        sentence += f" The difference is real and smaller than the declared {row.equivalence.delta:g}."
    return sentence


def _equivalent(comparison: Comparison, row: PairRow) -> str:
    result = row.equivalence
    assert result is not None
    interval = f"{_points(row, result.low)} to {_points(row, result.high)}"
    return (
        f"{row.a} and {row.b} are equivalent within ±{result.delta:g} {metric_label(row.metric)} "
        f"({_level(2 * comparison.alpha)} {interval}) {_scope(comparison, row)}"
    )


def _inconclusive(comparison: Comparison, row: PairRow) -> str:
    unit = metric_label(row.metric)
    if math.isinf(row.images_needed):
        need = f"no number of images is enough for {row.target:g}, the seeds vary too much: add seeds"
    else:
        need = f"about {row.images_needed:.0f} images needed for {row.target:g}"
    return (
        f"{row.a} against {row.b}: inconclusive, {_level(comparison.alpha)} {_points(row, row.low)} to "
        f"{_points(row, row.high)} ({_correction(row)}); this set-up detects "
        f"{_points(row, row.detectable_corrected)} {unit} or more with 80 % power; {need}."
    )


def _correction(row: PairRow) -> str:
    if row.family.m == 1:
        return f"p {format_p(row.p_adjusted)}, 1 comparison"
    return f"{LABELS[row.family.correction]} p {format_p(row.p_adjusted)}, {row.family.m} comparisons"


def _scope(comparison: Comparison, row: PairRow) -> str:
    if comparison.claim == "method":
        return "on new images and new seeds."
    counts = dict(zip(comparison.methods, comparison.seeds, strict=True))
    if max(counts[row.a], counts[row.b]) == 1:
        return "on new images, for these checkpoints only; one seed, so nothing is claimed about retraining."
    return "on new images, for these trained models only; nothing is claimed about retraining."


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g} % CI"


def _points(row: PairRow, value: float) -> str:
    """One decimal for rSum, two for a recall, and no negative zero."""
    digits = 1 if row.metric == "rsum" else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"
