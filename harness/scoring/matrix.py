"""Scoring many images against many captions in blocks, under a memory budget.

Two routes lead to the same numbers: packed, for a scorer that offers a `packed_form`, and plain, for any other. Equal
images and equal captions are scored once and copied, so their scores are equal to the last bit, by either route.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity
from harness.fragments import Fragments
from harness.machine.turnstile import pass_by
from harness.scorer import Scorer
from harness.scoring import packed, plain
from harness.scoring.blocks import ScoreBlock, device_of, evaluating
from harness.scoring.distinct import Distinct, distinct
from harness.scoring.memory import default_budget, empty_matrix
from harness.scoring.sides import Side
from harness.similarity.packed import products

#: Called with the number of finished pairs and the number of all pairs.
Progress = Callable[[int, int], None]


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

    >>> from harness.registry import create
    >>> one_each = Fragments(torch.eye(2)[:, None], torch.ones(2, 1, dtype=torch.bool))
    >>> similarity_matrix(create("vsepp"), one_each, one_each)
    tensor([[1., 0.],
            [0., 1.]])

    The scorer is put in evaluation mode meanwhile and no graph is kept. Images (captions) with equal real fragments and
    extras get equal scores, to the bit. On a CPU a packed scorer's score depends on its image and caption alone; by the
    plain route and on a GPU its last bits may depend on the sizes of blocks (see docs/scoring.md). A matrix that does not
    fit in main memory lies in a temporary file, mapped into memory (see `harness.scoring.memory.empty_matrix`).

    Args:
        scorer: any scorer; its device is where the blocks are computed.
        images: I images, as `encode_images` or `prepare_images` returns them.
        texts: T captions, likewise.
        memory_budget: bytes that a block's intermediate results may take; default a quarter of the free memory.
        image_block: images per block; default from the budget.
        text_block: captions per block; default from the budget.
        dtype: of the operands of a packed scorer's product (float32, bfloat16, float16; sums stay in float32); None =
            that of the features. The plain route ignores it.
        device: where the matrix is kept.
        progress: called after each block with the finished and the total number of pairs.

    Returns:
        (I, T) float32 on `device`, higher is better.

    Raises:
        InvalidFragments: a side is empty, or the sides differ in width.
        InvalidSimilarity: the scorer returned another shape, or a value that is not finite.
        ItmError: the matrix fits neither in memory nor on the disk of temporary files.
    """
    computing, wanted = device_of(scorer, images), torch.device(device)
    # Blocks come in an order of their own; a GPU sorts them in a hundredth of the time that a processor needs.
    keeps = _fits(4 * len(images) * len(texts), computing, memory_budget)
    sorting = computing if keeps else wanted
    result = empty_matrix(len(images), len(texts), sorting)
    done = 0
    blocks = score_blocks(
        scorer,
        images,
        texts,
        memory_budget=memory_budget,
        image_block=image_block,
        text_block=text_block,
        dtype=dtype,
        largest_block=packed.LARGEST_BLOCK_KEPT if keeps else packed.LARGEST_BLOCK,
    )
    for block in blocks:
        rows, columns = block.images.to(sorting), block.texts.to(sorting)
        result[rows[:, None], columns] = block.scores.to(sorting)
        done += block.scores.numel()
        if progress is not None:
            progress(done, result.numel())
    return result if sorting == wanted else empty_matrix(len(images), len(texts), wanted).copy_(result)


def score_blocks(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    *,
    memory_budget: int | None = None,
    image_block: int | None = None,
    text_block: int | None = None,
    dtype: torch.dtype | None = None,
    largest_block: tuple[int, int] = packed.LARGEST_BLOCK,
) -> Iterator[ScoreBlock]:
    """The similarity matrix in blocks that cover every pair once; arguments and errors as `similarity_matrix`.

    Args:
        scorer, images, texts, memory_budget, image_block, text_block, dtype: as there.
        largest_block: images and captions that a block has at most where its size follows from the budget.
    """
    check_sides(images, texts)
    _check_positive(memory_budget=memory_budget, image_block=image_block, text_block=text_block)
    left, right = distinct(images), distinct(texts)
    limits = Limits(memory_budget or default_budget(device_of(scorer, images)), image_block, text_block, largest_block)
    with evaluating(scorer):
        for block, rows, columns in distinct_blocks(
            scorer, _first_of(left, images), _first_of(right, texts), limits, dtype
        ):
            for copy in copied(block, left, right, rows, columns):
                check_finite(scorer, copy)
                yield copy


