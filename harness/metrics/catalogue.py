"""Further metrics by name; an experiment asks for them with `evaluation.metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import DuplicateName
from harness.plugins import Source
from harness.settings.components import Catalogue

if TYPE_CHECKING:
    from harness.metrics.base import Metric

#: What protocols call their own metrics, of either direction.
TAKEN = ("r1", "r5", "r10", "medr", "meanr", "map_at_r", "r_precision", "r1_own_pair", "top1_outside_pair_correct")


class Metrics(Catalogue[type["Metric"]]):
    """Metrics by name. The names of those that protocols give are taken."""

    def require_free(self, name: str, source: Source) -> None:
        """As `Catalogue.require_free`; so are the names of the metrics that every protocol gives."""
        if name in TAKEN:
            raise DuplicateName(
                f"metric '{name}' is claimed twice: by module harness.metrics.retrieval and by {source}; rename one of them"
            )
        super().require_free(name, source)

    def load(self, name: str, source: Source) -> Any:
        """As `Catalogue.load`; an entry point takes no name of those either."""
        if source.kind != "module":
            self.require_free(name, source)
        return super().load(name, source)


METRICS = Metrics("metric", {"mrr": "harness.metrics.reciprocal:ReciprocalRank"})
