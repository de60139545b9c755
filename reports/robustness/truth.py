"""Many-to-many truth: how much of what counts as error is correct all the same, and how much of the truth comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from harness.reports.robustness.loading import Answers, ProbeAnswers
from harness.reports.robustness.quantities import Findings, Pictures, Quantity, Role, absences, by_method
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.outcomes.scores import Score
from harness.reports.statistics.outcomes.selective import aurc_score, auroc_score

#: The level of the dataset's own pairs.
_OWN = "own"
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
            quantities += _margins(f"{family}/{name}", of_level, probe, pictures, number)
        quantities += _uncertainties(f"{family}/{name}", probe, pictures)
    return Findings(family, quantities, len(pictures), asked, absences(asked, methods))


def _margins(key: str, of_level: str, probe: ProbeAnswers, pictures: Pictures, number: int) -> list[Quantity]:
    """Whether a wider margin over the second item means a safer first one, of each direction."""
    name, level, made = probe.about.name, probe.about.levels[number], []
    for direction, words in _DIRECTIONS.items():
        found: dict[str, tuple[Score, Score]] = {}
        for method, own in probe.answers.items():
            margin, correct = own.get(f"{direction}_margin"), own.get(f"{direction}_correct")
            if margin is None or correct is None:
                continue
            asked = margin.values[:, number], correct.values[:, number], pictures.numbers(margin), len(pictures)
            try:
                found[method] = auroc_score(*asked), aurc_score(*asked)
            except InvalidSetting:  # no answer is right, or all are
                continue
        if found:
            place = f"{key}/{level}/{direction}"
            made += [
                Quantity(
                    f"{place}_auroc", f"margins tell right from wrong, {words}{of_level}", "%",
                    {method: both[0] for method, both in found.items()}, "secondary", name, level, float(number), low=0.0,
                    high=100.0, chance=50.0, better="higher",
                ),
                Quantity(
                    f"{place}_aurc", f"wrong among the surest, {words}{of_level}", "%",
                    {method: both[1] for method, both in found.items()}, "shown", name, level, float(number), low=0.0,
                    high=100.0, better="lower",
                ),
            ]  # fmt: skip
    return made


_UNCERTAIN = {
    "uncertainty": "its uncertainty of a picture with the number of true captions",
    "uncertainty_relative": "the same, relative to the length of its regions",
}


def _uncertainties(key: str, probe: ProbeAnswers, pictures: Pictures) -> list[Quantity]:
    """Rank correlation of what a method says of its uncertainty with how many captions are true of a picture."""
    made = []
    for measure, title in _UNCERTAIN.items():
        scores = {}
        for method, own in probe.answers.items():
            said, truths = own.get(measure), own.get("i2t_truths")
            known = None if said is None or truths is None else _known(probe.about.levels, said, truths)
            if said is not None and known is not None:
                asked, uncertainty, number = known
                scores[method] = _correlation(uncertainty, number, pictures.numbers(said)[asked], len(pictures))
        if scores:
            made.append(
                Quantity(f"{key}/{measure}", f"rank correlation: {title}", "", scores, "shown", probe.about.name, digits=3,
                         low=-1.0, high=1.0, chance=0.0)
            )  # fmt: skip
    return made


def _known(levels: Sequence[str], said: Answers, truths: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Pictures of which the last level that can say so knows the true captions, and both numbers of them, (S, n).

    None where no level does, or either number is the same for all: the own captions alone are not all that are true.
    """
    number = np.searchsorted(truths.item, said.item)
    for level in reversed(range(len(levels))):
        if levels[level] == _OWN:
            continue
        first, second = said.values[:, level], truths.values[:, level][:, number]
        asked = np.asarray(~np.isnan(np.stack([first, second])).any(axis=(0, 1)))
        if _vary(first[:, asked]) and _vary(second[:, asked]):
            return asked, first[:, asked], second[:, asked]
    return None


def _vary(values: np.ndarray) -> bool:
    """Whether the values (S, n) of every seed differ, whichever picture is left out."""
    most = [np.unique(row, return_counts=True)[1].max(initial=0) for row in values]
    return values.shape[1] - max(most) > 1


def _correlation(said: np.ndarray, truths: np.ndarray, cluster: np.ndarray, size: int) -> Score:
    """Spearman's rank correlation of every seed; what a picture moves of it by leaving the picture out (jackknife)."""
    values, moved = [], np.zeros((len(said), size))
    for seed, (first, second) in enumerate(zip(said, truths, strict=True)):
        values.append(float(spearmanr(first, second).statistic))
        without = [float(spearmanr(np.delete(first, n), np.delete(second, n)).statistic) for n in range(len(first))]
        change = values[-1] - np.array(without)
        moved[seed, cluster] = (change - change.mean()) * (1 - 1 / len(change))
    support = np.bincount(cluster, minlength=size) > 0
    return Score(np.array(values), moved, support)


def _scores(probe: ProbeAnswers, pictures: Pictures, measure: str, level: int) -> dict[str, Score]:
    found = ((method, pictures.mean(own.get(measure), level)) for method, own in probe.answers.items())
    return by_method(probe, found)
