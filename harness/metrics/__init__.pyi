from .counting import RankCounts, caption_owners, count_positives, count_ranks
from .positives import PositiveCounts, Positives
from .retrieval import (
    metrics_from_positives,
    metrics_from_ties,
    ranks,
    relevance_metrics,
    retrieval_metrics,
)

__all__ = [
    "PositiveCounts",
    "Positives",
    "RankCounts",
    "caption_owners",
    "count_positives",
    "count_ranks",
    "metrics_from_positives",
    "metrics_from_ties",
    "ranks",
    "relevance_metrics",
    "retrieval_metrics",
]
