"""Composition: how often the true caption or picture scores above one that is wrong in one thing, against chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, absences, by_method
from harness.reports.statistics.outcomes.scores import average

#: The measure of a probe that counts for its suite; others of the probe are shown beside it.
_MAIN = ("correct", "group", "image_to_text", "text", "image")


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """Percent correct of every kind and measure, and the mean over the kinds of each suite, a kind a voice."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    kinds: list[Quantity] = []
    suites: dict[str, list[Quantity]] = {}
    for name, probe in probes.items():
        measures = _measures(probe)
        main = next((m for m in _MAIN if m in measures), next(iter(measures), None))
        for measure in measures:
            title = probe.title if len(measures) == 1 else f"{probe.title}: {measure.replace('_', ' ')}"
            one = Quantity(
                f"{family}/{name}/{measure}", title, "%",
                by_method(probe, ((m, pictures.mean(own.get(measure), 0)) for m, own in probe.answers.items())),
                "secondary", probe=name, low=0.0, high=100.0, chance=_chance(probe.about.inputs, measure),
            )  # fmt: skip
            kinds.append(one)
            if measure == main:
                suites.setdefault(suite_of(name), []).append(one)
    means = [_mean(family, suite, own, methods) for suite, own in suites.items()]
    found = [mean for mean in means if mean is not None]
    return Findings(family, [*found, *kinds], len(pictures), asked, absences(asked, methods))


def suite_of(name: str) -> str:
    """The suite of a probe.

    >>> suite_of("sugarcrepe-swap_obj"), suite_of("winoground")
    ('sugarcrepe', 'winoground')
    """
    return name.partition("-")[0]


def _measures(probe: ProbeAnswers) -> list[str]:
    return list(dict.fromkeys(name for own in probe.answers.values() for name, one in own.items() if one.unit == "hit"))


def _chance(inputs: Mapping[str, Any], measure: str) -> float | None:
    """Percent right of scores that know nothing, as the probe states it."""
    stated = inputs.get("chance")
    value = stated.get(measure) if isinstance(stated, Mapping) else None
    return 100.0 * float(value) if isinstance(value, int | float) else None


def _mean(family: str, suite: str, kinds: Sequence[Quantity], methods: Sequence[str]) -> Quantity | None:
    whole = {m: average([one.scores[m] for one in kinds]) for m in methods if all(m in one.scores for one in kinds)}
    chances = [one.chance for one in kinds if one.chance is not None]
    if not whole:
        return None
    return Quantity(
        f"{family}/{suite}/mean", f"{suite}, mean of {len(kinds)} kinds" if len(kinds) > 1 else suite, "%", whole,
        "primary", probe=suite, low=0.0, high=100.0,
        chance=sum(chances) / len(chances) if len(chances) == len(kinds) else None,
    )  # fmt: skip
