"""Exact many-to-many relevance, where a dataset knows it: how much of what the pairs call wrong is really wrong?"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import InvalidProtocol
from harness.metrics.positives import Positives
from harness.protocols.base import Subject
from harness.protocols.judged import Judged, JudgedProtocol


@dataclass(frozen=True, kw_only=True)
class ExactRelevance(JudgedProtocol):
    """Against `Split.relevance`: every caption that is true of an image is correct for it."""

    pairs_hold: bool = True

    def require(self, subject: Subject) -> None:
        """Refuse a dataset whose relevance is not known."""
        if subject.relevance is None:
            raise InvalidProtocol(
                f"protocol {self.name} needs a dataset that states which captions are true of which images (scenes "
                f"does); '{subject.title or 'this dataset'}' states its own pairs only; use 'full'"
            )

    def judged(self, subject: Subject) -> Judged:
        """Both directions of the stated relevance."""
        self.require(subject)
        assert subject.relevance is not None
        return Judged(
            Positives.from_relevance(subject.relevance, "i2t"), Positives.from_relevance(subject.relevance, "t2i")
        )


SCENES_RELEVANCE = ExactRelevance(
    name="scenes_relevance",
    description="exact relevance of generated data: how often is a wrong first item in fact right?",
    positives="every true pair (Split.relevance)",
    headline=("rsum", "i2t_map_at_r", "t2i_map_at_r"),
)
