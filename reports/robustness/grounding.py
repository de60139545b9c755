"""Grounding: how often words point at their objects, beyond what pointing without looking would hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.reports.robustness.loading import ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.outcomes.scores import Score

#: Measures in percent that have baselines, with how their gain is tested.
_BASED: tuple[tuple[str, str, Role], ...] = (
    ("pointing", "pointing", "primary"),
    ("inside", "attention inside", "secondary"),
)
_BASELINES = {"uniform": "uniform map", "random": "random map", "centre": "middle of the picture"}
#: Measures in percent that are shown beside them.
_BESIDE = {
    "pointing_regions": "pointing, by regions",
    "inside_regions": "inside, by regions",
    "inside_ceiling": "inside, at most",
    "reachable": "words in reach",
    "matched": "words matched",
    "gate_separation": "gates: words above others",
}


def findings(family: str, probes: Mapping[str, ProbeAnswers], methods: Sequence[str]) -> Findings:
    """Pointing game, attention inside the box and rank correlation, each less its uniform baseline, word by word."""
    asked = list(probes.values())
    pictures = Pictures(asked)
    quantities: list[Quantity] = []
    for name, probe in probes.items():
        head = f"{probe.title}: " if len(probes) > 1 else ""
        for measure, title, role in _BASED:
            quantities += _based(f"{family}/{name}/{measure}", f"{head}{title}", role, _Reader(name, probe, pictures))
        quantities += _others(f"{family}/{name}", head, _Reader(name, probe, pictures))
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


class _Reader:
    """The measures of one probe."""

    def __init__(self, name: str, probe: ProbeAnswers, pictures: Pictures):
        self.name, self._probe, self._pictures = name, probe, pictures

    def scores(self, measure: str, points: float = 100.0) -> dict[str, Score]:
        """The mean of a measure by method."""
        found = (
            (method, self._pictures.mean(own.get(measure), 0, points)) for method, own in self._probe.answers.items()
        )
        return by_method(self._probe, found)

    def percent(self, key: str, title: str, scores: Mapping[str, Score], *, good: bool = False) -> Quantity:
        """A share of words or of attention."""
        better = "higher" if good else ""
        return Quantity(key, title, "%", scores, probe=self.name, low=0.0, high=100.0, better=better)  # type: ignore[arg-type]


def _based(key: str, title: str, role: Role, reader: _Reader) -> list[Quantity]:
    """A measure, its baselines, and its gain over a map that looks everywhere alike."""
    measure = key.rpartition("/")[2]
    own = reader.scores(measure)
    if not own:
        return []
    based = {baseline: reader.scores(f"{measure}_{baseline}") for baseline in _BASELINES}
    even = based["uniform"]
    gain = {method: own[method] - even[method] for method in own if method in even}
    return [
        Quantity(f"{key}_gain", f"{title} − uniform", "points", gain, role, reader.name, chance=0.0),
        reader.percent(key, title, own, good=True),
        *(
            reader.percent(f"{key}_{baseline}", f"{title}, {words}", based[baseline])
            for baseline, words in _BASELINES.items()
            if based[baseline]
        ),
    ]


def _others(key: str, head: str, reader: _Reader) -> list[Quantity]:
    made = []
    if correlation := reader.scores("rank_correlation", 1.0):
        made.append(
            Quantity(
                f"{key}/rank_correlation", f"{head}rank correlation", "", correlation, "secondary", reader.name,
                digits=3, low=-1.0, high=1.0, chance=0.0,
            )
        )  # fmt: skip
    for measure, title in _BESIDE.items():
        if scores := reader.scores(measure):
            made.append(reader.percent(f"{key}/{measure}", f"{head}{title}", scores))
    return made
