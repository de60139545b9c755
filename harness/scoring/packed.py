"""The packed route: a scorer's `packed_form`, on ragged captions in exact-length buckets, one matrix product per tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.scoring.blocks import ScoreBlock, slices
from harness.similarity.dispatch import best_form
from harness.similarity.packed.kernels import PackedForm
from harness.similarity.packed.scores import PackedSide, Plan, TileSize, pack_side, packed_scores

#: Fragments of a tile's two sides. A processor wants tiles that stay in its cache, a GPU large products.
TILES = {"cpu": TileSize(576, 4096), "cuda": TileSize(65536, 65536)}
#: Images and captions of the largest block of the similarity matrix that is computed at once.
LARGEST_BLOCK = (1024, 4096)
#: The same where the whole matrix stays on a GPU: each block costs some milliseconds of packing.
LARGEST_BLOCK_KEPT = (16384, 65536)
#: Values that a kernel has reduced and not yet finished, and float32 tensors of their size that finishing them takes.
WAITING_VALUES, FINISHING_COPIES = {"cpu": 2**21, "cuda": 2**28}, 4
#: Items of a packed form's row transform, which are always the same ones.
TRANSFORMED = 128
#: Times that a packed side is held: as it was, in the order of the product, and prepared for it.
PACKED_COPIES = 3


def packed_form(scorer: Any) -> PackedForm | None:
    """The packed form that a scorer offers by a method of this name, unless a subclass has overridden `score` alone."""
    offer = getattr(scorer, "packed_form", None)
    if offer is None or "score" in vars(scorer):
        return None
    for cls in type(scorer).__mro__:
        if "packed_form" in vars(cls):
            return offer()
        if "score" in vars(cls):  # a more special `score` than the packed form: the form would give other numbers
            return None
    return None


def block_sizes(images: Fragments, texts: Fragments, budget: int, largest: tuple[int, int]) -> tuple[int, int]:
    """Images and captions per block: the packed copies of each side and the scores take a third of the budget each."""
    third = budget // 3

    def items(side: Fragments, most: int) -> int:
        return max(1, min(len(side), most, third // (PACKED_COPIES * 4 * side.features.shape[1] * side.width)))

    rows, columns = items(images, largest[0]), items(texts, largest[1])
    return rows, max(1, min(columns, third // (4 * rows)))


def plan_for(
    form: PackedForm, images: Fragments, texts: Fragments, budget: int, dtype: torch.dtype | None, device: torch.device
) -> Plan:
    """How all blocks of two sides are packed: the kernels that are best there, in tiles that fit a third of the budget."""
    form = best_form(form, device, dtype or images.features.dtype, int(images.lengths.max()), int(texts.lengths.max()))
    waiting = WAITING_VALUES.get(device.type, WAITING_VALUES["cuda"])
    return Plan(
        form,
        _tile_size(form, budget, device),
        max(1, min(waiting, budget // (3 * 4 * FINISHING_COPIES))),
        dtype,
        work=2.0 * float(images.lengths.sum()) * float(texts.lengths.sum()) * images.width,
    )


def packed_blocks(
    plan: Plan, images: Fragments, texts: Fragments, rows: int, columns: int, device: torch.device
) -> Iterator[ScoreBlock]:
    """All pairs, in blocks of at most `rows` images and `columns` captions; items of similar length share a block."""
    left, right = _Side(plan, images, device, texts=False), _Side(plan, texts, device, texts=True)
    for text_part in slices(len(texts), columns):
        some_texts, text_rows = right.packed(text_part)
        for image_part in slices(len(images), rows):
            some_images, image_rows = left.packed(image_part)
            with _no_autocast(device):
                scores = packed_scores(plan, some_images, some_texts)
            yield ScoreBlock(image_rows, text_rows, scores)


class _Side:
    """One side of the matrix, packed part by part in the order of its lengths, so that buckets are full."""

    def __init__(self, plan: Plan, fragments: Fragments, device: torch.device, *, texts: bool):
        self.plan, self.fragments, self.device, self.texts = plan, fragments, device, texts
        self.transform = plan.form.text_rows if texts else plan.form.image_rows
        self.order = fragments.lengths.argsort(stable=True)

    def packed(self, part: slice) -> tuple[PackedSide, Tensor]:
        """Some of the items, and their rows in the order of the packing, on the CPU."""
        items = self.order[part]
        with _no_autocast(self.device):
            if self.transform is None and self.fragments.device == self.device:
                packed = pack_side(self.plan, self.fragments, items, texts=self.texts)
                return packed, packed.items.cpu()
            copy = self._transformed(part) if self.transform else self.fragments[items].to(self.device)
            packed = pack_side(self.plan, copy, torch.arange(len(items), device=self.device), texts=self.texts)
            return packed, items.cpu()[packed.items.cpu()]

    def _transformed(self, part: slice) -> Fragments:
        """Some of the items after the transform, which reads the same items together whatever the block.

        A network's last bits may depend on how many items it reads.
        """
        assert self.transform is not None
        first = part.start - part.start % TRANSFORMED
        batches = [
            self.transform(self.fragments[self.order[batch]].to(self.device))
            for batch in slices(len(self.order), TRANSFORMED)
            if batch.stop > first and batch.start < part.stop
        ]
        return Fragments.cat(batches)[part.start - first : part.stop - first]


def _no_autocast(device: torch.device) -> torch.autocast:
    """The engine needs the type of the operands."""
    return torch.autocast(device.type, enabled=False)


def _tile_size(form: PackedForm, budget: int, device: torch.device) -> TileSize:
    """The device's usual tile, halved until a kernel's working tensors fit a third of the budget."""
    usual = TILES.get(device.type, TILES["cuda"])
    copies = max(kernel.tiles_in_use for _, kernel in form.terms)
    rows, columns = usual.rows, usual.columns
    while 4 * copies * rows * columns > budget // 3 and max(rows, columns) > 1:
        rows, columns = (rows, columns // 2) if columns >= rows else (rows // 2, columns)
    return TileSize(rows, columns)
