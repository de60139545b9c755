"""What all results of other code have in common: a description, and numbers per protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import InvalidSimilarity
from harness.metrics import Similarity
from harness.protocols import Protocol, Subject
from harness.records.ranks import RankTable
from harness.records.ties import Ties

#: How embeddings are compared.
Measure = Literal["cosine", "dot"]


@dataclass(frozen=True)
class Measured:
    """The numbers of one protocol under one tie rule; a metric that the files do not decide is absent.

    Args:
        metrics: as `harness.metrics.retrieval_metrics`.
        info: what they rest on, see `harness.protocols.Evaluation`.
        ranks: per query, for tests and intervals; None where the files hold one direction alone.
        depths: by direction the K up to which hits at K are known, where that is not every K: a rank from there on is not
            known, and stands at the end of the gallery.
    """

    metrics: dict[str, float]
    info: dict[str, Any]
    ranks: RankTable | None
    depths: dict[str, int] = field(default_factory=dict)


class Output(ABC):
    """Results of other code on one split, read and checked.

    Attributes:
        title: what the files hold, in words, with the article.
        precision: why scores may tie that were different when they were computed ("5 decimals"); "" = no reason.
        scores: (I, T) of all pairs, where the files decide them.
        knows_best_captions: whether ranks name the best caption of each image.
    """

    title: str
    precision: str = ""
    scores: Similarity | None = None
    knows_best_captions: bool = True

    def refusal(self, protocol: Protocol) -> str:
        """Why these results have no number under a protocol that fits the split; "" = they have."""
        return ""

    def look(self, protocols: Sequence[Protocol], subject: Subject) -> None:  # noqa: B027
        """Told of the protocols that will be measured and fit the subject, before the first is; nothing by default."""

    def negated(self) -> Output:
        """The same, where lower scores are better.

        Raises:
            InvalidSimilarity: these are no scores of other code.
        """
        raise InvalidSimilarity(f"{self.title} are no score matrix, so --distances has no meaning; leave it out")

    @abstractmethod
    def measure(self, protocol: Protocol, subject: Subject, ties: Ties) -> Measured:
        """The numbers of a protocol.

        Raises:
            InvalidProtocol: the protocol does not fit the subject, or `refusal` has a reason.
            InvalidSimilarity: scores that cannot be ranked.
        """
