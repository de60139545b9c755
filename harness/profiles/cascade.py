"""Cascades: a scorer with one vector an item shortlists k items, a fine-grained scorer re-ranks them.

A cascade is no `Scorer`: what it says of a pair depends on the rest of the gallery, which the contract forbids, and the
two directions have different shortlists. It answers queries, by two scorers that were trained apart.

Shape letters: Q queries, G gallery items, k shortlisted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity, InvalidSpec
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import similarity_matrix

Direction = Literal["t2i", "i2t"]
#: Pairs of single vectors that are scored at once: 16 MiB of scores.
LARGEST_GLOBAL_BLOCK = 2**22


class Shortlist(Protocol):
    """Finds the items of a coarse gallery that are worth a second look."""

    def __call__(self, query: Fragments, k: int) -> Tensor:
        """(k,) int64 rows of the gallery for one query, best first."""
        ...


@dataclass(frozen=True, eq=False)
class Found:
    """The answer to one query.

    Args:
        rows: (k,) int64 gallery rows, best first.
        scores: (k,) float32 scores of the fine scorer.
    """

    rows: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class ExactShortlist:
    """Scores the whole coarse gallery.

    Args:
        scorer: the coarse one.
        gallery: G items on its device.
        direction: `t2i` looks for images, `i2t` for captions.
        memory_budget: see `similarity_matrix`.
    """

    scorer: Scorer
    gallery: Fragments
    direction: Direction
    memory_budget: int | None = None

    def __call__(self, query: Fragments, k: int) -> Tensor:
        scores = query_scores(self.scorer, query, self.gallery, self.direction, self.memory_budget)
        return torch.topk(scores, min(k, len(scores))).indices


class ApproximateShortlist:
    """An HNSW graph of faiss over the coarse vectors: faster on large galleries, and may miss items.

    Args:
        scorer: the coarse one, whose score must be the dot product of its two vectors.
        gallery: G items of one fragment each.
        direction: as `ExactShortlist`.
        sample: some queries, on which that is checked.
        neighbours: edges of a graph node.

    Raises:
        InvalidSpec: faiss is not installed.
        InvalidFragments: an item has several fragments.
        InvalidSimilarity: the score is not a dot product.
    """

    def __init__(
        self, scorer: Scorer, gallery: Fragments, direction: Direction, sample: Fragments, neighbours: int = 32
    ):
        try:
            import faiss
        except ImportError:
            raise InvalidSpec(
                "an approximate shortlist needs faiss, which is not installed; pip install 'itm-harness[ann]'"
            ) from None
        vectors, some = _vectors(gallery), _vectors(sample)
        expected = query_scores(scorer, sample[:1], gallery[:256], direction)
        if not torch.allclose((vectors[:256] @ some[0]).cpu(), expected.cpu(), atol=1e-3):
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
    """`cascade(coarse, fine, k)`.

    Args:
        coarse: one fragment an item on both sides (CLIP, VSE++, ...).
        fine: any scorer, trained on the same data.
        k: items that the fine scorer looks at; as many as the gallery holds = the fine scorer alone.

    Raises:
        InvalidSpec: k is not positive.
    """

    coarse: Scorer
    fine: Scorer
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidSpec(f"a cascade re-ranks at least one item, got k = {self.k}")

    def search(
        self,
        coarse_query: Fragments,
        fine_query: Fragments,
        shortlist: Shortlist,
        fine_gallery: Fragments,
        direction: Direction,
        memory_budget: int | None = None,
    ) -> Found:
        """Answer one query.

        Args:
            coarse_query: the query as the coarse scorer encodes it, one item.
            fine_query: the same query as the fine scorer encodes it.
            shortlist: over the coarse gallery.
            fine_gallery: the G items as the fine scorer encodes them, in the same order.
            direction: `t2i`: the query is a caption, the gallery holds images; `i2t`: the other way round.
            memory_budget: see `similarity_matrix`.

        Returns:
            The shortlisted items in the fine scorer's order.
        """
        if self.k >= len(fine_gallery):  # nothing is left out, so the coarse scorer has no say
            rows = torch.arange(len(fine_gallery))
        else:
            rows = shortlist(coarse_query, self.k)
        return self.rerank(fine_query, rows, fine_gallery, direction, memory_budget)

    def rerank(
        self,
        fine_query: Fragments,
        rows: Tensor,
        fine_gallery: Fragments,
        direction: Direction,
        memory_budget: int | None = None,
    ) -> Found:
        """The second half of `search`, from the rows of a shortlist."""
        whole = len(rows) == len(fine_gallery)  # then in the gallery's order: the very numbers of the fine scorer
        rows = torch.arange(len(rows)) if whole else rows
        chosen = fine_gallery if whole else fine_gallery[rows.to(fine_gallery.device)]
        scores = query_scores(self.fine, fine_query, chosen, direction, memory_budget)
        order = torch.argsort(scores, descending=True, stable=True)
        return Found(rows.cpu()[order], scores[order])


def query_scores(
    scorer: Scorer, query: Fragments, gallery: Fragments, direction: Direction, memory_budget: int | None = None
) -> Tensor:
    """(G,) float32 scores of one query with a gallery, on the CPU."""
    images, texts = (gallery, query) if direction == "t2i" else (query, gallery)
    rows, columns = large_blocks(images, texts)
    return similarity_matrix(
        scorer, images, texts, memory_budget=memory_budget, image_block=rows, text_block=columns
    ).flatten()


def large_blocks(images: Fragments, texts: Fragments) -> tuple[int | None, int | None]:
    """Images and captions a block for `similarity_matrix` where items are single vectors; else None, its own choice.

    The engine's blocks are made for many fragments an item: a query over single vectors would consist of calls.
    """
    if not is_global(images, texts):
        return None, None
    rows = max(1, min(len(images), LARGEST_GLOBAL_BLOCK // min(len(texts), LARGEST_GLOBAL_BLOCK)))
    return rows, max(1, min(len(texts), LARGEST_GLOBAL_BLOCK // rows))


def cascade_scores(coarse: Tensor, fine: Tensor, k: int) -> Tensor:
    """Scores under which every query ranks its gallery as the cascade does.

    Args:
        coarse: (Q, G) scores of the coarse scorer, a row a query.
        fine: (Q, G) scores of the fine scorer.
        k: size of the shortlist.

    Returns:
        (Q, G) float64: the fine scores of the shortlist, unchanged; below them the rest in the coarse order.
    """
    if k >= coarse.shape[1]:
        return fine.double()
    coarse, fine = coarse.double(), fine.double()
    rows = torch.topk(coarse, k).indices
    shortlisted = fine.gather(1, rows)
    below = shortlisted.amin(1, keepdim=True) - 1 - (coarse.amax(1, keepdim=True) - coarse)
    return below.scatter(1, rows, shortlisted)


def is_global(images: Fragments, texts: Fragments) -> bool:
    """Whether both sides have one fragment an item, so that the scorer can shortlist."""
    return images.features.shape[1] == texts.features.shape[1] == 1


def _vectors(items: Fragments) -> Tensor:
    if items.features.shape[1] != 1:
        raise InvalidFragments(
            f"an approximate shortlist needs one vector an item, got {items.features.shape[1]} fragments; "
            "name a global scorer (clip, vsepp) first in the cascade"
        )
    return items.features[:, 0].float().contiguous()
