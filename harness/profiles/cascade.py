"""Cascades: a scorer with one vector per item shortlists k items, a fine-grained scorer re-ranks them.

A cascade is no `Scorer`: what it says of a pair depends on the rest of the gallery, which the contract forbids, and the
two directions have different shortlists. It answers queries, by two scorers that were trained apart.

Shape letters: Q queries, G gallery items, k shortlisted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity, InvalidSpec
from harness.files.extras import missing
from harness.fragments import Fragments
from harness.profiles.galleries import GALLERIES, Direction
from harness.scorer import Scorer
from harness.scoring import Index

#: (query, k) -> (k,) int64 rows of the coarse gallery, best first.
Shortlist = Callable[[Fragments, int], Tensor]


@dataclass(frozen=True, eq=False)
class ExactShortlist:
    """Compares a query with the whole coarse gallery of G items."""

    gallery: Index

    def __call__(self, query: Fragments, k: int) -> Tensor:
        return self.gallery.top(query, k).items[0]


class ApproximateShortlist:
    """An HNSW graph of faiss over the coarse vectors: faster on large galleries, and may miss items.

    Args:
        scorer: the coarse one, whose score must be the dot product of its two vectors.
        gallery: G items of one fragment each.
        direction: which side the gallery is.
        sample: some queries, on which the product is checked.
        neighbours: edges per node of the graph.

    Raises:
        MissingPackage: faiss is not installed.
        InvalidFragments: an item has several fragments.
        InvalidSimilarity: the score is not a dot product.
    """

    def __init__(
        self, scorer: Scorer, gallery: Fragments, direction: Direction, sample: Fragments, neighbours: int = 32
    ):
        try:
            import faiss
        except ImportError:
            raise missing("faiss", "an approximate shortlist") from None
        vectors, queries = _vectors(gallery), _vectors(sample)
        expected = Index.build(scorer, gallery[:256], gallery=GALLERIES[direction]).query(sample[:1])[0]
        if not torch.allclose((vectors[:256] @ queries[0]).cpu(), expected.cpu(), atol=1e-3):
            raise InvalidSimilarity(
                f"{type(scorer).__name__} does not score by the dot product of its vectors, which an approximate "
                "shortlist needs; leave out --ann"
            )
        self._index: Any = faiss.IndexHNSWFlat(vectors.shape[1], neighbours, faiss.METRIC_INNER_PRODUCT)
        self._index.add(vectors.cpu().numpy())

    def __call__(self, query: Fragments, k: int) -> Tensor:
        k = min(k, self._index.ntotal)
        self._index.hnsw.efSearch = max(2 * k, 64)
        rows = torch.from_numpy(self._index.search(_vectors(query).cpu().numpy(), k)[1][0])
        return rows[rows >= 0]  # the graph may reach fewer than k


@dataclass(frozen=True, eq=False)
class Cascade:
    """`cascade(coarse, fine, k)` over one gallery, in one direction.

    Raises:
        InvalidSpec: k is not positive.
    """

    shortlist: Shortlist  #: over the coarse gallery (CLIP, VSE++, ...)
    fine: Index  #: of the same G items in the same order, for any scorer that was trained on the same data
    k: int  #: items that the fine scorer looks at; as many as the gallery holds = the fine scorer alone

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidSpec(f"a cascade re-ranks at least one item, got k = {self.k}")

    def shortlisted(self, query: Fragments) -> Tensor:
        """(k,) gallery rows worth a second look, for one query as the coarse scorer encodes it."""
        if self.k >= len(self.fine):  # nothing is left out, so the coarse scorer has no say
            return torch.arange(len(self.fine))
        return self.shortlist(query, self.k)

    def reranked(self, query: Fragments, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The answer to the same query as the fine scorer encodes it.

        Args:
            query: one item.
            rows: from `shortlisted`.

        Returns:
            (k,) int64 gallery rows, best first, and their (k,) float32 scores by the fine scorer, on the CPU.
        """
        whole = len(rows) == len(self.fine)  # then in the gallery's order: the very numbers of the fine scorer
        rows = torch.arange(len(rows)) if whole else rows.cpu()
        scores = self.fine.query(query, None if whole else rows)[0].cpu()
        order = torch.argsort(scores, descending=True, stable=True)
        return rows[order], scores[order]


def cascade_scores(coarse: Tensor, fine: Tensor, k: int) -> Tensor:
    """Scores under which every query ranks its gallery as the cascade does.

    Args:
        coarse: (Q, G) scores of the coarse scorer, a row per query.
        fine: (Q, G) scores of the fine scorer.
        k: size of the shortlist.

    Returns:
        (Q, G) float64: the fine scores of the shortlist, unchanged; below them the rest in the coarse order.

    >>> cascade_scores(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[5.0, 6.0, 7.0]]), k=2).tolist()
    [[5.0, 6.0, 2.0]]
    """
    if k >= coarse.shape[1]:
        return fine.double()
    coarse, fine = coarse.double(), fine.double()
    rows = torch.topk(coarse, k).indices
    shortlisted = fine.gather(1, rows)
    below = shortlisted.amin(1, keepdim=True) - 1 - (coarse.amax(1, keepdim=True) - coarse)
    return below.scatter(1, rows, shortlisted)


def _vectors(items: Fragments) -> Tensor:
    if items.features.shape[1] != 1:
        raise InvalidFragments(
            f"an approximate shortlist needs one vector per item, got {items.features.shape[1]} fragments; "
            "name a global scorer (clip, vsepp) first in the cascade"
        )
    return items.features[:, 0].float().contiguous()
