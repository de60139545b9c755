"""The counting engine: how many gallery items lie above the positives of a query, and how many tie with them.

Everything that ranks is counted, not ordered: each tie rule then follows from the counts exactly, and blocks of a matrix
add up. `count_ranks` looks at the best positive of each query, `count_positives` at every one.

Shape letters: I images, T captions, Q queries, N gallery items, P positives of all queries together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import InvalidSimilarity
from harness.metrics.positives import Direction, PositiveCounts, Positives
from harness.records.scores import comparable
from harness.records.ties import TiedRanks, Ties

#: Scores that are compared at once: the masks stay in the cache.
COMPARED_ELEMENTS = 2_000_000
#: Scores that are sorted at once.
SORTED_ELEMENTS = 8_000_000


@dataclass(frozen=True, eq=False)
class RankCounts:
    """What the ranks of both directions are made of.

    Args:
        i2t: where the best caption of each image lies, (I,).
        t2i: where the image of each caption lies, (T,).
        i2t_best: (I,) the caption row of the best positive (the first of those that tie).
    """

    i2t: TiedRanks
    t2i: TiedRanks
    i2t_best: np.ndarray

    def ranks(self, ties: Ties = "pessimistic") -> tuple[np.ndarray, np.ndarray]:
        """0-based rank of the best positive, (I,) and (T,): int64, or float64 under the expected rule.

        Args:
            ties: "pessimistic" puts tied negatives first, "optimistic" last, "expected" takes the mean over all orders
                of the tied items (with e negatives and p positives tied, e / (p + 1) negatives come before the first
                positive).
        """
        return self.i2t.ranks(ties), self.t2i.ranks(ties)


def count_ranks(similarity: Tensor | np.ndarray, caption_image: Sequence[int] | np.ndarray | Tensor) -> RankCounts:
    """Count, for every query, the negatives above its best positive and those tied with it.

    Args:
        similarity: (I, T), higher is better; a tensor, an array or a memory map, read in blocks of rows.
        caption_image: (T,) the image row of each caption; images may differ in their number of captions.

    Raises:
        InvalidSimilarity: wrong shape, values not finite, a caption of no image, or an image without captions.
    """
    if similarity.ndim != 2 or 0 in similarity.shape:
        raise InvalidSimilarity(f"similarity must be a non-empty (I, T) matrix, got shape {tuple(similarity.shape)}")
    matrix = _rankable(similarity)
    images, texts = matrix.shape
    device = matrix.device if isinstance(matrix, Tensor) else torch.device("cpu")
    owner = caption_owners(caption_image, images, texts).to(device)

    own = torch.empty(texts, dtype=torch.float64, device=device)  # of each caption with its image
    for rows, block in _row_blocks(matrix):
        mine = ((owner >= rows.start) & (owner < rows.stop)).nonzero().squeeze(1)
        own[mine] = block[owner[mine] - rows.start, mine].double()
    best = torch.full((images,), -torch.inf, dtype=torch.float64, device=device)
    best.scatter_reduce_(0, owner, own, reduce="amax")

    i2t, t2i = (torch.zeros(2, count, dtype=torch.int64, device=device) for count in (images, texts))
    for rows, block in _row_blocks(matrix):
        i2t[:, rows] += _above_and_equal(block, best[rows])
        t2i += _above_and_equal(block.T, own)

    is_best = own == best[owner]
    shared = torch.zeros(images, dtype=torch.int64, device=device).index_add_(0, owner, is_best.long())
    first = torch.full((images,), texts, dtype=torch.int64, device=device)
    first.scatter_reduce_(0, owner[is_best], is_best.nonzero().squeeze(1), reduce="amin")
    return RankCounts(_tied_ranks(i2t, shared), _tied_ranks(t2i, torch.ones_like(owner)), first.cpu().numpy())


def count_positives(similarity: Tensor | np.ndarray, positives: Positives, direction: Direction) -> PositiveCounts:
    """Count, for every positive of every query, what lies above it and what ties with it.

    Args:
        similarity: (I, T), higher is better; a tensor, an array or a memory map, read in blocks of queries.
        positives: Q queries of that direction.
        direction: `i2t`: rows are queries, all T captions the gallery; `t2i`: columns, all I images.

    Raises:
        InvalidSimilarity: no query, or a value that is not finite.
    """
    if not len(positives.queries):
        raise InvalidSimilarity(f"no {direction} query has a correct item")
    matrix = _rankable(similarity)
    step = max(1, SORTED_ELEMENTS // matrix.shape[1 if direction == "i2t" else 0])
    above, equal, correct_above, correct_equal = (np.empty(len(positives.items), dtype=np.int64) for _ in range(4))
    best = np.empty(len(positives.queries), dtype=np.int64)
    for start in range(0, len(best), step):
        block = _query_block(matrix, positives.queries[start : start + step], direction)
        ordered = np.sort(block, axis=1)
        for query, row in enumerate(block, start):
            part = slice(positives.starts[query], positives.starts[query + 1])
            items = positives.items[part]
            best[query] = items[np.argmax(row[items])]
            correct = np.sort(row[items])
            above[part], equal[part] = _above_and_equal_sorted(ordered[query - start], correct[::-1])
            correct_above[part], correct_equal[part] = _above_and_equal_sorted(correct, correct[::-1])
    relevant = positives.sizes + positives.absent
    return PositiveCounts(positives.starts, relevant, above, equal, correct_above, correct_equal, best)


def caption_owners(caption_image: Sequence[int] | np.ndarray | Tensor, images: int, texts: int) -> Tensor:
    """The image row of each caption, checked: (T,) int64 in 0..I-1, on the CPU.

    Raises:
        InvalidSimilarity: the shape or the type is wrong, a row is outside, or an image has no caption.
    """
    owner = torch.as_tensor(np.asarray(caption_image))
    if owner.shape != (texts,):
        raise InvalidSimilarity(
            f"caption_image must have one entry per caption: similarity has {texts} columns, got shape "
            f"{tuple(owner.shape)}"
        )
    if owner.is_floating_point() or owner.dtype == torch.bool:
        raise InvalidSimilarity(f"caption_image must hold integers, got {owner.dtype}")
    owner = owner.long()
    outside = ((owner < 0) | (owner >= images)).nonzero()
    if len(outside):
        first = int(outside[0])
        raise InvalidSimilarity(
            f"{len(outside)} captions belong to no image (first: caption {first} names image {int(owner[first])} of {images})"
        )
    without = (torch.bincount(owner, minlength=images) == 0).nonzero()
    if len(without):
        raise InvalidSimilarity(
            f"{len(without)} images have no caption (first: image {int(without[0])}); leave them out of the queries"
        )
    return owner


def _above_and_equal(block: Tensor, threshold: Tensor) -> Tensor:
    """(Q, N) scores and a threshold (Q,) per query -> (2, Q): how many scores are above it, and how many equal it."""
    threshold = threshold[:, None].to(block.dtype)
    return torch.stack([(block > threshold).sum(1), (block == threshold).sum(1)])


def _above_and_equal_sorted(rising: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for many thresholds of one query, whose scores are sorted."""
    right = rising.searchsorted(thresholds, side="right")
    return len(rising) - right, right - rising.searchsorted(thresholds, side="left")


