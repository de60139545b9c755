"""Many-to-many truth: how much of what counts as error is correct all the same, and how much of the truth comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.outcomes.scores import Score

_DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}
#: measure, title, whether more is better, how it is tested
_MEASURES: tuple[tuple[str, str, Literal["", "higher", "lower"], Role], ...] = (
    ("unlabelled", "errors that are unlabelled truth", "", "primary"),
    ("unlabelled_random", "the same of a random item", "", "shown"),
    ("error", "errors at rank 1", "lower", "shown"),
    ("judged", "errors that were judged", "", "shown"),
    ("correct", "correct at rank 1, all truth counted", "higher", "secondary"),
    ("coverage_1", "truth among the first 1", "higher", "shown"),
    ("coverage_5", "truth among the first 5", "higher", "shown"),
    ("coverage_10", "truth among the first 10", "higher", "secondary"),
    ("coverage_r", "R-precision", "higher", "secondary"),
)


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """The measures of both directions under every definition of what is correct beyond the dataset's own pairs."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    for name, probe in probes.items():
        about = probe.about
        for number, level in enumerate(about.levels):
            if number == 0 and len(about.levels) > 1:
                continue  # the own pairs alone: what the leaderboard shows
            of_level = f" ({level.replace('_', ' ')})" if len(about.levels) > 2 else ""
            for direction, words in _DIRECTIONS.items():
                for measure, title, better, role in _MEASURES:
                    scores = _scores(probe, pictures, f"{direction}_{measure}", number)
                    if scores:
                        quantities.append(
                            Quantity(
                                f"{family}/{name}/{level}/{direction}_{measure}", f"{title}, {words}{of_level}", "%", scores,
                                role if number else "shown", name, level, float(number), low=0.0, high=100.0, better=better,
                            )
                        )  # fmt: skip
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


def _scores(probe: ProbeAnswers, pictures: Pictures, measure: str, level: int) -> dict[str, Score]:
    found = ((method, pictures.mean(own.get(measure), level)) for method, own in probe.answers.items())
    return by_method(probe, found)
