"""Many-to-many truth: what is called an error and is none, how many of all correct items come first, and what margins tell.

A level is a definition of what is correct: the first is `own`, the dataset's own pairs; each further one is a protocol that
knows more of them (`scenes_relevance`, `cxc`, `eccv_caption`, `human`, `human_crowd`). Measures of both directions, `i2t_`
of image queries and `t2i_` of caption queries, where of tied items the wrong one comes first. A query that the protocol does
not ask is NaN at its level.

    i2t_error       hit    the first item is not the query's own
    i2t_unlabelled  hit    of errors alone: the first item is correct all the same; NaN where nobody judged it
    i2t_unlabelled_random   share   of errors alone: the same of an item drawn from all that are not the query's own
    i2t_judged      hit    of errors alone: somebody judged the first item (sparse judgements alone)
    i2t_correct     hit    the first item is correct
    i2t_margin      value  score of the first item minus that of the second, never below 0
    i2t_truths      value  R, the number of the query's correct items in the gallery
    i2t_coverage_1, _5, _10   share   of the R correct items among the first K; at most K / R
    i2t_coverage_r  share  the same for K = R: R-Precision
    uncertainty     value  per image: standard deviation of its regions, if the scorer has uncertain regions
    uncertainty_relative  value   length of their noise in units of the region's own length

The mean of `i2t_unlabelled` is the share of errors that are unlabelled truth. Where a protocol counts pairs that nobody
judged as wrong (cxc, eccv_caption), it is the least that this share can be. Where most pairs were never judged (human,
human_crowd), it is a mean over the errors that were judged, and `i2t_judged` says how many those are; whether all first
items are correct, and how many correct items there are, cannot be said, so these levels have no other measure of truth.

Margins of two methods are on two scales: only their order within a method means anything. In i2t, captions that read the same
are one item of the gallery: they tie whatever the method, and no user could tell them apart.

Shape letters: I images, T captions, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.exhibits.knowledge import SOURCES
from harness.metrics import EveryPositive, PositiveCounts, Positives, Question, count
from harness.metrics.positives import Direction
from harness.probes.base import Answers, Level, Probe
from harness.probes.model import Model
from harness.probes.sampling import sample
from harness.protocols.judged import Judged, JudgedProtocol, own_pairs
from harness.records.outcomes import Measure, Unit
from harness.robustness.uncertainty import uncertainties
from harness.runs.subjects import subject_of

VERSION = 1
#: The level of the dataset's own pairs.
OWN = "own"
#: K of the coverage, beside R.
DEPTHS = (1, 5, 10)
#: Pictures of the largest split that is asked whole: the 5,000 on which COCO's judgements are defined.
LARGEST_WHOLE = 5000

_UNITS: dict[str, Unit] = {
    "error": "hit",
    "unlabelled": "hit",
    "unlabelled_random": "share",
    "judged": "hit",
    "correct": "hit",
    "margin": "value",
    "truths": "value",
    **{f"coverage_{k}": "share" for k in (*DEPTHS, "r")},
}
#: What a reader of a level must know.
_REMARKS = {
    "cxc": "cxc counts pairs that nobody judged as wrong: its share of unlabelled truth is a lower bound",
    "eccv_caption": "eccv_caption counts pairs that nobody judged as wrong: its share of unlabelled truth is a lower bound",
    "human": "human knows the pairs that experts graded: its share of unlabelled truth is that of judged errors",
    "human_crowd": "human_crowd knows the pairs that the crowd judged: its share of unlabelled truth is that of judged errors",
}


@dataclass(frozen=True, eq=False)
class Truth:
    """One definition of what is correct.

    Args:
        name: of the level.
        judged: the correct items of the queries that are asked.
        settled: the items of which it is known whether they are correct; None = all others are wrong.
    """

    name: str
    judged: Judged
    settled: Judged | None = None

    def questions(self) -> list[Question]:
        """What has to be counted: two questions, four where only some pairs are settled."""
        known = [self.judged] if self.settled is None else [self.judged, self.settled]
        return [
            question for one in known for question in (EveryPositive(one.i2t, "i2t"), EveryPositive(one.t2i, "t2i"))
        ]


class TruthProbe(Probe):
    """How a split's queries are answered under every definition of what is correct; see the module for the measures.

    Args:
        dataset: of the split.
        split: what is asked.
        names: protocols that know correct pairs beyond the dataset's own, and fit the split.
    """

    family, name, title = "truth", "pairs", "what is correct"
    axis = ""

    def __init__(self, dataset: Dataset, split: Split, names: Sequence[str]):
        self._split, self._names = split, tuple(names)
        self._subject = subject_of(split, dataset)
        self.levels = [Level(name, float(number)) for number, name in enumerate((OWN, *names))]
        self._identity = {
            "data_sha256": dataset.sha256,
            "split": split.name,
            "images": len(split.image_ids),
            "captions": len(split.captions),
            "levels": [OWN, *names],
            "files": {name: protocols.get(name).files(self._subject) for name in names},
            "version": VERSION,
        }
        self._truths: tuple[Truth, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        return self._identity

    def forget(self) -> None:
        self._truths = ()

    def answers(self, model: Model) -> Answers:
        """See the module for the measures.

        Raises:
            InvalidProtocol: files of judgements are gone.
            InvalidSimilarity: scores that are not finite.
        """
        self._truths = self._truths or self._made()
        split, similarity = self._split, model.similarity(self._split)
        found = answered(similarity, self._truths, distinct(split.captions))
        images, captions = np.asarray(split.image_ids), np.asarray(split.caption_ids)
        items = {"i2t": (images, images), "t2i": (captions, images[split.caption_image])}
        measures = [
            Measure(f"{direction}_{name}", _UNITS[name], *items[direction], values)
            for (direction, name), values in found.items()
        ]
        for name, values in uncertainties(model, split).items():
            measures.append(Measure(name, "value", images, images, np.tile(values, (len(self.levels), 1))))
        remarks = tuple(_REMARKS[name] for name in self._names if name in _REMARKS)
        return Answers(tuple(measures), {"images": len(images), "captions": len(captions)}, remarks=remarks)

    def _made(self) -> tuple[Truth, ...]:
        images, captions = own_pairs(self._subject)
        own = Judged(Positives.from_pairs(images, captions), Positives.from_pairs(captions, images))
        found = [Truth(OWN, own)]
        for name in self._names:
            protocol = protocols.get(name)
            assert isinstance(protocol, JudgedProtocol)
            found.append(Truth(name, protocol.judged(self._subject), protocol.settled(self._subject)))
        return tuple(found)


def truth_probes(dataset: Dataset, split_name: str, count: int) -> Sequence[Probe]:
    """The probe of what is correct.

    A split of which more is known than its own pairs is asked whole, up to `LARGEST_WHOLE` pictures: what is correct depends
    on the gallery. Of any other, `count` pictures are asked.

    Args:
        dataset, split_name: what is asked.
        count: pictures of a sample.
    """
    whole = dataset.split(split_name)
    drawn = sample(whole, count, dataset.sha256)
    split = whole if len(whole.image_ids) <= LARGEST_WHOLE else drawn
    subject = subject_of(split, dataset)
    names = [name for name in SOURCES if protocols.fits(name, subject)]
    return [TruthProbe(dataset, split if names else drawn, names)]


def answered(
    similarity: Tensor, truths: Sequence[Truth], distinct_captions: np.ndarray
) -> dict[tuple[Direction, str], np.ndarray]:
    """The measures of both directions, (L, Q) each, by direction and name.

    Args:
        similarity: (I, T).
        truths: L definitions, the first that of the own pairs.
        distinct_captions: columns of captions that read differently, see `distinct`.
    """
    asked = [truth.questions() for truth in truths]
    answers = iter(count(similarity, [question for questions in asked for question in questions]))
    counts: list[list[PositiveCounts]] = [[next(answers) for _ in questions] for questions in asked]
    gaps = {"i2t": margins(similarity[:, torch.from_numpy(distinct_captions)]), "t2i": margins(similarity.T)}
    found: dict[tuple[Direction, str], np.ndarray] = {}
    sides: tuple[tuple[Direction, int, int], ...] = (("i2t", 0, similarity.shape[1]), ("t2i", 1, len(similarity)))
    for direction, side, gallery in sides:
        own = Own(getattr(truths[0].judged, direction), counts[0][side].first.hits(1), gallery)
        rows = [
            _level(truth, direction, own, level[side::2]) | {"margin": gaps[direction]}
            for truth, level in zip(truths, counts, strict=True)
        ]
        asks = np.stack([~np.isnan(row["error"]) for row in rows])
        for name in (name for name in _UNITS if any(name in row for row in rows)):
            none = np.full(len(own.hits), np.nan)
            found[direction, name] = np.where(asks, np.stack([row.get(name, none) for row in rows]), np.nan)
    return found


@dataclass(frozen=True, eq=False)
class Own:
    """The own items of all Q queries of a direction.

    Args:
        positives: which they are.
        hits: (Q,) 1 where the first item is one of them, else 0.
        gallery: items that are ranked.
    """

    positives: Positives
    hits: np.ndarray
    gallery: int

    def chance(self, correct: Positives) -> np.ndarray:
        """(n,) of the queries of `correct`: the share of correct items among those that are not own."""
        owned, true = ((one.queries.repeat(one.sizes), one.items) for one in (self.positives, correct))
        both = np.isin(true[0] * self.gallery + true[1], owned[0] * self.gallery + owned[1])
        further = np.bincount(true[0][~both], minlength=len(self.hits))[correct.queries]
        others = (self.gallery - self.positives.sizes)[correct.queries]
        return further / np.maximum(others, 1)


def _level(truth: Truth, direction: Direction, own: Own, counts: Sequence[PositiveCounts]) -> dict[str, np.ndarray]:
    """The measures of a level and a direction but for its margins, (Q,) each; NaN where the query is not asked.

    Args:
        counts: of the correct items and, where only some are settled, of those.
    """
    positives: Positives = getattr(truth.judged, direction)

    def of_all(values: np.ndarray, of: Positives = positives) -> np.ndarray:
        every = np.full(len(own.hits), np.nan)
        every[of.queries] = values
        return every

    correct = of_all(counts[0].first.hits(1))
    error = np.where(np.isnan(correct), np.nan, 1.0 - own.hits)
    if truth.name == OWN:
        return {"error": error, "correct": correct, **_coverage(counts[0], positives, of_all)}
    if truth.settled is not None:
        judged = of_all(counts[1].first.hits(1), getattr(truth.settled, direction))
        known = np.where(error == 1, judged, np.nan)
        return {"error": error, "unlabelled": np.where(known == 1, correct, np.nan), "judged": known}
    return {
        "error": error,
        "unlabelled": np.where(error == 1, correct, np.nan),
        "unlabelled_random": np.where(error == 1, of_all(own.chance(positives)), np.nan),
        "correct": correct,
        **_coverage(counts[0], positives, of_all),
    }


def _coverage(
    counts: PositiveCounts, positives: Positives, of_all: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    shares = {f"coverage_{k}": of_all(counts.coverage(k)) for k in DEPTHS}
    return {"truths": of_all(positives.sizes), **shares, "coverage_r": of_all(counts.r_precision())}


def margins(scores: Tensor) -> np.ndarray:
    """(Q,) float64: the highest score of each query minus its second highest; NaN in a gallery of one.

    >>> margins(torch.tensor([[0.5, 0.25, 0.75], [1.0, 1.0, 0.0]])).tolist()
    [0.25, 0.0]

    Args:
        scores: (Q, N) of each query with the items of a gallery.
    """
    if scores.shape[1] < 2:
        return np.full(len(scores), np.nan)
    first, second = scores.topk(2, dim=1).values.double().unbind(1)
    return np.asarray((first - second).numpy())


def distinct(captions: Sequence[str]) -> np.ndarray:
    """(n,) int64 columns of the captions that read differently: the first of those that are equal.

    >>> distinct(("a dog", "a cat", "a dog")).tolist()
    [0, 1]
    """
    first: dict[str, int] = {}
    for column, caption in enumerate(captions):
        first.setdefault(caption, column)
    return np.fromiter(first.values(), dtype=np.int64)
