"""What an index keeps of a gallery: its precision, and how many fragments of an item.

The query side is never quantised: an index is built once and read often, a query is encoded and used at once.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.profiles.cascade import Direction, large_blocks
from harness.scorer import Scorer
from harness.scoring import packed_form, similarity_matrix

Precision = Literal["float32", "bfloat16", "int8"]
#: Items of a quantised index that are decoded at once.
DECODED_AT_ONCE = 2048
#: Norms that differ by less than this share of their mean say nothing about importance.
EQUAL_NORMS = 1e-3


@dataclass(frozen=True, eq=False)
class StoredIndex:
    """A gallery as an index keeps it.

    Args:
        items: mask and extras of N items; features float32 or bfloat16, or (N, F, 0) where codes hold them.
        codes: (N, F, D) int8 or None.
        scales: (N, F) float32, what the codes of a fragment are multiplied with.
    """

    items: Fragments
    codes: Tensor | None = None
    scales: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def needs_decoding(self) -> bool:
        """Whether `decoded` computes anything."""
        return self.codes is not None or self.items.features.dtype != torch.float32

    @property
    def bytes(self) -> int:
        """Bytes that the index takes."""
        kept = [self.items.features, self.items.mask, *self.items.extras.values()]
        kept += [part for part in (self.codes, self.scales) if part is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def decoded(self, rows: slice | Tensor = slice(None)) -> Fragments:
        """Some items as float32 fragments; the index's own tensors where it holds them so."""
        items = self.items[rows].to(torch.float32)
        if self.codes is None or self.scales is None:
            return items
        # Finite by construction: the constructor's pass over all values would be timed with every query.
        return Fragments.unchecked(
            self.codes[rows].float().mul_(self.scales[rows][..., None]), items.mask, items.extras
        )


def store(items: Fragments, precision: Precision) -> StoredIndex:
    """Keep fragments at a precision.

    Args:
        items: float32.
        precision: `int8` keeps one scale a fragment: its largest magnitude becomes 127. Floating-point extras are kept in
            bfloat16 under both reduced precisions.

    Raises:
        InvalidSpec: no such precision.
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
    """Scores of queries with an index, decoded block by block.

    Args:
        scorer: any scorer.
        queries: Q captions (t2i) or images (i2t).
        index: of the other side, N items.
        direction: which side is which.
        precision: of the product's operands too: `bfloat16` multiplies in it, the others in float32.
        memory_budget: see `similarity_matrix`.

    Returns:
        (Q, N) float32 on the CPU.
    """
    # Float32 needs no decoding, and one call lets the engine choose its own blocks.
    step = DECODED_AT_ONCE if index.needs_decoding else len(index)
    low = precision == "bfloat16"
    packed = packed_form(scorer) is not None
    context = torch.autocast(index.items.device.type, torch.bfloat16) if low and not packed else nullcontext()
    blocks = []
    with context:
        for start in range(0, len(index), step):
            block = index.decoded(slice(start, start + step)) if index.needs_decoding else index.items
            images, texts = (block, queries) if direction == "t2i" else (queries, block)
            dtype = torch.bfloat16 if low else None
            rows, columns = large_blocks(images, texts)
            scores = similarity_matrix(
                scorer,
                images,
                texts,
                memory_budget=memory_budget,
                image_block=rows,
                text_block=columns,
                dtype=dtype,
            )
            blocks.append(scores.T if direction == "t2i" else scores)
    return torch.cat(blocks, 1)


def prune(items: Fragments, keep: float) -> Fragments:
    """Fewer fragments of each item: those of the largest norm, or evenly spaced ones where all norms are alike.

    Args:
        items: (N, F, D) as an encoder returns them, without extras that follow F.
        keep: share of an item's fragments that stays, at least one each; in (0, 1].

    Returns:
        (N, F', D) in their old order.

    Raises:
        InvalidSpec: the share is out of range.
    """
    if not 0 < keep <= 1:
        raise InvalidSpec(f"the share of fragments to keep must lie in (0, 1], got {keep:g}")
    lengths = items.lengths
    kept = (lengths * keep).ceil().long().clamp(min=1)
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
    real = norms.masked_fill(~items.mask, torch.nan)
    mean = real.nanmean(1)
    span = norms.masked_fill(~items.mask, -torch.inf).amax(1) - norms.masked_fill(~items.mask, torch.inf).amin(1)
    alike = span <= EQUAL_NORMS * mean
    position = items.mask.cumsum(1) - 1
    # Position p opens a new one of the `kept` equal stretches of the item.
    stretch = (position * kept[:, None]) // items.lengths[:, None]
    before = ((position - 1) * kept[:, None]) // items.lengths[:, None]
    spaced = (stretch != before).to(norms.dtype)
    return torch.where(alike[:, None], spaced, norms)
