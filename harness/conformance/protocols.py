"""The rules of protocols, on a generated test set of which only the dataset's own pairs are correct.

Shape letters: I images, T captions, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from harness.conformance import expect
from harness.errors import InvalidProtocol
from harness.metrics.sources import MatrixScores
from harness.protocols.base import Evaluation, Protocol
from harness.protocols.base import Subject as TestSet
from harness.records.ranks import RankTable
from harness.records.ties import RECALLS, Ties

#: Images of the test set where the protocol does not say how many it takes, and captions of each image in turn.
IMAGES, CAPTIONS = 12, (2, 1, 3)
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Subject:
    """A protocol under examination, and a test set that it fits."""

    protocol: Protocol
    test: TestSet

    def evaluated(self, scores: np.ndarray, ties: Ties = "pessimistic") -> Evaluation:
        """The protocol's numbers of scores (I, T)."""
        return self.protocol.evaluate(scores, self.test, ties)

    @property
    def own(self) -> np.ndarray:
        """(I, T) bool, the dataset's own pairs."""
        return np.asarray(self.test.caption_image)[None] == np.arange(self.test.images)[:, None]

    def scores(self, seed: int = 0) -> np.ndarray:
        """(I, T) float32, all different."""
        shape = self.own.shape
        order = np.random.default_rng(seed).permutation(shape[0] * shape[1])
        return (order / order.size).astype(np.float32).reshape(shape)


def subject(protocol: Protocol) -> Subject:
    """A protocol with a generated test set of the size and title that it asks for.

    Raises:
        InvalidProtocol: it needs more, such as files of judgements.
    """
    images = protocol.count or IMAGES
    owner = np.repeat(np.arange(images), np.resize(CAPTIONS, images))
    test = TestSet(
        image_ids=[f"image-{row}" for row in range(images)],
        caption_ids=[f"caption-{column}" for column in range(len(owner))],
        caption_image=owner,
        relevance=owner[None] == np.arange(images)[:, None],
        title=protocol.title,
    )
    try:
        protocol.check(test)
    except InvalidProtocol as error:
        raise InvalidProtocol(
            f"protocol {protocol.name} cannot be checked on generated data, which it refuses: {error}"
        ) from None
    return Subject(protocol, test)


def described(subject: Subject) -> None:
    """What `itm ls protocols` shows is one line each, and says something."""
    for key in ("description", "queries", "gallery", "positives", "metric", "depth"):
        text = getattr(subject.protocol, key)
        one_line = isinstance(text, str) and bool(text.strip()) and "\n" not in text
        expect.that(one_line, f"expected {key} as one line of text, found {text!r:.60}")


def metrics(subject: Subject) -> None:
    """`evaluate` gives finite numbers by name, some of `headline` among them."""
    found = subject.evaluated(subject.scores())
    expect.that(isinstance(found, Evaluation), f"expected an Evaluation, found {type(found).__name__}")
    expect.that(bool(found.metrics), "expected metrics, found none")
    for key, value in found.metrics.items():
        is_number = isinstance(value, (int, float)) and bool(np.isfinite(value))
        expect.that(is_number, f"expected metric '{key}' as a finite number, found {value!r:.40}")
    headline = subject.protocol.headline
    shown = [key for key in headline if key in found.metrics]
    expect.that(
        bool(shown), f"expected one of the headline {headline} among the metrics, found {sorted(found.metrics)[:6]}"
    )


def queries(subject: Subject) -> None:
    """The rank table holds queries of both directions, items of the test set alone, and ranks that a gallery can give."""
    table = subject.evaluated(subject.scores()).ranks
    expect.that(isinstance(table, RankTable), f"expected a RankTable, found {type(table).__name__}")
    known = {"image": set(subject.test.image_ids), "caption": set(subject.test.caption_ids)}
    for way, asks, answers in (("i2t", "image", "caption"), ("t2i", "caption", "image")):
        rank = getattr(table, f"{way}_rank")
        expect.that(len(rank) > 0, f"expected queries of {way}, found none")
        sizes = {len(getattr(table, field.name)) for field in fields(table) if field.name.startswith(way)}
        expect.that(sizes == {len(rank)}, f"expected columns of {way} of one length, found lengths {sorted(sizes)}")
        for what in (asks, answers):
            strange = set(getattr(table, f"{way}_{what}_id").tolist()) - known[what]
            expect.that(not strange, f"expected {what} ids of the test set, found {len(strange)} others in {way}")
        pairs = list(
            zip(getattr(table, f"{way}_fold").tolist(), getattr(table, f"{way}_{asks}_id").tolist(), strict=True)
        )
        expect.that(len(set(pairs)) == len(pairs), f"expected each query of {way} once in its fold, found repeats")
        inside = bool(((rank >= 0) & (rank < len(known[answers]))).all())
        expect.that(inside, f"expected ranks from 0 to {len(known[answers]) - 1}, found {rank.min()} to {rank.max()}")


