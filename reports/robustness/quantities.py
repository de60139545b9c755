"""What a family of probes comes to: scores by method, which of them are tested, and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.reports.robustness.loading import Answers, ProbeAnswers, pictures_of
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.outcomes.recalls import Direction, retrieval_score
from harness.reports.statistics.outcomes.scores import Score, mean_score

#: Whether methods are compared on a quantity with Holm's correction, with maxT, or not at all.
Role = Literal["primary", "secondary", "shown"]


@dataclass(frozen=True, eq=False)
class Quantity:
    """One number per method.

    Args:
        key: unique, such as `images/blur/kept`.
        title: as tables show it.
        unit: of its values, in words for sentences: "rSum", "points".
        scores: by method.
        role: whether it is tested.
        probe: that it is of; empty for several together.
        level: name of the level that it is of; empty for several together.
        place: of the level on the probe's axis.
        digits: decimals.
        low: the least that it can be.
        high: the most that it can be.
        chance: what it is for scores that know nothing; None where that is not said.
        better: which values are better.
    """

    key: str
    title: str
    unit: str
    scores: Mapping[str, Score]
    role: Role = "shown"
    probe: str = ""
    level: str = ""
    place: float = math.nan
    digits: int = 1
    low: float = -math.inf
    high: float = math.inf
    chance: float | None = None
    better: Literal["", "higher", "lower"] = "higher"


@dataclass(frozen=True, eq=False)
class Findings:
    """What a family of probes comes to.

    Args:
        family: its name.
        quantities: in the order of its tables.
        pictures: that its items belong to.
        asked: the probes behind it.
        lacking: why a method has no number, by method and what it lacks.
        notes: what a reader must know of the numbers.
    """

    family: str
    quantities: Sequence[Quantity]
    pictures: int
    asked: Sequence[ProbeAnswers]
    lacking: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def get(self, key: str) -> Quantity | None:
        """The quantity of that key; None where there is none."""
        return next((one for one in self.quantities if one.key == key), None)

    def of_role(self, role: Role) -> list[Quantity]:
        """The quantities that are tested alike."""
        return [one for one in self.quantities if one.role == role]

    def levels_of(self, probe: str) -> list[Quantity]:
        """The quantities of the single levels of a probe, in order."""
        return [one for one in self.quantities if one.probe == probe and one.level]


def answered(found: Findings) -> Findings:
    """The findings without quantities that no method has, as of probes that no method can be asked."""
    return replace(found, quantities=[one for one in found.quantities if one.scores])


class Pictures:
    """The pictures that some probes ask about, numbered."""

    def __init__(self, probes: Sequence[ProbeAnswers]):
        self.ids = pictures_of(probes)

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, answers: Answers) -> NDArray[np.int64]:
        """(Q,) number of the picture of each item."""
        return np.searchsorted(self.ids, answers.image).astype(np.int64)

    def mean(self, answers: Answers | None, level: int, points: float = 100.0) -> Score | None:
        """The mean of a measure at a level; None where a seed has no item there."""
        if answers is None:
            return None
        try:
            return mean_score(answers.values[:, level], self.numbers(answers), len(self), points=points)
        except InvalidSetting:
            return None

    def retrieval(self, own: Mapping[str, Answers], level: int, metric: str) -> Score | None:
        """rSum or a recall of ranks at a level; None where a direction has no query there."""
        sides: dict[str, Direction | None] = {}
        for direction in ("i2t", "t2i"):
            answers = own.get(f"{direction}_rank")
            sides[direction] = None if answers is None else (answers.values[:, level], self.numbers(answers))
        try:
            return retrieval_score(metric, sides["i2t"], sides["t2i"], len(self))
        except InvalidSetting:
            return None


def by_method(probe: ProbeAnswers, score: Iterator[tuple[str, Score | None]]) -> dict[str, Score]:
    """Scores of the methods that have one, in the order of the probe's answers."""
    found = {method: one for method, one in score if one is not None}
    return {method: found[method] for method in probe.answers if method in found}


def absences(probes: Sequence[ProbeAnswers], methods: Sequence[str]) -> list[tuple[str, str, str]]:
    """Method, probe and reason of every lack of answers; one line where a method lacks all probes for one reason."""
    found = []
    for method in methods:
        reasons = {probe.title: probe.absent[method] for probe in probes if method in probe.absent}
        if len(reasons) == len(probes) and len(set(reasons.values())) == 1:
            found.append((method, "all", next(iter(reasons.values()))))
        else:
            found += [(method, title, reason) for title, reason in reasons.items()]
    return found
