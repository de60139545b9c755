"""Perturbed pictures, captions and regions: how much of its rSum each method keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, absences, by_method
from harness.reports.statistics.chance import random_scorer
from harness.reports.statistics.outcomes.scores import Score, area, average, relative

#: A perturbation that makes a caption false: who keeps its recall did not notice.
FALSE = ("wrong_attribute",)
_UNIT = "percent of the clean rSum"
_BEYOND = "percent of what the clean rSum is above that of a random order"


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """rSum at every severity, what is kept of the clean rSum by each kind, and the mean over kinds.

    Kept is the area under the curve of rSum over severity, from the unchanged input to the largest severity (trapezoids),
    as percent of the area that the unchanged rSum would have: 100 = nothing is lost. Above chance, the rSum of a random order
    is taken off both: 0 = what is left is what a random order would have, too.
    """
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities, kept, notes = [], {}, []
    beyond: dict[str, dict[str, Score]] = {}
    for name, probe in probes.items():
        levels = _levels(probe, pictures)
        for number, scores in enumerate(levels):
            quantities.append(_level(family, name, probe, number, scores))
        kept[name], zero = _kept(levels, probe.about.values)
        beyond[name] = _kept(levels, probe.about.values, _chance(probe) or 0.0)[0]
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
        above = {m: average([beyond[k][m] for k in kinds]) for m in whole if all(m in beyond[k] for k in kinds)}
        quantities.append(Quantity(f"{family}/kept_above_chance", f"{title}, above chance", _BEYOND, above))
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


def _kept(
    levels: Sequence[Mapping[str, Score]], places: Sequence[float], floor: float = 0.0
) -> tuple[dict[str, Score], list[str]]:
    """The area under each curve above a floor as percent of the clean score's, and the methods with a seed not above it."""
    found, zero = {}, []
    for method in levels[0] if len(set(places)) > 1 else ():
        own = [level[method] for level in levels if method in level]
        if len(own) < len(levels):
            continue
        if (own[0].values <= floor).any():
            zero.append(method)
            continue
        found[method] = relative(_less(area(own, places), floor), _less(own[0], floor))
    return found, zero


def _less(score: Score, floor: float) -> Score:
    """A score minus a number that no picture moves."""
    return replace(score, values=score.values - floor, denominator=0) if floor else score


def clean(found: Sequence[Findings]) -> Quantity | None:
    """rSum on the unchanged input of the first perturbation that has it."""
    for one in found:
        for quantity in one.quantities:
            if quantity.level and quantity.key.endswith("/0") and quantity.unit == "rSum":
                return quantity
    return None


def by_chance(found: Sequence[Findings]) -> float | None:
    """rSum of a random order in the gallery of the first perturbation that has answers; None where none has."""
    return next((chance for one in found for probe in one.asked if (chance := _chance(probe)) is not None), None)


def _chance(probe: ProbeAnswers) -> float | None:
    """rSum of a random order in the gallery of a perturbation; None without answers."""
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
