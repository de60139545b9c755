"""The base of protocols: each states the queries, gallery and positives of a number, and refuses data that do not fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InvalidProtocol
from harness.records.ranks import RankTable
from harness.records.ties import RECALLS, TiedRanks, Ties

if TYPE_CHECKING:
    from harness.metrics import Question, Similarity

#: Titles whose meaning is known: a protocol of one of them refuses the others. Any other title may be a user's copy.
_TITLES = frozenset(("flickr8k", "flickr30k", "mscoco", "scenes"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """What a protocol may look at: a split without its images.

    Args:
        image_ids: I ids.
        caption_ids: T ids.
        caption_image: (T,) int64, the image row of each caption.
        relevance: (I, T) bool, the exact many-to-many relevance, or None where it is not known.
        title: the dataset's name in tables (flickr30k, mscoco, scenes); "" = not known.
        root: the dataset's folder, where judgement files are looked for; None = it has none.
    """

    image_ids: Sequence[str]
    caption_ids: Sequence[str]
    caption_image: np.ndarray
    relevance: np.ndarray | None = None
    title: str = ""
    root: Path | None = None

    @property
    def images(self) -> int:
        """I."""
        return len(self.image_ids)

    def rank_table(
        self, images: np.ndarray, captions: np.ndarray, i2t: TiedRanks, t2i: TiedRanks, best: np.ndarray, ties: Ties
    ) -> RankTable:
        """The ranks of some queries, all of fold 0.

        Args:
            images, captions: rows and columns of the queries.
            i2t, t2i: where their best positives lie.
            best: the column of each image's best positive.
            ties: the tie rule.
        """
        image_ids, caption_ids = np.asarray(self.image_ids), np.asarray(self.caption_ids)
        return RankTable(
            i2t_rank=i2t.ranks(ties),
            i2t_ties=i2t.wrong,
            i2t_image_id=image_ids[images],
            i2t_caption_id=caption_ids[best],
            t2i_rank=t2i.ranks(ties),
            t2i_ties=t2i.wrong,
            t2i_caption_id=caption_ids[captions],
            t2i_image_id=image_ids[np.asarray(self.caption_image)[captions]],
            i2t_fold=np.zeros(len(images), dtype=np.int64),
            t2i_fold=np.zeros(len(captions), dtype=np.int64),
            i2t_best_tied=i2t.correct,
            t2i_best_tied=t2i.correct,
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of one protocol.

    Args:
        metrics: means over the queries (and folds).
        ranks: per query.
        info: what the numbers rest on beside the scores: counts of queries and positives, hashes of judgement files.
    """

    metrics: dict[str, float]
    ranks: RankTable
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a protocol has to know of the scores of a subject, and what it makes of it.

    All questions of several protocols are answered in one pass over the scores, so no protocol needs the whole matrix.

    Args:
        questions: see `harness.metrics.count`.
        evaluation: the result, from the answers in the order of the questions, under a tie rule.
    """

    questions: tuple[Question, ...]
    evaluation: Callable[[Sequence[Any], Ties], Evaluation]


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """A rule that makes numbers of the scores of all pairs. The texts are what `itm ls protocols` shows.

    Args:
        name: as written in an experiment.
        description: one line.
        queries, gallery, positives: who asks, what is ranked, and what counts as correct.
        metric: what is averaged.
        depth: the deepest place of a ranking that the metrics look at.
        count: required number of images, or None for any.
        title: the dataset that it is defined on, or "" for any.
        headline: the metric keys to show where there is room for few.
    """

    name: str
    description: str
    queries: str = "every image, every caption"
    gallery: str = "all captions, all images"
    positives: str = "the dataset's own pairs"
    metric: str = "R@1, 5, 10"
    depth: str = "10"
    count: int | None = None
    title: str = ""
    headline: tuple[str, ...] = ("rsum",)

    def check(self, subject: Subject) -> None:
        """Refuse a test set that the protocol does not fit, before anything is scored.

        Raises:
            InvalidProtocol: saying what came, what is needed, and what to do.
        """
        if self.count is not None and subject.images != self.count:
            raise InvalidProtocol(
                f"protocol {self.name} is defined on {self.count:,} test images, this dataset has {subject.images:,}; "
                "use 'full'"
            )
        known = subject.title.partition("-")[0]  # scenes-high is scenes
        if self.title and known in _TITLES and known != self.title:
            raise InvalidProtocol(
                f"protocol {self.name} is defined on {self.title}, not on {subject.title}; use 'full'"
            )
        self.require(subject)

    def at(self, threshold: str) -> Protocol:
        """The protocol with another threshold of relevance, as in `human@3.5`.

        Raises:
            InvalidProtocol: it has none, or no grade can reach it.
        """
        raise InvalidProtocol(
            f"protocol '{self.name}@{threshold}': only human takes a threshold, above 1 and at most 4, as in human@3.5"
        )

    def require(self, subject: Subject) -> None:  # noqa: B027
        """Refuse, with `InvalidProtocol`, a test set that lacks what this protocol needs; nothing by default."""

    def files(self, subject: Subject) -> dict[str, str]:
        """SHA-256, by name, of further files that decide the numbers, such as judgements. Errors as `require`."""
        return {}

    def report(self, subject: Subject) -> str:
        """What a user should know of how the protocol's files fit a test set, as one line; "" = nothing."""
        return ""

    def evaluate(self, similarity: Similarity, subject: Subject, ties: Ties = "pessimistic") -> Evaluation:
        """The numbers of scores; of several protocols at once see `harness.protocols.evaluate_all`.

        Args:
            similarity: (I, T); a matrix, or a source that gives it tile by tile.
            subject: what was scored.
            ties: see `harness.metrics.RankCounts.ranks`.

        Raises:
            InvalidProtocol: the protocol does not fit the subject.
            InvalidSimilarity: the scores do not.
        """
        from harness.metrics import count, source_of  # here, not above: the list of protocols needs no torch

        source = source_of(similarity)
        self.check(subject)
        asked = self.ask(subject)
        return asked.evaluation(count(source, asked.questions), ties)

    @abstractmethod
    def ask(self, subject: Subject) -> Asked:
        """What has to be counted for a subject that has been checked."""

    def summary(self, metrics: dict[str, float]) -> str:
        """Those of the headline metrics that are there, on one line; records outlive versions."""
        names = {"rsum": "rSum"}
        shown = [key for key in self.headline if key in metrics] or [key for key in RECALLS if key in metrics]
        return ", ".join(f"{names.get(key, key)} {metrics[key]:.1f}" for key in shown)
