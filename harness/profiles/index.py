"""What an index keeps of a gallery: its items, their precision, and how many fragments of each.

The query side is never quantised: an index is built once and read often, a query is encoded and used at once.

Shape letters: Q queries, G gallery items.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.measure.cost import index_bytes
from harness.scorer import Scorer
from harness.scoring import packed_form, similarity_matrix

Precision = Literal["float32", "bfloat16", "int8"]
#: `t2i`: the query is a caption, the gallery holds images; `i2t`: the other way round.
Direction = Literal["t2i", "i2t"]
DIRECTIONS: tuple[Direction, ...] = ("t2i", "i2t")
#: Pairs of single vectors that are scored at once: 16 MiB of scores.
LARGEST_GLOBAL_BLOCK = 2**22
#: Items of a quantised index that are decoded at once.
DECODED_AT_ONCE = 2048
#: Norms that differ by less than this share of their mean say nothing about importance.
EQUAL_NORMS = 1e-3
#: Root mean square of the noise on a resampled item, as a share of the features'; items disturbed at once.
NOISE, DISTURBED_AT_ONCE = 0.02, 2048


@dataclass(frozen=True, eq=False)
class StoredIndex:
    """A gallery of G items as an index keeps it."""

    items: Fragments  #: mask and extras; features float32 or bfloat16, or (G, F, 0) where codes hold them
    codes: Tensor | None = None  #: (G, F, D) int8
    scales: Tensor | None = None  #: (G, F) float32, the factor of a fragment's codes

    def __len__(self) -> int:
        return len(self.items)

    @property
    def needs_decoding(self) -> bool:
        """Whether `decoded` computes anything."""
        return self.codes is not None or self.items.features.dtype != torch.float32

    @property
    def bytes_per_item(self) -> float:
        """Bytes that the index keeps of an item."""
        parts = [part for part in (self.codes, self.scales) if part is not None]
        return index_bytes(self.items) + sum(part.numel() * part.element_size() for part in parts) / len(self)

    def decoded(self, rows: slice | Tensor = slice(None)) -> Fragments:
        """Some items as float32 fragments; the index's own tensors where it holds them so."""
        items = self.items[rows].to(torch.float32)
        if self.codes is None or self.scales is None:
            return items
        # Finite by construction: the constructor's pass over all values would be timed with every query.
        features = self.codes[rows].float().mul_(self.scales[rows][..., None])
        return Fragments.unchecked(features, items.mask, items.extras)


