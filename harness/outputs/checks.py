"""What a reader must know of numbers from other code: ties that rounding made, and a direction that ranks at chance.

Shape letters: I images, T captions, N gallery items, P correct items of a query.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.metrics import Similarity
from harness.metrics.counting import count_ranks
from harness.outputs.base import Output
from harness.outputs.matrices import negated
from harness.protocols import SAME_NUMBERS, Protocol, Subject
from harness.records.ties import KS

#: A mean rank of at least this share of the mean rank by chance is called chance, one of this many times it worse.
_SHARE_OF_CHANCE, _WORSE_THAN_CHANCE = 0.8, 1.2
#: Cut lists have no mean rank: recalls within this many standard errors of chance are called chance.
_ERRORS_OF_CHANCE = 3.0
#: Where so many queries tie with wrong items, the ties are the cause.
_MOSTLY_TIES = 0.5
#: Fewer queries than this say nothing.
_ENOUGH = 10
#: Another order explains the scores where it brings the mean ranks of both directions below this share of chance.
_EXPLAINED = 0.5
_WORDS = {"i2t": "an image searches captions", "t2i": "a caption searches images"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AtChance:
    """A direction whose correct items lie no higher than a random order would put them.

    Args:
        direction: i2t or t2i.
        problem: what was found, as a sentence without its end.
        advice: what to check or say.
    """

    direction: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.advice}"


def report_rounding(output: Output, protocol: Protocol, subject: Subject) -> None:
    """One line on what the precision of the scores does to the recalls; nothing where it is full."""
    if not output.precision:
        return
    best, worst = (output.measure(protocol, subject, rule).metrics for rule in ("optimistic", "pessimistic"))
    _log.info(
        "the scores have %s: %.2f %% of the queries tie; rSum %.2f with tied items last (optimistic), %.2f with them first "
        "(pessimistic) on %s",
        output.precision,
        100 * worst["tie_rate"],
        best["rsum"],
        worst["rsum"],
        protocol.name,
    )


def at_chance(
    metrics: Mapping[str, Mapping[str, float]], subject: Subject, scores: Similarity | None = None
) -> list[AtChance]:
    """Each direction whose correct items lie where a random order would put them, or below, and what may be the cause.

    Args:
        metrics: by protocol; the first with the split's own gallery and positives counts.
        subject: what was scored.
        scores: (I, T), where they are known: other readings of them are tried.

    Returns:
        None, one or two directions; nothing where there are too few queries to tell.
    """
    found = next((values for name, values in metrics.items() if name in SAME_NUMBERS), None)
    if found is None:
        return []
    low = {way: line for way in _WORDS if (line := _low(way, found, subject))}
    if not low:
        return []
    tied = found.get("tie_rate", 0.0)
    if tied >= _MOSTLY_TIES:
        share = f"{100 * tied:.0f} % of the queries"
        cause = f"{share} tie with wrong items, which count as better; check for constant or rounded scores"
    else:
        cause = _other_reading(scores, subject) if scores is not None else ""
    both = len(low) == len([way for way in _WORDS if f"{way}_r1" in found])
    usual = (
        "check that row i is image i of the dataset's split, column j its caption j, and that higher scores are better"
    )
    if not both and not cause:
        other = next(way for way in _WORDS if way not in low)
        usual = f"{other} is not: the order of one side, or the captions of an image, are not the dataset's"
    return [AtChance(way, line, cause or usual) for way, line in low.items()]


def chance_ranks(caption_image: np.ndarray, images: int) -> dict[str, float]:
    """Mean rank of the best positive, counted from 1, in a random order: (N - P) / (P + 1) + 1, averaged over the queries.

    >>> chance_ranks(np.repeat(np.arange(20), 5), 20)
    {'i2t': 16.833333333333332, 't2i': 10.5}
    """
    own = np.bincount(np.asarray(caption_image), minlength=images)
    return {
        "i2t": float(np.mean((len(caption_image) - own) / (own + 1))) + 1,
        "t2i": (images - 1) / 2 + 1,
    }


def _low(direction: str, found: Mapping[str, float], subject: Subject) -> str:
    """What is wrong with a direction; "" = it is better than chance, or nothing can be said."""
    galleries = {"i2t": len(subject.caption_image), "t2i": subject.images}
    queries = {"i2t": subject.images, "t2i": len(subject.caption_image)}[direction]
    if queries < _ENOUGH:
        return ""
    chance, rank = chance_ranks(subject.caption_image, subject.images)[direction], found.get(f"{direction}_meanr")
    name = f"{direction} ({_WORDS[direction]})"
    if rank is None:
        return _low_recall(direction, name, found, subject, queries)
    if rank - 1 < _SHARE_OF_CHANCE * (chance - 1):
        return ""
    worse = rank - 1 > _WORSE_THAN_CHANCE * (chance - 1) and found.get("tie_rate", 0.0) < _MOSTLY_TIES
    return (
        f"{name} ranks {'worse' if worse else 'no better'} than chance: mean rank {rank:,.1f} of {galleries[direction]:,}, "
        f"by chance {chance:,.1f}"
    )


def _low_recall(direction: str, name: str, found: Mapping[str, float], subject: Subject, queries: int) -> str:
    """The same from the deepest recall that cut lists decide."""
    depth = max((k for k in KS if f"{direction}_r{k}" in found), default=None)
    if depth is None:
        return ""
    recall, chance = found[f"{direction}_r{depth}"] / 100, _chance_recall(direction, subject, depth)
    if recall > chance + _ERRORS_OF_CHANCE * np.sqrt(chance * (1 - chance) / queries):
        return ""
    return f"{name} ranks no better than chance: R@{depth} {100 * recall:.2f} %, by chance {100 * chance:.2f} %"


def _chance_recall(direction: str, subject: Subject, depth: int) -> float:
    """Share of the queries that a random order answers within the first K."""
    own = np.bincount(np.asarray(subject.caption_image), minlength=subject.images)
    size = len(subject.caption_image) if direction == "i2t" else subject.images
    positives = own if direction == "i2t" else np.ones(1, dtype=np.int64)
    missed = np.ones(len(positives))
    for place in range(min(depth, size)):
        missed *= np.clip((size - positives - place) / (size - place), 0, 1)
    return float(np.mean(1 - missed))


def _other_reading(scores: Similarity, subject: Subject) -> str:
    """What to do where another reading of the same scores ranks well; "" = none of those tried does."""
    owner = np.asarray(subject.caption_image)
    chance = chance_ranks(owner, subject.images)
    for reading, other, advice in _readings(scores, owner, subject.images):
        counts = count_ranks(reading, other)
        ranks = (counts.i2t.ranks("pessimistic"), counts.t2i.ranks("pessimistic"))
        if all(float(np.mean(rank)) < _EXPLAINED * (chance[way] - 1) for rank, way in zip(ranks, _WORDS, strict=True)):
            return advice
    return ""


def _readings(scores: Similarity, owner: np.ndarray, images: int) -> Iterator[tuple[Similarity, np.ndarray, str]]:
    """Other readings: scores, the image of each caption, and what to say if they rank well."""
    array = np.asarray(scores) if not hasattr(scores, "tiles") else None
    if array is not None:
        yield negated(array), owner, "lower scores are better here: these are distances, say so with --distances"
    if len(owner) % images == 0:
        blocks = "the columns hold every image's first caption, then every second one, and so on: order them as the split does"
        yield scores, np.arange(len(owner)) % images, blocks
    for shift in (1, -1):
        yield scores, (owner + shift) % images, "the rows are shifted by one image: order them as the split does"
