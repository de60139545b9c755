"""Ranks and top-k of a gallery whose score matrix does not fit in memory, from counters alone.

Two passes over the captions, which may come in chunks that are loaded when asked for. The first scores every caption with
its own image; the second compares each block of scores with those. Both give a pair the same bits: where a score depends on
its image and caption alone, the first pass takes few images at a time; elsewhere it takes those blocks of the second one
that hold a positive. With the captions in one piece, the ranks are those of the whole matrix. What is kept is a few numbers
an image and a caption, never I x T.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity
from harness.fragments import Fragments
from harness.metrics import RankCounts, caption_owners
from harness.scorer import Scorer
from harness.scoring.engine import Progress, depends_on_the_pair_alone, score_blocks

#: Captions whose positives are scored together: few, since each brings its own image and all pairs among them are scored.
POSITIVES_BLOCK = 64
#: Of the keys of `top_k`: no result yet, and the largest gallery row.
EMPTY = -(2**63)
LAST_ROW = 2**32 - 1


class Chunks(Protocol):
    """Captions in chunks, read as often as needed and in any order: a list, or an object that loads chunk `index`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Fragments: ...


def streaming_counts(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments | Chunks,
    caption_image: Sequence[int] | np.ndarray | Tensor,
    *,
    memory_budget: int | None = None,
    progress: Progress | None = None,
) -> RankCounts:
    """The counts behind all ranks: those of `harness.metrics.count_ranks` on the whole matrix, without the matrix.

    Args:
        scorer: any scorer.
        images: I images.
        texts: T captions, whole or in chunks.
        caption_image: (T,) the image row of each caption; every image has a caption.
        memory_budget: bytes of a block's intermediate results, as in `similarity_matrix`.
        progress: called after each block with the finished and the total number of pairs.

    Raises:
        InvalidFragments: a side or a chunk is empty, or the sides differ in width.
        InvalidSimilarity: `caption_image` does not fit, or a score is not finite.
    """
    chunks = [texts] if isinstance(texts, Fragments) else texts
    owner = caption_owners(caption_image, len(images))
    positives = _positive_scores(scorer, images, chunks, owner, memory_budget)
    counter = _Counter(positives, owner, len(images))
    done, total = 0, len(images) * len(owner)
    for offset, chunk in _numbered(chunks, len(owner)):
        for block in score_blocks(scorer, images, chunk, memory_budget=memory_budget):
            counter.add(block.images, block.texts + offset, block.scores.cpu())
            done += block.scores.numel()
            if progress is not None:
                progress(done, total)
    return counter.counts()


