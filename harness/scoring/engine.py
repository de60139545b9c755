"""Scoring many images against many captions in blocks, under a memory budget.

Two routes lead to the same numbers. A scorer that offers a `packed_form` is scored by `harness.similarity.packed.engine`:
ragged captions in exact-length buckets, one matrix product a tile. Any other scorer's `score` is called on padded blocks.

Equal images and equal captions are scored once and copied, so their scores are equal to the last bit, by either route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring.memory import default_budget
from harness.similarity.distinct import Distinct, distinct
from harness.similarity.packed import products
from harness.similarity.packed.engine import PackedSide, Plan, TileSize, pack_images, pack_texts, packed_scores
from harness.similarity.packed.kernels import PackedForm, RowTransform

#: Called with the number of finished pairs and the number of all pairs.
Progress = Callable[[int, int], None]
#: Token-similarity-sized float32 tensors that a scorer's plain `score` is expected to hold at once.
WORKING_COPIES = 8
#: Fragments of a tile's two sides. A processor wants tiles that stay in its cache, a GPU large products.
TILES = {"cpu": TileSize(576, 4096), "cuda": TileSize(65536, 65536)}
#: Images and captions of the largest block of the similarity matrix that is computed at once.
LARGEST_BLOCK = (1024, 4096)
#: The same where the whole matrix stays on a GPU: each block costs some milliseconds of packing.
LARGEST_BLOCK_KEPT = (16384, 65536)
#: Values that a kernel has reduced and not yet finished, and float32 tensors of their size that finishing them takes.
WAITING_VALUES, FINISHING_COPIES = {"cpu": 2**21, "cuda": 2**28}, 4
#: Images and captions that the plain route hands to `score` at least, where there are as many, whatever the budget: of
#: fewer, matrix libraries add in another order, and the size of a block would show in the last bit.
SMALLEST_CALL = (16, 16)
#: Items of a packed form's row transform, which are always the same ones.
TRANSFORMED = 128
#: Times that a packed side is held: as it was, in the order of the product, and prepared for it.
PACKED_COPIES = 3


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of some images with some captions.

    Args:
        images: (i,) int64 image rows.
        texts: (t,) int64 caption columns.
        scores: (i, t) float32, finite, on the scorer's device.
    """

    images: Tensor
    texts: Tensor
    scores: Tensor


