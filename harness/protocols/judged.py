"""Protocols on many-to-many relevance: judgements by people, by rules, or known exactly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.metrics.counting import EveryPositive
from harness.metrics.positives import Direction, PositiveCounts, Positives
from harness.metrics.retrieval import metrics_from_positives
from harness.protocols.base import Asked, Evaluation, Protocol, Subject
from harness.records.ties import Ties

TRUE_TOP1 = "top1_outside_pair_correct"


@dataclass(frozen=True, eq=False)
class Judged:
    """The relevance of both directions, and what it was made of.

    Args:
        i2t: image queries with their correct captions.
        t2i: caption queries with their correct images.
        info: for the record: hashes of files, how ids were matched.
    """

    i2t: Positives
    t2i: Positives
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JudgedProtocol(Protocol):
    """Metrics against relevance sets; a subclass says where they come from.

    Args:
        pairs_hold: whether the dataset's own pairs are among the positives, so that a top item outside of the pair which
            is correct can be counted.
    """

    metric: str = "mAP@R, R-Precision, R@1, 5, 10"
    depth: str = "R, the query's number of positives; 10"
    headline: tuple[str, ...] = ("i2t_map_at_r", "t2i_map_at_r", "i2t_r1", "t2i_r1")
    pairs_hold: bool = False

    @abstractmethod
    def judged(self, subject: Subject) -> Judged:
        """The relevance of a subject.

        Raises:
            InvalidProtocol: what it needs is missing.
        """

    def settled(self, subject: Subject) -> Judged | None:
        """The pairs of which it is known whether they are correct; None = a pair that is not among `judged` is wrong."""
        return None

    def require(self, subject: Subject) -> None:
        """Refuse a subject without relevance."""
        self.judged(subject)

    def ask(self, subject: Subject) -> Asked:
        """Metrics as `harness.metrics.relevance_metrics`; ranks are those of the best positive."""
        judged = self.judged(subject)
        questions = [EveryPositive(judged.i2t, "i2t"), EveryPositive(judged.t2i, "t2i")]
        if self.pairs_hold:
            questions += _own(subject, judged)
        return Asked(tuple(questions), lambda answers, ties: self._evaluation(answers, subject, judged, ties))

    def _evaluation(
        self, answers: Sequence[PositiveCounts], subject: Subject, judged: Judged, ties: Ties
    ) -> Evaluation:
        i2t, t2i = answers[:2]
        metrics = metrics_from_positives(i2t, t2i, ties)
        if self.pairs_hold:
            metrics |= _true_top1(answers[:2], answers[2:], ties)
        info = {
            "queries": {"i2t": len(judged.i2t.queries), "t2i": len(judged.t2i.queries)},
            "positives": {"i2t": len(judged.i2t.items), "t2i": len(judged.t2i.items)},
            **judged.info,
        }
        queries = judged.i2t.queries, judged.t2i.queries
        return Evaluation(metrics, subject.rank_table(*queries, i2t.first, t2i.first, i2t.best, ties), info)


def own_pairs(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """(T,) image rows and (T,) caption columns of the dataset's own pairs."""
    owner = np.asarray(subject.caption_image, dtype=np.int64)
    return owner, np.arange(len(owner))


def of_queries(positives: Positives, queries: np.ndarray) -> Positives:
    """The relevance of some of the queries only."""
    asked = np.repeat(positives.queries, positives.sizes)
    chosen = np.isin(asked, queries)
    return Positives.from_pairs(asked[chosen], positives.items[chosen])


def _own(subject: Subject, judged: Judged) -> list[EveryPositive]:
    """The own pairs of the queries of both directions."""
    images, captions = own_pairs(subject)
    directions: tuple[tuple[Direction, Positives, Positives], ...] = (
        ("i2t", judged.i2t, Positives.from_pairs(images, captions)),
        ("t2i", judged.t2i, Positives.from_pairs(captions, images)),
    )
    return [EveryPositive(of_queries(pairs, asked.queries), direction) for direction, asked, pairs in directions]


def _true_top1(counts: Sequence[PositiveCounts], own: Sequence[PositiveCounts], ties: Ties) -> dict[str, float]:
    """Percentage of the queries whose first item is not of the own pair where it is correct all the same.

    A direction without such a query has no number.
    """
    metrics = {}
    for direction, judged, pair in zip(("i2t", "t2i"), counts, own, strict=True):
        # The own pair is correct, so the first item is correct at least as often as it is of the pair.
        of_pair, correct = pair.first.hits(1, ties), judged.first.hits(1, ties)
        metrics[f"{direction}_r1_own_pair"] = 100.0 * float(np.mean(of_pair))
        missed = float(np.sum(1 - of_pair))
        if missed > 0:
            metrics[f"{direction}_{TRUE_TOP1}"] = 100.0 * float(np.sum(correct - of_pair)) / missed
    return metrics
