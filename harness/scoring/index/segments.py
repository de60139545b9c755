"""Some items of a gallery as queries meet them: packed once for the scorer, or as they are for a scorer without a packed form.

Shape letters: Q queries, U items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import packed, plain
from harness.scoring.blocks import slices
from harness.scoring.index.kept import compared, floating
from harness.scoring.index.stored import Gallery
from harness.scoring.memory import default_budget
from harness.similarity.dispatch import best_form
from harness.similarity.packed.codes import coded
from harness.similarity.packed.kernels import PackedForm
from harness.similarity.packed.scores import PackedSide, Plan, TileSize, pack_side, packed_scores

#: Fragments of a tile, of the gallery and of the queries, by the side that the gallery is. A query's tile is narrow: many
#: items of the gallery belong to it, since each tile costs some microseconds beside its product.
GALLERY_ROWS, QUERY_COLUMNS = 9216, 256
GALLERY_COLUMNS, QUERY_ROWS = 4096, 576
#: A query has about 12 words. Filling up to more columns than a library's vectors need would take longer than the product.
SMALLEST = (32, 16)
#: Items that are packed together, and queries that meet them at once.
PACKED_TOGETHER, QUERIES_AT_ONCE = 16384, 256
#: Items of reduced precision that are decoded at once for a scorer without a packed form.
DECODED_TOGETHER = 2048
#: Fragments of a query for which a kernel is chosen.
LONGEST_QUERY = 512


@dataclass(frozen=True, eq=False)
class Segment:
    """Distinct items of a gallery; immutable, so that any number of threads may read it.

    Args:
        items: U items as they are stored, after the row transform of the scorer's packed form.
        plan: how they and their queries are packed; None = the plain route.
        parts: the items packed.
    """

    items: Fragments
    plan: Plan | None
    parts: Sequence[PackedSide]

    def __len__(self) -> int:
        return len(self.items)


def form_of(scorer: Scorer, gallery: Gallery) -> PackedForm | None:
    """The scorer's packed form on items that its row transform of this side has gone through already."""
    form = packed.packed_form(scorer)
    if form is None:
        return None
    return replace(form, image_rows=None) if gallery == "images" else replace(form, text_rows=None)


def transformed(scorer: Scorer, items: Fragments, gallery: Gallery) -> Fragments:
    """What an index stores of prepared items: after the row transform, in the batches that the engine takes, too."""
    form = packed.packed_form(scorer)
    transform = None if form is None else form.image_rows if gallery == "images" else form.text_rows
    if transform is None:
        return items
    return Fragments.cat([transform(items[part]) for part in slices(len(items), packed.TRANSFORMED)])


def pack_segment(scorer: Scorer, items: Fragments, gallery: Gallery, device: torch.device) -> Segment:
    """Pack stored items."""
    form = form_of(scorer, gallery)
    if form is None:
        return Segment(items, None, ())
    plan = _plan(form, items, gallery, device)
    source, order = compared(items).to(device), items.lengths.argsort(stable=True)
    parts = [
        pack_side(plan, source, order[part].to(device), texts=gallery == "captions")
        for part in slices(len(items), PACKED_TOGETHER)
    ]
    return Segment(items, plan, parts)


def segment_scores(scorer: Scorer, segment: Segment, queries: Fragments, gallery: Gallery) -> Tensor:
    """(Q, U) float32 scores of prepared queries with every item; the scorer is in evaluation mode."""
    result = torch.empty(len(queries), len(segment), device=queries.device)
    if segment.plan is None:
        _plain_scores(scorer, segment.items, queries, gallery, result)
        return result
    form = packed.packed_form(scorer)
    assert form is not None
    transform = form.text_rows if gallery == "images" else form.image_rows
    for part in slices(len(queries), QUERIES_AT_ONCE):
        some = queries[part] if transform is None else transform(queries[part])
        some = coded(some) if segment.items.features.dtype == torch.int8 else some
        rows = torch.arange(len(some), device=some.device)
        asked = pack_side(segment.plan, some, rows, texts=gallery == "images")
        for stored in segment.parts:
            left, right = (stored, asked) if gallery == "images" else (asked, stored)
            scores = packed_scores(segment.plan, left, right)
            scores = scores.T if gallery == "images" else scores
            result[(asked.items + part.start)[:, None], stored.items] = scores
    return result


def _plain_scores(scorer: Scorer, items: Fragments, queries: Fragments, gallery: Gallery, result: Tensor) -> None:
    reduced = items.features.dtype != queries.features.dtype
    for part in slices(len(items), DECODED_TOGETHER if reduced else len(items)):
        some = floating(compared(items)[part]).to(queries.features.dtype) if reduced else items
        _plain_block(scorer, some, queries, gallery, result[:, part])


def _plain_block(scorer: Scorer, items: Fragments, queries: Fragments, gallery: Gallery, result: Tensor) -> None:
    images, texts = (items, queries) if gallery == "images" else (queries, items)
    rows, columns = plain.block_sizes(images, texts, default_budget(result.device))
    if images.features.shape[1] == texts.features.shape[1] == 1:  # single vectors: a query would consist of calls
        rows, columns = len(images), len(texts)
    for block in plain.plain_blocks(scorer, images, texts, rows, columns):
        asked, found = (block.texts, block.images) if gallery == "images" else (block.images, block.texts)
        scores = block.scores.T if gallery == "images" else block.scores
        result[asked[:, None].to(result.device), found.to(result.device)] = scores


def _plan(form: PackedForm, items: Fragments, gallery: Gallery, device: torch.device) -> Plan:
    longest = int(items.lengths.max())
    images, texts = (longest, LONGEST_QUERY) if gallery == "images" else (LONGEST_QUERY, longest)
    form = best_form(form, device, items.features.dtype, images, texts)
    # A term whose left side are captions has the gallery of images on its right, and the other way round.
    on_left = {kernel.swapped == (gallery == "captions") for _, kernel in form.terms}
    rows = GALLERY_ROWS if True in on_left else QUERY_ROWS
    columns = GALLERY_COLUMNS if False in on_left else QUERY_COLUMNS
    waiting = packed.WAITING_VALUES.get(device.type, packed.WAITING_VALUES["cuda"])
    # The queries take the type of the gallery, codes that of codes: both are operands of one product.
    return Plan(
        form, TileSize(rows, columns), waiting, dtype=items.features.dtype, smallest=SMALLEST, position_first=True
    )
