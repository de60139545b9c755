from .counting import (
    BestRanks,
    EveryPositive,
    PairScores,
    Question,
    RankCounts,
    Similarity,
    caption_owners,
    count,
    count_positives,
    count_ranks,
)
from .positives import PositiveCounts, Positives
from .retrieval import (
    metrics_from_positives,
    metrics_from_ties,
    ranks,
    relevance_metrics,
    retrieval_metrics,
)
from .sources import MatrixScores, ScoreSource, Tile, source_of
from .tops import TopItems, TopLists

__all__ = [
    "BestRanks",
    "EveryPositive",
    "MatrixScores",
    "PairScores",
    "PositiveCounts",
    "Positives",
    "Question",
    "RankCounts",
    "ScoreSource",
    "Similarity",
    "Tile",
    "TopItems",
    "TopLists",
    "caption_owners",
    "count",
    "count_positives",
    "count_ranks",
    "metrics_from_positives",
    "metrics_from_ties",
    "ranks",
    "relevance_metrics",
    "retrieval_metrics",
    "source_of",
]
