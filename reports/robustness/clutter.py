"""Clutter: rSum against the number of objects, and how much each further one costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.outcomes.scores import Score, relative, slope

#: The probe whose slope is tested first.
OBJECTS = "objects"


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """rSum at every level, its slope over the levels, and what of the first level is left at the last."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    first = OBJECTS if OBJECTS in probes else next(iter(probes))
    for name, probe in probes.items():
        levels = [
            by_method(probe, ((m, pictures.retrieval(own, level, "rsum")) for m, own in probe.answers.items()))
            for level in range(len(probe.about.levels))
        ]
        quantities += _single(f"{family}/{name}", probe, levels)
        if len(set(probe.about.values)) > 1:
            quantities += _together(f"{family}/{name}", probe, levels, "primary" if name == first else "secondary")
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


def _single(key: str, probe: ProbeAnswers, levels: Sequence[Mapping[str, Score]]) -> list[Quantity]:
    """rSum at every level; that of the last one is tested: who finds most in the most cluttered pictures?"""
    about = probe.about
    return [
        Quantity(
            f"{key}/{number}", f"{probe.title}, {about.levels[number]}", "rSum", scores,
            "secondary" if number == len(levels) - 1 else "shown", about.name, about.levels[number], about.values[number],
            low=0.0, high=600.0,
        )
        for number, scores in enumerate(levels)
    ]  # fmt: skip


def _together(key: str, probe: ProbeAnswers, levels: Sequence[Mapping[str, Score]], role: Role) -> Sequence[Quantity]:
    """The slope over the levels, and what of the first level is left at the last."""
    about = probe.about
    whole = [method for method in levels[0] if all(method in level for level in levels)]
    step, places = steps(about.name, about.axis, about.values)
    slopes = {method: slope([level[method] for level in levels], places) for method in whole}
    left = {m: relative(levels[-1][m], levels[0][m]) for m in whole if _above_zero(levels[0][m])}
    title = f"{probe.title}: % left, {about.levels[0]} to {about.levels[-1]}"
    return [
        Quantity(f"{key}/slope", f"{probe.title}: slope", f"rSum per {step}", slopes, role, about.name, digits=2),
        Quantity(f"{key}/left", title, "percent of the first level's rSum", left, "secondary", about.name, low=0.0),
    ]


def steps(name: str, axis: str, values: Sequence[float]) -> tuple[str, list[float]]:
    """One step of an axis in words, and the levels in such steps: shares are counted in tenths.

    >>> steps("objects", "objects", [2, 4])
    ('additional object', [2.0, 4.0])
    >>> steps("overlap", "share of the target covered", [0.0, 0.5])
    ('further 10 % of the target covered', [0.0, 5.0])
    """
    if name == OBJECTS:
        return "additional object", [float(value) for value in values]
    if axis.startswith("share"):
        return f"further 10 % {axis.removeprefix('share').strip()}", [10.0 * value for value in values]
    return f"step of {axis or name}", [float(value) for value in values]


def _above_zero(score: Score) -> bool:
    return bool((score.values > 0).all())
