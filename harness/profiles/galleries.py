"""The galleries of a profile: packed once, grown from size to size, with fewer fragments, or larger than the test split.

Shape letters: G gallery items.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.measure.timing import Stopwatch
from harness.scorer import Scorer
from harness.scoring import Index

Precision = Literal["float32", "bfloat16", "int8"]
#: `t2i`: the query is a caption, the gallery holds images; `i2t`: the other way round.
Direction = Literal["t2i", "i2t"]
DIRECTIONS: tuple[Direction, ...] = ("t2i", "i2t")
GALLERIES: dict[Direction, Literal["images", "captions"]] = {"t2i": "images", "i2t": "captions"}
#: Norms that differ by less than this share of their mean say nothing about importance.
EQUAL_NORMS = 1e-3
#: Root mean square of the noise on a resampled item, as a share of the features'; items disturbed at once.
NOISE, DISTURBED_AT_ONCE = 0.02, 2048


@dataclass(frozen=True, eq=False)
class Built:
    """A packed gallery, and the milliseconds that packing it took, once."""

    index: Index
    ms: float

    @property
    def bytes_per_item(self) -> float:
        """Bytes that the index keeps of an item, with the features for exact shortlists."""
        return (self.index.nbytes + self.index.exact_nbytes) / len(self.index)


def build(
    scorer: Scorer, items: Fragments, direction: Direction, precision: Precision = "float32", exact: bool = False
) -> Built:
    """Pack a gallery.

    Args:
        scorer: whose queries it will get.
        items: G, as the scorer prepares them.
        direction: of the queries.
        precision, exact: `dtype` and `exact` of the index.

    >>> from harness.registry import create
    >>> items = Fragments(torch.rand(10, 4, 32), torch.ones(10, 4, dtype=torch.bool))
    >>> build(create("chan"), items, "t2i", "int8").bytes_per_item
    148.0
    """
    index = Index(scorer, GALLERIES[direction], dtype=precision, exact=exact)
    with Stopwatch(items.device) as watch:
        index.add(items)
    return Built(index, watch.ms)


def growing(scorer: Scorer, items: Fragments, direction: Direction, sizes: Sequence[int]) -> dict[int, Built]:
    """Galleries of the first items, by size; the larger ones share what is packed of the smaller ones.

    Args:
        scorer, items, direction: as for `build`.
        sizes: rising, the last one at most G.
    """
    found: dict[int, Built] = {}
    index, ms = Index(scorer, GALLERIES[direction], dtype="float32"), 0.0
    for start, stop in itertools.pairwise((0, *sizes)):
        index = index.copy()
        with Stopwatch(items.device) as watch:
            index.add(items[start:stop])
        ms += watch.ms
        found[stop] = Built(index, ms)
    return found


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