def top_k(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments | Chunks,
    k: int,
    *,
    direction: str = "i2t",
    memory_budget: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The best items of each query.

    Args:
        scorer: any scorer.
        images: I images.
        texts: T captions, whole or in chunks.
        k: number of results; at most the size of the gallery.
        direction: "i2t" = captions for each image, "t2i" = images for each caption.
        memory_budget: as in `similarity_matrix`.

    Returns:
        Scores (queries, k) float32 in falling order and gallery rows (queries, k) int64; of equal scores the lower row
        comes first.

    Raises:
        InvalidSimilarity: k is below 1 or larger than the gallery.
        InvalidFragments: a side or a chunk is empty, or the sides differ in width.
    """
    chunks = [texts] if isinstance(texts, Fragments) else texts
    keys = _DIRECTIONS[direction](scorer, images, chunks, k, memory_budget)
    if k < 1 or bool((keys == EMPTY).any()):
        raise InvalidSimilarity(
            f"{k} results a query were asked for; expected at least 1 and no more than the gallery has"
        )
    return _decode(keys)


class _Counter:
    """Greater and equal scores of each query, block by block."""

    def __init__(self, positives: Tensor, owner: Tensor, images: int):
        self.positives, self.owner = positives, owner
        self.best = torch.full((images,), -torch.inf).scatter_reduce_(0, owner, positives, reduce="amax")
        self.i2t_above, self.i2t_equal = (torch.zeros(images, dtype=torch.int64) for _ in range(2))
        self.t2i_above, self.t2i_equal = (torch.zeros(len(owner), dtype=torch.int64) for _ in range(2))

    def add(self, images: Tensor, texts: Tensor, scores: Tensor) -> None:
        """Count a block (i, t), its positives pinned to the scores of the first pass."""
        row_of = torch.full((len(self.best),), -1).index_put_((images,), torch.arange(len(images)))
        rows = row_of[self.owner[texts]]
        columns = (rows >= 0).nonzero().squeeze(1)
        scores[rows[columns], columns] = self.positives[texts[columns]]
        of_image, of_text = self.best[images, None], self.positives[texts]
        self.i2t_above[images] += (scores > of_image).sum(1)
        self.i2t_equal[images] += (scores == of_image).sum(1)
        self.t2i_above[texts] += (scores > of_text).sum(0)
        self.t2i_equal[texts] += (scores == of_text).sum(0)

    def counts(self) -> RankCounts:
        """The counts, the positives themselves taken off the equal ones."""
        is_best = self.positives == self.best[self.owner]
        tied = torch.zeros_like(self.i2t_equal).index_add_(0, self.owner, is_best.long())
        first = torch.full_like(self.i2t_equal, len(self.owner))
        first.scatter_reduce_(0, self.owner[is_best], is_best.nonzero().squeeze(1), reduce="amin")
        return RankCounts(
            i2t_above=self.i2t_above.numpy(),
            i2t_tied=(self.i2t_equal - tied).numpy(),
            i2t_best_tied=tied.numpy(),
            i2t_best=first.numpy(),
            t2i_above=self.t2i_above.numpy(),
            t2i_tied=(self.t2i_equal - 1).numpy(),
        )


def _best_captions(scorer: Scorer, images: Fragments, chunks: Chunks, k: int, memory_budget: int | None) -> Tensor:
    """(I, k) keys."""
    kept = torch.full((len(images), max(0, k)), EMPTY)
    for offset, chunk in _numbered(chunks, None):
        for block in score_blocks(scorer, images, chunk, memory_budget=memory_budget):
            _keep(kept, block.images, _encode(block.scores.cpu(), block.texts + offset))
    return kept


def _best_images(scorer: Scorer, images: Fragments, chunks: Chunks, k: int, memory_budget: int | None) -> Tensor:
    """(T, k) keys."""
    parts = []
    for _, chunk in _numbered(chunks, None):
        kept = torch.full((len(chunk), max(0, k)), EMPTY)
        for block in score_blocks(scorer, images, chunk, memory_budget=memory_budget):
            _keep(kept, block.texts, _encode(block.scores.cpu().T, block.images))
        parts.append(kept)
    return torch.cat(parts)


_DIRECTIONS = {"i2t": _best_captions, "t2i": _best_images}


def _keep(kept: Tensor, queries: Tensor, keys: Tensor) -> None:
    kept[queries] = torch.cat([kept[queries], keys], 1).topk(kept.shape[1], dim=1).values


def _encode(scores: Tensor, rows: Tensor) -> Tensor:
    """(n, m) scores of gallery rows (m,) -> int64 keys that order by score, then by falling row, and are all different.

    The bits of a float32, read as an integer, order non-negative numbers; negative ones are mirrored.
    """
    bits = (scores + 0.0).contiguous().view(torch.int32).long()  # + 0.0: -0.0 equals 0.0
    ordered = torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    return (ordered << 32) + (LAST_ROW - rows)


def _decode(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and rows of keys."""
    ordered, rows = keys >> 32, LAST_ROW - (keys & LAST_ROW)
    bits = torch.where(ordered >= 0, ordered, -ordered - 2**31)
    return bits.to(torch.int32).view(torch.float32), rows


def _positive_scores(
    scorer: Scorer, images: Fragments, chunks: Chunks, owner: Tensor, memory_budget: int | None
) -> Tensor:
    """(T,) score of each caption with its own image."""
    passes = _in_few_images if depends_on_the_pair_alone(scorer, images) else _in_equal_blocks
    positives = torch.empty(len(owner))
    for offset, chunk in _numbered(chunks, len(owner)):
        positives[offset : offset + len(chunk)] = passes(
            scorer, images, chunk, owner[offset : offset + len(chunk)], memory_budget
        )
    return positives


def _in_few_images(scorer: Scorer, images: Fragments, texts: Fragments, owner: Tensor, budget: int | None) -> Tensor:
    """Positives of one chunk, in small blocks of captions of few images."""
    positives = torch.empty(len(owner))
    for some in owner.argsort(stable=True).split(POSITIVES_BLOCK):
        mine, row = owner[some].unique(return_inverse=True)
        for block in score_blocks(scorer, images[mine], texts[some], memory_budget=budget):
            here, scores = _of_owners(block.images, block.texts, block.scores, row, len(mine))
            positives[some[here]] = scores
    return positives


def _in_equal_blocks(scorer: Scorer, images: Fragments, texts: Fragments, owner: Tensor, budget: int | None) -> Tensor:
    """The same in the blocks of the second pass."""
    positives = torch.empty(len(owner))
    pairs = owner, torch.arange(len(owner))
    for block in score_blocks(scorer, images, texts, memory_budget=budget, pairs=pairs):
        here, scores = _of_owners(block.images, block.texts, block.scores, owner, len(images))
        positives[here] = scores
    return positives


def _of_owners(images: Tensor, texts: Tensor, scores: Tensor, owner: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Captions of a block whose image is in it too, and their scores with it."""
    place = torch.full((count,), -1).index_put_((images,), torch.arange(len(images)))
    at = place[owner[texts]]
    here = (at >= 0).nonzero().squeeze(1)
    return texts[here], scores.cpu()[at[here], here]


def _numbered(chunks: Chunks, expected: int | None) -> Iterator[tuple[int, Fragments]]:
    """Chunks with the number of captions before each."""
    offset = 0
    for index in range(len(chunks)):
        chunk = chunks[index]
        if expected is not None and offset + len(chunk) > expected:
            offset += len(chunk)
            break
        yield offset, chunk
        offset += len(chunk)
    if expected is not None and offset != expected:
        raise InvalidSimilarity(f"caption_image names {expected} captions, but the chunks hold {offset} or more")
    if not offset:
        raise InvalidFragments("there are no captions to score; at least one is needed")
