"""Many-to-many truth: how much of what counts as error is correct all the same, and how much of the truth comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method

_DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}
#: measure, title, whether more is better, how it is tested
_MEASURES: tuple[tuple[str, str, Literal["", "higher", "lower"], Role], ...] = (
    ("error", "errors at rank 1", "lower", "shown"),
    ("unlabelled", "errors that are unlabelled truth", "", "primary"),
    ("judged", "errors that were judged", "", "shown"),
    ("correct", "correct at rank 1, all truth counted", "higher", "secondary"),
    ("coverage_1", "truth among the first 1", "higher", "shown"),
    ("coverage_5", "truth among the first 5", "higher", "shown"),
    ("coverage_10", "truth among the first 10", "higher", "secondary"),
    ("coverage_r", "R-precision", "higher", "secondary"),
)


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """The measures of both directions under every definition of what is correct."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    for name, probe in probes.items():
        for number, level in enumerate(probe.about.levels):
            for direction, words in _DIRECTIONS.items():
                for measure, title, better, role in _MEASURES:
                    key = f"{direction}_{measure}"
                    scores = by_method(
                        probe, ((m, pictures.mean(own.get(key), number)) for m, own in probe.answers.items())
                    )
                    if scores:
                        quantities.append(
                            Quantity(
                                f"{family}/{name}/{level}/{key}", f"{title}, {words} ({level})", "points", scores,
                                role if number else "shown", probe=name, level=level, place=float(number), low=0.0,
                                high=100.0, better=better,
                            )
                        )  # fmt: skip
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))