def store(items: Fragments, precision: Precision) -> StoredIndex:
    """Keep fragments at a precision.

    Args:
        items: float32.
        precision: `int8` keeps one scale per fragment: its largest magnitude becomes 127. Both reduced precisions keep
            floating-point extras in bfloat16.

    Raises:
        InvalidSpec: no such precision.

    >>> store(Fragments(torch.ones(10, 4, 32), torch.ones(10, 4, dtype=torch.bool)), "int8").bytes_per_item
    148.0
    """
    if precision not in get_args(Precision):
        raise InvalidSpec(f"unknown precision '{precision}'; valid: {', '.join(get_args(Precision))}")
    if precision == "float32":
        return StoredIndex(items)
    halved = items.to(torch.bfloat16)
    if precision == "bfloat16":
        return StoredIndex(halved)
    scales = items.features.abs().amax(-1) / 127
    codes = (items.features / scales.clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round().to(torch.int8)
    return StoredIndex(Fragments.unchecked(halved.features[..., :0], halved.mask, halved.extras), codes, scales)


def stored_scores(
    scorer: Scorer,
    queries: Fragments,
    index: StoredIndex,
    direction: Direction,
    precision: Precision,
    memory_budget: int | None = None,
) -> Tensor:
    """(Q, G) float32 scores of queries with an index, decoded block by block, on the CPU.

    `bfloat16` is the precision of the product's operands too; the others multiply in float32.
    """
    # Float32 needs no decoding, and one call lets the engine choose its own blocks.
    step = DECODED_AT_ONCE if index.needs_decoding else len(index)
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    by_autocast = dtype is not None and packed_form(scorer) is None
    with torch.autocast(index.items.device.type, dtype) if by_autocast else nullcontext():
        blocks = []
        for start in range(0, len(index), step):
            block = index.decoded(slice(start, start + step)) if index.needs_decoding else index.items
            blocks.append(directed_scores(scorer, queries, block, direction, memory_budget, dtype))
    return torch.cat(blocks, 1)


def directed_scores(
    scorer: Scorer,
    queries: Fragments,
    gallery: Fragments,
    direction: Direction,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(Q, G) float32 scores of queries with a gallery, on the CPU; budget and dtype as in `similarity_matrix`."""
    images, texts = (gallery, queries) if direction == "t2i" else (queries, gallery)
    rows, columns = large_blocks(images, texts)
    scores = similarity_matrix(
        scorer, images, texts, memory_budget=memory_budget, image_block=rows, text_block=columns, dtype=dtype
    )
    return scores.T if direction == "t2i" else scores


def large_blocks(images: Fragments, texts: Fragments) -> tuple[int | None, int | None]:
    """Images and captions per block for `similarity_matrix` where items are single vectors; else None, its own choice.

    The engine's blocks are made for many fragments per item: a query over single vectors would consist of calls.
    """
    if not is_global(images, texts):
        return None, None
    rows = max(1, min(len(images), LARGEST_GLOBAL_BLOCK // min(len(texts), LARGEST_GLOBAL_BLOCK)))
    return rows, max(1, min(len(texts), LARGEST_GLOBAL_BLOCK // rows))


def is_global(images: Fragments, texts: Fragments) -> bool:
    """Whether both sides have one fragment per item, so that the scorer can shortlist."""
    return images.features.shape[1] == texts.features.shape[1] == 1


def prune(items: Fragments, keep: float) -> Fragments:
    """Fewer fragments of each item: those of the largest norm, or evenly spaced ones where all norms are alike.

    Args:
        items: (N, F, D) as an encoder returns them, without extras that follow F.
        keep: share of an item's fragments that stays, at least one each; in (0, 1].

    Returns:
        (N, F', D) in their old order.

    Raises:
        InvalidSpec: the share is out of range.

    >>> items = Fragments(torch.tensor([[[3.0], [1.0], [4.0], [2.0]]]), torch.ones(1, 4, dtype=torch.bool))
    >>> prune(items, 0.5).features.flatten().tolist()
    [3.0, 4.0]
    """
    if not 0 < keep <= 1:
        raise InvalidSpec(f"the share of fragments to keep must lie in (0, 1], got {keep:g}")
    kept = (items.lengths * keep).ceil().long().clamp(min=1)
    longest = int(kept.max())
    importance = _importance(items, kept)
    order = importance.masked_fill(~items.mask, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :longest]
    real = torch.arange(longest, device=order.device) < kept[:, None]
    order = order.masked_fill(~real, items.mask.shape[1]).sort(1).values  # old order, the padding last
    real = order < items.mask.shape[1]
    order = order.clamp(max=items.mask.shape[1] - 1)
    features = items.features.gather(1, order[..., None].expand(-1, -1, items.width))
    return Fragments(features * real[..., None], real, items.extras)


def _importance(items: Fragments, kept: Tensor) -> Tensor:
    """(N, F): the norm; of an item whose norms are alike, 1 at `kept` evenly spaced positions and 0 elsewhere."""
    norms = items.features.norm(dim=-1)
    mean = norms.masked_fill(~items.mask, torch.nan).nanmean(1)
    span = norms.masked_fill(~items.mask, -torch.inf).amax(1) - norms.masked_fill(~items.mask, torch.inf).amin(1)
    position = items.mask.cumsum(1) - 1
    # Position p opens a new one of the `kept` equal stretches of the item.
    stretch = (position * kept[:, None]) // items.lengths[:, None]
    before = ((position - 1) * kept[:, None]) // items.lengths[:, None]
    return torch.where((span <= EQUAL_NORMS * mean)[:, None], (stretch != before).to(norms.dtype), norms)


def resampled(items: Fragments, size: int, seed: int = 0) -> Fragments:
    """A gallery of any size from a test split, which rarely holds 100,000 images; no accuracy is ever read from it.

    Cost depends on how many items and fragments there are, hardly on their values: items are drawn with replacement, with
    their own numbers of fragments, and moved a little, so that none ties with another.

    Args:
        items: N real ones; the first min(N, size) of the gallery are these, unchanged.
        size: items wanted.
        seed: of the drawing and of the noise.

    Returns:
        Fragments (size, F, D) on the same device; each fragment keeps its norm; extras are those of the drawn items.
    """
    if size <= len(items):
        return items[:size]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(items), (size - len(items),), generator=generator)
    rows = torch.cat([torch.arange(len(items)), drawn]).to(items.device)
    features = items.features[rows]
    scale = NOISE * float(items.features[items.mask].pow(2).mean().sqrt())
    bank = torch.randn(min(DISTURBED_AT_ONCE, len(drawn)), *features.shape[1:], generator=generator) * scale
    bank = bank.to(items.device, features.dtype)
    for start in range(len(items), size, DISTURBED_AT_ONCE):
        block = features[start : start + DISTURBED_AT_ONCE]
        norm = block.norm(dim=-1, keepdim=True)
        # The bank is rolled by another odd number each time: no two blocks add the same noise to the same place.
        block.add_(bank.roll(2 * (start // DISTURBED_AT_ONCE) + 1, 0)[: len(block)])
        block.mul_(norm / block.norm(dim=-1, keepdim=True).clamp(min=1e-12))  # zero vectors (padding) stay zero
    return Fragments(features, items.mask[rows], {name: extra[rows] for name, extra in items.extras.items()})