def naive_ranks(subject: Subject) -> None:
    """No rank is larger than the number of items that score higher than the query's best correct one."""
    scores = subject.scores()
    table = subject.evaluated(scores).ranks
    row = {name: number for number, name in enumerate(subject.test.image_ids)}
    column = {name: number for number, name in enumerate(subject.test.caption_ids)}
    for way, matrix in (("i2t", scores), ("t2i", scores.T)):
        images, captions = (getattr(table, f"{way}_{what}_id").tolist() for what in ("image", "caption"))
        places = [(row[image], column[caption]) for image, caption in zip(images, captions, strict=True)]
        for rank, place in zip(getattr(table, f"{way}_rank").tolist(), places, strict=True):
            query, item = place if way == "i2t" else place[::-1]
            higher = int((matrix[query] > matrix[query, item]).sum())
            expect.that(rank <= higher, f"expected a rank of at most {higher} in {way}, found {rank}")


def perfect(subject: Subject) -> None:
    """Scores that put every own pair first give rank 0 to every query, and recalls of 100 where they are given."""
    found = subject.evaluated(subject.own.astype(np.float32))
    for way in ("i2t", "t2i"):
        worst = getattr(found.ranks, f"{way}_rank").max()
        expect.that(worst == 0, f"expected rank 0 of every query of {way} under perfect scores, found {worst}")
    for key in set(RECALLS) & found.metrics.keys():
        expect.that(
            found.metrics[key] == 100, f"expected {key} = 100 under perfect scores, found {found.metrics[key]:g}"
        )


def worst(subject: Subject) -> None:
    """Scores that put every own pair last give no query rank 0."""
    found = subject.evaluated(-subject.own.astype(np.float32))
    for way in ("i2t", "t2i"):
        best = getattr(found.ranks, f"{way}_rank").min()
        expect.that(best > 0, f"expected no query of {way} at rank 0 where its pair scores least, found one")


def ties(subject: Subject) -> None:
    """Constant scores earn no hit under the pessimistic rule, and no rule turns the order of the rules round."""
    constant = np.zeros(subject.own.shape, np.float32)
    found = {rule: subject.evaluated(constant, rule).metrics for rule in get_args(Ties)}
    for key in set(RECALLS) & found["pessimistic"].keys():
        low, mean, high = (found[rule][key] for rule in ("pessimistic", "expected", "optimistic"))
        ordered = low <= mean + _TOLERANCE and mean <= high + _TOLERANCE
        expect.that(
            ordered, f"expected {key} to rise from pessimistic to optimistic, found {low:g}, {mean:g}, {high:g}"
        )
    for key in {"i2t_r1", "t2i_r1"} & found["pessimistic"].keys():
        low = found["pessimistic"][key]
        expect.that(low == 0, f"expected {key} = 0 of constant scores under the pessimistic rule, found {low:g}")


def order_only(subject: Subject) -> None:
    """A strictly rising function of the scores changes no number."""
    scores = subject.scores()
    _same(
        subject.evaluated(np.exp(scores.astype(np.float64))), subject.evaluated(scores), "the exponential of the scores"
    )


def deterministic(subject: Subject) -> None:
    """A second evaluation gives the same numbers."""
    scores = subject.scores()
    _same(subject.evaluated(scores), subject.evaluated(scores), "a second evaluation")


def sources(subject: Subject) -> None:
    """Scores that come tile by tile give the numbers of the matrix."""
    scores = subject.scores()
    _same(subject.protocol.evaluate(MatrixScores(scores), subject.test), subject.evaluated(scores), "a source of tiles")


def inputs_kept(subject: Subject) -> None:
    """Evaluating changes neither the scores nor the test set."""
    scores = subject.scores()
    test = subject.test
    arrays = scores, np.asarray(test.caption_image), np.asarray(test.relevance)
    before = [array.copy() for array in arrays]
    subject.evaluated(scores)
    same = all(np.array_equal(now, then) for now, then in zip(arrays, before, strict=True))
    expect.that(same, "expected scores and test set as they were, found changed ones")


def _same(got: Evaluation, expected: Evaluation, what: str) -> None:
    keys = sorted(expected.metrics)
    expect.that(sorted(got.metrics) == keys, f"{what}: expected metrics {keys[:6]}, found {sorted(got.metrics)[:6]}")
    for key in keys:
        now, then = got.metrics[key], expected.metrics[key]
        same = abs(now - then) <= _TOLERANCE * max(1.0, abs(then))
        expect.that(same, f"{what}: expected {key} = {then:g}, found {now:g}")


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule
    for rule in (
        described,
        metrics,
        queries,
        naive_ranks,
        perfect,
        worst,
        ties,
        order_only,
        deterministic,
        sources,
        inputs_kept,
    )
}
