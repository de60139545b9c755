"""Scoring many images against many captions in blocks, under a memory budget.

Two routes lead to the same numbers. A scorer that offers a `packed_form` is scored by `harness.similarity.packed`:
ragged captions in exact-length buckets, one matrix product a tile. Any other scorer's `score` is called on padded blocks.
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
from harness.memory import default_budget
from harness.scorer import Scorer
from harness.similarity import products
from harness.similarity.kernels import PackedForm
from harness.similarity.packed import PackedSide, Plan, TileSize, pack_images, pack_texts, packed_scores

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

    The scorer is put in evaluation mode meanwhile and no graph is kept.

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
) -> Iterator[ScoreBlock]:
    """The similarity matrix in blocks that cover every pair once; arguments and errors as `similarity_matrix`.

    `largest_block`: images and captions that a block has at most where its size follows from the budget.
    """
    _check_sides(images, texts)
    _check_positive(memory_budget=memory_budget, image_block=image_block, text_block=text_block)
    budget = memory_budget or default_budget(_device(scorer, images))
    form = packed_form(scorer)
    with evaluating(scorer):
        if form is None:
            yield from _plain_blocks(scorer, images, texts, budget, image_block, text_block)
        else:
            plan = _plan(form, images, texts, budget, dtype, _device(scorer, images))
            rows, columns = _packed_block_sizes(images, texts, budget, largest_block)
            yield from _packed_blocks(scorer, plan, images, texts, image_block or rows, text_block or columns)


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
    scorer: Scorer, plan: Plan, images: Fragments, texts: Fragments, rows: int, columns: int
) -> Iterator[ScoreBlock]:
    device = _device(scorer, images)
    # Captions of similar length share a block, so that its buckets are full.
    for some_texts in texts.lengths.argsort(stable=True).split(columns):
        right = _packed_side(plan, texts, some_texts, device, pack_texts)
        for some_images in images.lengths.argsort(stable=True).split(rows):
            yield _packed_block(scorer, plan, _packed_side(plan, images, some_images, device, pack_images), right)


def _packed_block(scorer: Scorer, plan: Plan, left: _Side, right: _Side) -> ScoreBlock:
    with _operands_as_they_are(left.packed.items.device):
        scores = packed_scores(plan, left.packed, right.packed)
    block = ScoreBlock(left.original, right.original, scores)
    _check_finite(scorer, block)
    return block


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
    items: Tensor,
    device: torch.device,
    pack: Callable[[Plan, Fragments, Tensor], PackedSide],
) -> _Side:
    transform = plan.form.text_rows if pack is pack_texts else plan.form.image_rows
    with _operands_as_they_are(device):
        if transform is None and fragments.device == device:
            packed = pack(plan, fragments, items)
            return _Side(packed, packed.items.cpu())
        copy = fragments[items].to(device)
        copy = copy if transform is None else transform(copy)
        packed = pack(plan, copy, torch.arange(len(items), device=device))
        return _Side(packed, items.cpu()[packed.items.cpu()])


def _plain_blocks(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    budget: int,
    image_block: int | None,
    text_block: int | None,
) -> Iterator[ScoreBlock]:
    device = _device(scorer, images)
    rows, columns = _plain_block_sizes(images, texts, budget)
    image_indices, text_indices = torch.arange(len(images)), torch.arange(len(texts))
    for some_texts in text_indices.split(text_block or columns):
        right = texts[_as_slice(some_texts)].trimmed().to(device)
        for some_images in image_indices.split(image_block or rows):
            scores = scorer.score(images[_as_slice(some_images)].to(device), right)
            _check_shape(scorer, scores, len(some_images), len(some_texts))
            block = ScoreBlock(some_images, some_texts, scores.float())
            _check_finite(scorer, block)
            yield block


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
        f"and caption {int(block.texts[column])}; scores must be finite, mend the scorer or its inputs"
    )


def _device(scorer: Scorer, images: Fragments) -> torch.device:
    """The scorer's device; for a scorer without parameters, that of the fragments."""
    return scorer.device if next(scorer.parameters(), None) is not None else images.device


def _plain_block_sizes(images: Fragments, texts: Fragments, budget: int) -> tuple[int, int]:
    """Images and captions a block, so that `WORKING_COPIES` float32 token similarities stay within the budget."""
    pair = 4 * WORKING_COPIES * images.features.shape[1] * texts.features.shape[1]
    pairs = max(1, budget // pair)
    rows = max(1, min(len(images), 128, pairs))
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


def _as_slice(indices: Tensor) -> slice:
    return slice(int(indices[0]), int(indices[-1]) + 1)