@dataclass(frozen=True)
class Limits:
    """What bounds a block.

    Args:
        budget: bytes of its intermediate results.
        images, texts: items per block; None = from the budget.
        largest: images and captions that a block has at most where its size follows from the budget.
    """

    budget: int
    images: int | None = None
    texts: int | None = None
    largest: tuple[int, int] = packed.LARGEST_BLOCK


def distinct_blocks(
    scorer: Scorer, images: Fragments, texts: Fragments, limits: Limits, dtype: torch.dtype | None
) -> Iterator[tuple[ScoreBlock, int, int]]:
    """All pairs of items that are distinct already, unchecked, and the images and captions that a block may have.

    The scorer is in evaluation mode.
    """
    device, form = device_of(scorer, images), packed.packed_form(scorer)
    if form is None:
        sizes = plain.block_sizes(images, texts, limits.budget)
        rows, columns = limits.images or sizes[0], limits.texts or sizes[1]
        blocks = plain.plain_blocks(scorer, images, texts, rows, columns)
    else:
        sizes = packed.block_sizes(images, texts, limits.budget, limits.largest)
        rows, columns = limits.images or sizes[0], limits.texts or sizes[1]
        plan = packed.plan_for(form, images, texts, limits.budget, dtype, device)
        blocks = packed.packed_blocks(plan, images, texts, rows, columns, device)
    for block in blocks:
        pass_by()
        yield block, rows, columns


def product_backends() -> dict[str, dict[str, Any]]:
    """Which matrix-product backend this process has taken for each kind of operand, and what was measured."""
    return products.chosen()


def _first_of(found: Distinct, side: Fragments) -> Fragments:
    return side[found.first.to(side.device)] if found.repeats else side


def copied(block: ScoreBlock, left: Distinct, right: Distinct, rows: int, columns: int) -> Iterator[ScoreBlock]:
    """A block of distinct items as blocks of all items that equal them, no larger than asked for."""
    if left.as_given and right.as_given:
        yield block
        return
    images, row = left.copies(block.images)
    texts, column = right.copies(block.texts)
    for some_texts, of_texts in zip(texts.split(columns), column.split(columns), strict=True):
        for some_images, of_images in zip(images.split(rows), row.split(rows), strict=True):
            at = of_images.to(block.scores.device)[:, None], of_texts.to(block.scores.device)
            yield ScoreBlock(some_images, some_texts, block.scores[at])


def check_sides(images: Fragments | Side, texts: Fragments | Side) -> Fragments:
    """Refuse sides that cannot be scored; gives the first image.

    Raises:
        InvalidFragments: a side is empty, or the sides differ in width.
    """
    for what, side in (("images", images), ("captions", texts)):
        if not len(side):
            raise InvalidFragments(f"there are no {what} to score; at least one is needed")
    first, other = ((side[:1] if isinstance(side, Fragments) else side.read(slice(0, 1))) for side in (images, texts))
    if first.width != other.width:
        raise InvalidFragments(
            f"images have width {first.width} and captions {other.width}; both sides must have one width D"
        )
    return first


def _check_positive(**limits: int | None) -> None:
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the default")


def check_finite(scorer: Scorer, block: ScoreBlock) -> None:
    """Refuse a block with a score that cannot be ranked.

    Raises:
        InvalidSimilarity: naming the first such score.
    """
    finite = torch.isfinite(block.scores)
    if bool(finite.all()):
        return
    row, column = (int(i) for i in (~finite).nonzero()[0])
    raise InvalidSimilarity(
        f"{type(scorer).__name__}.score returned {float(block.scores[row, column])} for image {int(block.images[row])} "
        f"and caption {int(block.texts[column])}; scores must be finite; fix the scorer or its inputs"
    )


def _fits(size: int, device: torch.device, budget: int | None) -> bool:
    """Whether `size` bytes are a small part of what may be taken of a GPU's memory."""
    return device.type == "cuda" and size <= (budget or default_budget(device)) // 3
