"""Perturbed pictures, captions and regions: how much of its rSum each method keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, absences, by_method
from harness.reports.statistics.chance import random_scorer
from harness.reports.statistics.outcomes.scores import Score, area, average, relative

#: A perturbation that makes a caption false: who keeps its recall did not notice.
FALSE = ("wrong_attribute",)
_UNIT = "percent of the clean rSum"


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """rSum at every severity, what is kept of the clean rSum by each kind, and the mean over kinds.

    Kept is the area under the curve of rSum over severity, from the unchanged input to the largest severity (trapezoids),
    as percent of the area that the unchanged rSum would have: 100 = nothing is lost.
    """
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities, kept, notes = [], {}, []
    for name, probe in probes.items():
        levels = _levels(probe, pictures)
        for number, scores in enumerate(levels):
            quantities.append(_level(family, name, probe, number, scores))
        kept[name], zero = _kept(levels, probe.about.values)
        notes += [
            f"{method} has an rSum of 0 on the unchanged input of {probe.title}: nothing is kept of that."
            for method in zero
        ]
    kinds = [name for name in probes if name not in FALSE]
    whole = [method for method in methods if kinds and all(method in kept[name] for name in kinds)]
    mean = {method: average([kept[name][method] for name in kinds]) for method in whole}
    if mean:
        title = "mean over kinds" if len(kinds) > 1 else probes[kinds[0]].title
        quantities.append(Quantity(f"{family}/kept", title, _UNIT, mean, "primary", low=0.0))
    if len(kinds) > 1 or len(kinds) < len(probes):
        for name, probe in probes.items():
            better: Literal["higher", "lower"] = "lower" if name in FALSE else "higher"
            key = f"{family}/{name}/kept"
            quantities.append(Quantity(key, probe.title, _UNIT, kept[name], "secondary", name, low=0.0, better=better))
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods), notes)


def _levels(probe: ProbeAnswers, pictures: Pictures) -> list[dict[str, Score]]:
    return [
        by_method(probe, ((method, pictures.retrieval(own, level, "rsum")) for method, own in probe.answers.items()))
        for level in range(len(probe.about.levels))
    ]


def _level(family: str, name: str, probe: ProbeAnswers, number: int, scores: Mapping[str, Score]) -> Quantity:
    about = probe.about
    return Quantity(
        f"{family}/{name}/{number}", f"{probe.title}, {about.levels[number]}", "rSum", scores, probe=name,
        level=about.levels[number], place=about.values[number], low=0.0, high=600.0,
    )  # fmt: skip


def _kept(levels: Sequence[Mapping[str, Score]], places: Sequence[float]) -> tuple[dict[str, Score], list[str]]:
    """The area under each curve as percent of the clean score, and the methods whose clean score is 0."""
    found, zero = {}, []
    for method in levels[0] if len(set(places)) > 1 else ():
        own = [level[method] for level in levels if method in level]
        if len(own) < len(levels):
            continue
        if (own[0].values == 0).any():
            zero.append(method)
            continue
        found[method] = relative(area(own, places), own[0])
    return found, zero


def clean(found: Sequence[Findings]) -> Quantity | None:
    """rSum on the unchanged input of the first perturbation that has it."""
    for one in found:
        for quantity in one.quantities:
            if quantity.level and quantity.key.endswith("/0") and quantity.unit == "rSum":
                return quantity
    return None


def by_chance(found: Sequence[Findings]) -> float | None:
    """rSum of a random order in the gallery of the first perturbation that has answers; None where none has."""
    for probe in (probe for one in found for probe in one.asked):
        for own in probe.answers.values():
            if {"i2t_rank", "t2i_rank"} <= set(own):
                pictures, captions = own["i2t_rank"], own["t2i_rank"]
                owner = np.searchsorted(pictures.item, captions.image)
                return random_scorer(owner, len(pictures.item)).scores["rsum"]
    return None


def worst(found: Sequence[Findings]) -> dict[str, tuple[Quantity, Score]]:
    """By method the kind and severity at which the least is kept of the clean rSum, and how much that is.

    The least of many is no smooth function of the answers: the score has its own interval, as if it had not been selected.
    """
    least: dict[str, tuple[Quantity, Score]] = {}
    for one in found:
        for probe in dict.fromkeys(q.probe for q in one.quantities if q.level):
            if probe in FALSE:
                continue
            first, *others = one.levels_of(probe)
            for level in others:
                for method, score in level.scores.items():
                    base = first.scores.get(method)
                    if base is None or (base.values == 0).any():
                        continue
                    kept = relative(score, base)
                    if method not in least or kept.mean < least[method][1].mean:
                        least[method] = (level, kept)
    return least
