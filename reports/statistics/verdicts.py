"""Verdicts in plain words: what was found, how sure it is, about what, and what would be needed to know more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import counted
from harness.reports.document.text import fixed, p_value
from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison, PairRow


def verdict(comparison: Comparison, row: PairRow) -> str:
    """A pair's verdict in a sentence or two: a winner, equivalence, or inconclusive with what the set-up can detect.

    A difference that is not significant is never called no difference.
    """
    label = "Exploratory: " if row.family.name == "exploratory" else ""
    if row.outcome == "same answers":
        return f"{label}{row.a} and {row.b} gave the same answer to every query: are the runs the same?"
    sentence = {"equivalent": _equivalent, "inconclusive": _inconclusive}.get(row.outcome, _winner)
    return f"{label}{sentence(comparison, row)}"


def verdicts(comparison: Comparison, metric: str | None = None) -> tuple[str, ...]:
    """The verdicts of all pairs on one metric (the primary one if None), in the order of the rows."""
    return tuple(verdict(comparison, row) for row in comparison.of_metric(metric or comparison.primary))


def tier_sentences(ranking: Sequence[RankedMethod]) -> tuple[str, ...]:
    """One sentence per tier, naming its leader and those that were not told apart from it."""
    sentences = []
    for tier in range(1, max((m.tier for m in ranking), default=0) + 1):
        leader, *others = [m.name for m in ranking if m.tier == tier]
        rest = f", not told apart from it: {', '.join(others)}" if others else ", alone"
        sentences.append(f"Tier {tier}: {leader} leads{rest}.")
    return tuple(sentences)


def p_phrase(p: float) -> str:
    """A p-value in a sentence.

    >>> p_phrase(0.0123), p_phrase(0.0001)
    ('p = .012', 'p < .001')
    """
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _winner(comparison: Comparison, row: PairRow) -> str:
    sign = 1 if row.difference > 0 else -1
    winner, loser = (row.a, row.b) if sign > 0 else (row.b, row.a)
    interval = _interval(row, 1 - comparison.alpha, *sorted((sign * row.low, sign * row.high)))
    sentence = (
        f"{winner} beats {loser} by {_points(row, abs(row.difference))} {_unit(row)} ({interval}; {_correction(row)}) "
        f"{_scope(comparison, row)}"
    )
    if row.equivalence is not None and row.equivalence.equivalent:
        sentence += f" The difference is real and smaller than the declared {row.equivalence.delta:g}."
    return sentence


def _equivalent(comparison: Comparison, row: PairRow) -> str:
    result = row.equivalence
    assert result is not None
    interval = _interval(row, 1 - 2 * comparison.alpha, result.low, result.high)
    return f"{row.a} and {row.b} are equivalent within ±{result.delta:g} {_unit(row)} ({interval}) {_scope(comparison, row)}"


def _inconclusive(comparison: Comparison, row: PairRow) -> str:
    if math.isinf(row.images_needed):
        need = f"no number of images is enough for {row.target:g}, the seeds vary too much: add seeds"
    else:
        need = f"about {row.images_needed:,.0f} images needed for {row.target:g}"
    return (
        f"{row.a} against {row.b}: inconclusive, {_interval(row, 1 - comparison.alpha, row.low, row.high)} "
        f"({_correction(row)}); this set-up detects {_points(row, row.detectable_corrected)} {_unit(row)} or more with "
        f"80 % power; {need}."
    )


def _unit(row: PairRow) -> str:
    return "rSum" if row.metric == "rsum" else f"points of {metric_name(row.metric)}"


def _points(row: PairRow, value: float) -> str:
    return fixed(value, decimals(row.metric))


def _interval(row: PairRow, level: float, low: float, high: float) -> str:
    return f"{100 * level:g} % CI {_points(row, low)} to {_points(row, high)}"


def _correction(row: PairRow) -> str:
    label = f"{LABELS[row.family.correction]} " if row.family.m > 1 else ""
    return f"{label}{p_phrase(row.p_adjusted)}, {counted(row.family.m, 'comparison')}"


def _scope(comparison: Comparison, row: PairRow) -> str:
    if comparison.claim == "method":
        return "on new images and new seeds."
    counts = dict(zip(comparison.methods, comparison.seeds, strict=True))
    if max(counts[row.a], counts[row.b]) == 1:
        return "on new images, for these checkpoints only; one seed, so nothing is claimed about retraining."
    return "on new images, for these trained models only; nothing is claimed about retraining."