def similarity_matrix(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    *,
    memory_budget: int | None = None,
    image_block: int | None = None,
    text_block: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Tensor:
    """Similarity of every image with every caption: the same numbers as one `scorer.score` call, in blocks.

    The scorer is put in evaluation mode meanwhile and no graph is kept. Images (captions) with equal real fragments and
    extras get equal scores, to the bit. On a CPU a packed scorer's score depends on its image and caption alone; by the
    plain route and on a GPU its last bits may depend on the sizes of blocks (see docs/scoring.md).

    Args:
        scorer: any scorer; its device is where the blocks are computed.
        images: I images, as `encode_images` or `prepare_images` returns them.
        texts: T captions, likewise.
        memory_budget: bytes that a block's intermediate results may take; default a quarter of the free memory.
        image_block: images a block; default from the budget.
        text_block: captions a block; default from the budget.
        dtype: of the operands of a packed scorer's product (float32, bfloat16, float16; sums stay in float32); None =
            that of the features. The plain route ignores it.
        device: where the matrix is kept.
        progress: called after each block with the finished and the total number of pairs.

    Returns:
        (I, T) float32 on `device`, higher is better.

    Raises:
        InvalidFragments: a side is empty, or the sides differ in width.
        InvalidSimilarity: the scorer returned another shape, or a value that is not finite.
    """
    computing = _device(scorer, images)
    # Blocks come in an order of their own; a GPU sorts them in a hundredth of the time that a processor needs.
    keeps = _fits(4 * len(images) * len(texts), computing, memory_budget)
    sorting = computing if keeps else torch.device(device)
    result = torch.empty(len(images), len(texts), dtype=torch.float32, device=sorting)
    done = 0
    blocks = score_blocks(
        scorer,
        images,
        texts,
        memory_budget=memory_budget,
        image_block=image_block,
        text_block=text_block,
        dtype=dtype,
        largest_block=LARGEST_BLOCK_KEPT if keeps else LARGEST_BLOCK,
    )
    for block in blocks:
        rows, columns = block.images.to(sorting), block.texts.to(sorting)
        result[rows[:, None], columns] = block.scores.to(sorting)
        done += block.scores.numel()
        if progress is not None:
            progress(done, result.numel())
    return result.to(device)


def score_blocks(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    *,
    memory_budget: int | None = None,
    image_block: int | None = None,
    text_block: int | None = None,
    dtype: torch.dtype | None = None,
    largest_block: tuple[int, int] = LARGEST_BLOCK,
    pairs: tuple[Tensor, Tensor] | None = None,
) -> Iterator[ScoreBlock]:
    """The similarity matrix in blocks that cover every pair once; arguments and errors as `similarity_matrix`.

    Args:
        scorer, images, texts, memory_budget, image_block, text_block, dtype: as there.
        largest_block: images and captions that a block has at most where its size follows from the budget.
        pairs: image rows and caption columns, (n,) each, on the CPU: blocks that hold none of them are left out.
    """
    _check_sides(images, texts)
    _check_positive(memory_budget=memory_budget, image_block=image_block, text_block=text_block)
    device = _device(scorer, images)
    budget = memory_budget or default_budget(device)
    form = packed_form(scorer)
    left, right = distinct(images), distinct(texts)
    some_images, some_texts = _first_of(left, images), _first_of(right, texts)
    wanted = _Wanted(pairs, left, right)
    with evaluating(scorer):
        if form is None:
            sizes = _plain_block_sizes(some_images, some_texts, budget)
            rows, columns = image_block or sizes[0], text_block or sizes[1]
            blocks = _plain_blocks(scorer, some_images, some_texts, rows, columns, wanted)
        else:
            sizes = _packed_block_sizes(some_images, some_texts, budget, largest_block)
            rows, columns = image_block or sizes[0], text_block or sizes[1]
            plan = _plan(form, some_images, some_texts, budget, dtype, device)
            blocks = _packed_blocks(scorer, plan, some_images, some_texts, rows, columns, wanted)
        for block in blocks:
            for copy in _copied(block, left, right, rows, columns):
                _check_finite(scorer, copy)
                yield copy


def _first_of(found: Distinct, side: Fragments) -> Fragments:
    return side[found.first.to(side.device)] if found.repeats else side


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Which blocks are asked for: those with one of some pairs, or all."""

    pairs: tuple[Tensor, Tensor] | None
    left: Distinct
    right: Distinct

    def __call__(self, images: Tensor, texts: Tensor) -> bool:
        """Of a block of distinct images (i,) and captions (t,)."""
        if self.pairs is None:
            return True
        rows, columns = self.left.copy_of[self.pairs[0]], self.right.copy_of[self.pairs[1]]
        return bool((torch.isin(rows, images.cpu()) & torch.isin(columns, texts.cpu())).any())


def _copied(block: ScoreBlock, left: Distinct, right: Distinct, rows: int, columns: int) -> Iterator[ScoreBlock]:
    """A block of distinct items as blocks of all items that equal them, no larger than asked for."""
    if not (left.repeats or right.repeats):
        yield block
        return
    images, row = left.copies(block.images)
    texts, column = right.copies(block.texts)
    for some_texts, of_texts in zip(texts.split(columns), column.split(columns), strict=True):
        for some_images, of_images in zip(images.split(rows), row.split(rows), strict=True):
            at = of_images.to(block.scores.device)[:, None], of_texts.to(block.scores.device)
            yield ScoreBlock(some_images, some_texts, block.scores[at])


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


def depends_on_the_pair_alone(scorer: Scorer, images: Fragments) -> bool:
    """Whether a score's bits are those of its image and caption, whatever the block: packed, untransformed, on a CPU."""
    form = packed_form(scorer)
    untransformed = form is not None and form.image_rows is None and form.text_rows is None
    return untransformed and _device(scorer, images).type == "cpu"


def product_backends() -> dict[str, dict[str, Any]]:
    """Which matrix-product backend this process has taken for each kind of operand, and what was measured."""
    return products.chosen()


@contextmanager
def evaluating(scorer: Scorer) -> Iterator[None]:
    """Evaluation mode without gradients; each submodule's mode is restored afterwards."""
    modes = [(module, module.training) for module in scorer.modules()]
    scorer.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _plan(
    form: PackedForm, images: Fragments, texts: Fragments, budget: int, dtype: torch.dtype | None, device: torch.device
) -> Plan:
    longest = [int(side.lengths.max()) for side in (images, texts)]
    form = form.on(device, dtype or images.features.dtype, *longest)
    waiting = WAITING_VALUES.get(device.type, WAITING_VALUES["cuda"])
    return Plan(
        form,
        _tile_size(form, budget, device),
        max(1, min(waiting, budget // (3 * 4 * FINISHING_COPIES))),
        dtype,
        work=2.0 * float(images.lengths.sum()) * float(texts.lengths.sum()) * images.width,
    )


def _packed_blocks(
    scorer: Scorer, plan: Plan, images: Fragments, texts: Fragments, rows: int, columns: int, wanted: _Wanted
) -> Iterator[ScoreBlock]:
    device = _device(scorer, images)
    # Captions of similar length share a block, so that its buckets are full.
    image_order, text_order = (side.lengths.argsort(stable=True) for side in (images, texts))
    for text_part in _slices(len(texts), columns):
        right = None
        for image_part in _slices(len(images), rows):
            if wanted(image_order[image_part], text_order[text_part]):
                right = right or _packed_side(plan, texts, text_order, text_part, device, pack_texts)
                yield _packed_block(
                    plan, _packed_side(plan, images, image_order, image_part, device, pack_images), right
                )


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _packed_block(plan: Plan, left: _Side, right: _Side) -> ScoreBlock:
    with _operands_as_they_are(left.packed.items.device):
        scores = packed_scores(plan, left.packed, right.packed)
    return ScoreBlock(left.original, right.original, scores)


def _operands_as_they_are(device: torch.device) -> torch.autocast:
    """No autocast: the engine is told the type of the operands."""
    return torch.autocast(device.type, enabled=False)


@dataclass(frozen=True, eq=False)
class _Side:
    """Packed items of one side.

    Args:
        packed: from the fragments that the caller gave, or from a transformed or moved copy.
        original: rows of the fragments that the caller gave, on the CPU, in the order of the packing.
    """

    packed: PackedSide
    original: Tensor


def _packed_side(
    plan: Plan,
    fragments: Fragments,
    order: Tensor,
    part: slice,
    device: torch.device,
    pack: Callable[[Plan, Fragments, Tensor], PackedSide],
) -> _Side:
    """Some of the items, which stand in `order`."""
    transform, items = plan.form.text_rows if pack is pack_texts else plan.form.image_rows, order[part]
    with _operands_as_they_are(device):
        if transform is None and fragments.device == device:
            packed = pack(plan, fragments, items)
            return _Side(packed, packed.items.cpu())
        copy = (
            fragments[items].to(device)
            if transform is None
            else _transformed(transform, fragments, order, part, device)
        )
        packed = pack(plan, copy, torch.arange(len(items), device=device))
        return _Side(packed, items.cpu()[packed.items.cpu()])


def _transformed(
    transform: RowTransform, fragments: Fragments, order: Tensor, part: slice, device: torch.device
) -> Fragments:
    """Some of the items after the transform, which reads the same items together whatever the block.

    A network's last bits may depend on how many items it reads.
    """
    first = part.start - part.start % TRANSFORMED
    batches = [
        transform(fragments[order[batch]].to(device))
        for batch in _slices(len(order), TRANSFORMED)
        if batch.stop > first and batch.start < part.stop
    ]
    return Fragments.cat(batches)[part.start - first : part.stop - first]


def _plain_blocks(
    scorer: Scorer, images: Fragments, texts: Fragments, rows: int, columns: int, wanted: _Wanted
) -> Iterator[ScoreBlock]:
    device, texts = _device(scorer, images), texts.trimmed()
    for text_part, text_call in _calls(len(texts), columns, SMALLEST_CALL[1]):
        right = None
        for image_part, image_call in _calls(len(images), rows, SMALLEST_CALL[0]):
            some_images, some_texts = torch.arange(len(images))[image_part], torch.arange(len(texts))[text_part]
            if not wanted(some_images, some_texts):
                continue
            left, right = images[image_call].to(device), right or texts[text_call].to(device)
            scores = scorer.score(left, right)
            _check_shape(scorer, scores, len(left), len(right))
            row, column = image_part.start - image_call.start, text_part.start - text_call.start
            own = scores[row : row + len(some_images), column : column + len(some_texts)]
            yield ScoreBlock(some_images, some_texts, own.float())


def _calls(count: int, size: int, smallest: int) -> Iterator[tuple[slice, slice]]:
    """Parts of `count` items of at most `size`, all of nearly one size, and the items that each is scored among."""
    parts = -(-count // size)
    for part in range(parts):
        start, stop = count * part // parts, count * (part + 1) // parts
        first = max(0, min(start, count - smallest))
        yield slice(start, stop), slice(first, max(stop, min(count, first + smallest)))


def _check_sides(images: Fragments, texts: Fragments) -> None:
    for what, side in (("images", images), ("captions", texts)):
        if not len(side):
            raise InvalidFragments(f"there are no {what} to score; at least one is needed")
    if images.width != texts.width:
        raise InvalidFragments(
            f"images have width {images.width} and captions {texts.width}; both sides must have one width D"
        )


def _check_positive(**limits: int | None) -> None:
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the default")


def _check_shape(scorer: Scorer, scores: Any, images: int, texts: int) -> None:
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (images, texts):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InvalidSimilarity(
            f"{type(scorer).__name__}.score returned {got} for {images} images and {texts} captions; "
            f"expected a tensor of shape {(images, texts)}"
        )


def _check_finite(scorer: Scorer, block: ScoreBlock) -> None:
    finite = torch.isfinite(block.scores)
    if bool(finite.all()):
        return
    row, column = (int(i) for i in (~finite).nonzero()[0])
    raise InvalidSimilarity(
        f"{type(scorer).__name__}.score returned {float(block.scores[row, column])} for image {int(block.images[row])} "
        f"and caption {int(block.texts[column])}; scores must be finite; fix the scorer or its inputs"
    )


def _device(scorer: Scorer, images: Fragments) -> torch.device:
    """The scorer's device; for a scorer without parameters, that of the fragments."""
    return scorer.device if next(scorer.parameters(), None) is not None else images.device


def _plain_block_sizes(images: Fragments, texts: Fragments, budget: int) -> tuple[int, int]:
    """Images and captions a block, so that `WORKING_COPIES` float32 token similarities stay within the budget."""
    pair = 4 * WORKING_COPIES * images.features.shape[1] * texts.features.shape[1]
    pairs = max(1, budget // pair)
    # No fewer captions than a call takes anyway.
    rows = max(1, min(len(images), 128, pairs // min(len(texts), SMALLEST_CALL[1])))
    return rows, max(1, min(len(texts), 1024, pairs // rows))


def _packed_block_sizes(images: Fragments, texts: Fragments, budget: int, largest: tuple[int, int]) -> tuple[int, int]:
    """Images and captions a block: the packed copies of each side and the scores take a third of the budget each."""
    third = budget // 3

    def items(side: Fragments, most: int) -> int:
        return max(1, min(len(side), most, third // (PACKED_COPIES * 4 * side.features.shape[1] * side.width)))

    rows, columns = items(images, largest[0]), items(texts, largest[1])
    return rows, max(1, min(columns, third // (4 * rows)))


def _tile_size(form: PackedForm, budget: int, device: torch.device) -> TileSize:
    """The device's usual tile, halved until a kernel's working tensors fit a third of the budget."""
    usual = TILES.get(device.type, TILES["cuda"])
    copies = max(kernel.tiles_in_use for _, kernel in form.terms)
    rows, columns = usual.rows, usual.columns
    while 4 * copies * rows * columns > budget // 3 and max(rows, columns) > 1:
        rows, columns = (rows, columns // 2) if columns >= rows else (rows // 2, columns)
    return TileSize(rows, columns)


def _fits(size: int, device: torch.device, budget: int | None) -> bool:
    """Whether `size` bytes are a small part of what may be taken of a GPU's memory."""
    return device.type == "cuda" and size <= (budget or default_budget(device)) // 3