def _tied_ranks(counts: Tensor, correct: Tensor) -> TiedRanks:
    """From the counts of `_above_and_equal`, and how many of the equal ones are correct."""
    above, equal = counts
    return TiedRanks(above.cpu().numpy(), (equal - correct).cpu().numpy(), correct.cpu().numpy())


def _rankable(similarity: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The matrix in a type that can be compared exactly; floating-point tensors stay where they are."""
    if not isinstance(similarity, Tensor):
        return comparable(similarity)
    if similarity.is_floating_point():
        return similarity
    return torch.from_numpy(comparable(similarity.cpu().numpy()).astype(np.float64)).to(similarity.device)


def _row_blocks(matrix: Tensor | np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """All rows, some at a time, checked for finite values."""
    images, texts = matrix.shape
    step = max(1, COMPARED_ELEMENTS // texts)
    for start in range(0, images, step):
        rows = slice(start, min(start + step, images))
        block = matrix[rows]
        if not isinstance(block, Tensor):
            block = torch.from_numpy(np.array(block, dtype=None if block.dtype.kind == "f" else np.float64))
        if not bool(torch.isfinite(block).all()):
            row, column = (~torch.isfinite(block)).nonzero()[0].tolist()
            raise _not_finite(float(block[row, column]), start + row, column)
        yield rows, block


def _query_block(matrix: Tensor | np.ndarray, queries: np.ndarray, direction: Direction) -> np.ndarray:
    """(len(queries), N) the scores of some queries, checked for finite values."""
    whole_range = queries[-1] - queries[0] + 1 == len(queries)  # a slice is read without an index of every element
    chosen = slice(int(queries[0]), int(queries[-1]) + 1) if whole_range else queries
    block = matrix[chosen] if direction == "i2t" else matrix[:, chosen].T
    if isinstance(block, Tensor):
        block = block.to(torch.float64 if block.dtype == torch.float64 else torch.float32).cpu().numpy()
    # Half precision sorts and searches slowly; every value of it is a float32.
    kind = np.float64 if block.dtype.kind != "f" or block.dtype.itemsize > 4 else np.float32
    block = np.ascontiguousarray(block, dtype=kind)
    if not np.isfinite(block).all():
        query, item = np.argwhere(~np.isfinite(block))[0].tolist()
        image, caption = (queries[query], item) if direction == "i2t" else (item, queries[query])
        raise _not_finite(float(block[query, item]), image, caption)
    return block


def _not_finite(value: float, image: int, caption: int) -> InvalidSimilarity:
    return InvalidSimilarity(
        f"similarity holds {value} at image {image}, caption {caption}; every score must be finite, or ranks are undefined"
    )
