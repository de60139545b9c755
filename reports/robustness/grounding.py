"""Grounding: how often words point at their objects, beyond what pointing without looking would hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.reports.robustness.loading import Answers, ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.outcomes.scores import Score

#: measure, title, points of a value of 1, whether it has baselines
_MEASURES = (
    ("pointing", "pointing", 100.0),
    ("inside", "attention inside", 100.0),
    ("rank_correlation", "rank correlation", 1.0),
)
_BASELINES = ("uniform", "random")


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """Pointing game, attention inside the box and rank correlation, each less its uniform baseline, word by word."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    several = len(probes) > 1
    for name, probe in probes.items():
        for measure, title, points in _MEASURES:
            head = f"{probe.title}: {title}" if several else title
            scores = _scores(probe, pictures, measure, points)
            if not scores:
                continue
            digits, high = (1, 100.0) if points == 100 else (3, 1.0)
            low = 0.0 if points == 100 else -1.0
            based = measure != "rank_correlation"
            quantities.append(
                Quantity(
                    f"{family}/{name}/{measure}", head, "points" if based else "of correlation", scores,
                    "shown" if based else "secondary", probe=name, digits=digits, low=low, high=high,
                    chance=None if based else 0.0,
                )
            )  # fmt: skip
            for baseline in _BASELINES if based else ():
                of_baseline = _scores(probe, pictures, f"{measure}_{baseline}", points)
                if not of_baseline:
                    continue
                quantities.append(
                    Quantity(
                        f"{family}/{name}/{measure}_{baseline}", f"{head}, {baseline}", "points", of_baseline, probe=name,
                        low=low, high=high, better="",
                    )
                )  # fmt: skip
                if baseline == "uniform":
                    role: Role = "primary" if measure == "pointing" else "secondary"
                    gain = {m: scores[m] - of_baseline[m] for m in scores if m in of_baseline}
                    quantities.append(
                        Quantity(
                            f"{family}/{name}/{measure}_gain", f"{head} − uniform", "points", gain, role, probe=name, chance=0.0
                        )
                    )  # fmt: skip
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


def _scores(probe: ProbeAnswers, pictures: Pictures, measure: str, points: float) -> dict[str, Score]:
    found: dict[str, Answers | None] = {method: own.get(measure) for method, own in probe.answers.items()}
    return by_method(probe, ((method, pictures.mean(own, 0, points)) for method, own in found.items()))
