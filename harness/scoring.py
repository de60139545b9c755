"""Scoring many images against many captions in blocks, under a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.errors import InvalidFragments, InvalidSimilarity
from harness.fragments import Fragments
from harness.memory import default_budget
from harness.scorer import Scorer

#: Called with the number of finished pairs and the number of all pairs.
Progress = Callable[[int, int], None]
#: Token-similarity-sized float32 tensors that a scorer's plain `score` is expected to hold at once.
WORKING_COPIES = 8


def similarity_matrix(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    *,
    memory_budget: int | None = None,
    image_block: int | None = None,
    text_block: int | None = None,
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
        progress: called after each block with the finished and the total number of pairs.

    Returns:
        (I, T) float32 on the CPU, higher is better.

    Raises:
        InvalidFragments: a side is empty, or the sides differ in width.
        InvalidSimilarity: the scorer returned another shape, or a value that is not finite.
    """
    result = torch.empty(len(images), len(texts), dtype=torch.float32)
    done = 0
    with evaluating(scorer):
        for rows, columns, block in score_blocks(scorer, images, texts, memory_budget, image_block, text_block):
            result[rows, columns] = block
            done += block.numel()
            if progress is not None:
                progress(done, result.numel())
    return result


def score_blocks(
    scorer: Scorer,
    images: Fragments,
    texts: Fragments,
    memory_budget: int | None = None,
    image_block: int | None = None,
    text_block: int | None = None,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of the similarity matrix as (image rows, caption columns, scores (i, t) float32), each checked."""
    _check_sides(images, texts)
    device = scorer.device
    default_rows, default_columns = _block_sizes(images, texts, memory_budget or default_budget(device))
    rows_a_block, columns_a_block = image_block or default_rows, text_block or default_columns
    for columns in _slices(len(texts), columns_a_block):
        some_texts = texts[columns].trimmed().to(device)
        for rows in _slices(len(images), rows_a_block):
            some_images = images[rows].to(device)
            block = scorer.score(some_images, some_texts)
            _check_block(scorer, block, rows, columns)
            yield rows, columns, block.to("cpu", torch.float32)


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


def _check_sides(images: Fragments, texts: Fragments) -> None:
    for what, side in (("images", images), ("captions", texts)):
        if not len(side):
            raise InvalidFragments(f"there are no {what} to score; at least one is needed")
    if images.width != texts.width:
        raise InvalidFragments(
            f"images have width {images.width} and captions {texts.width}; both sides must have one width D"
        )


def _check_block(scorer: Scorer, block: Tensor, rows: slice, columns: slice) -> None:
    name, expected = type(scorer).__name__, (rows.stop - rows.start, columns.stop - columns.start)
    if not isinstance(block, Tensor) or tuple(block.shape) != expected:
        got = tuple(block.shape) if isinstance(block, Tensor) else type(block).__name__
        raise InvalidSimilarity(
            f"{name}.score returned {got} for {expected[0]} images and {expected[1]} captions; "
            f"expected shape {expected}"
        )
    if not bool(torch.isfinite(block).all()):
        row, column = (int(i) for i in (~torch.isfinite(block)).nonzero()[0])
        raise InvalidSimilarity(
            f"{name}.score returned {float(block[row, column])} for image {rows.start + row} and caption "
            f"{columns.start + column}; scores must be finite, mend the scorer or its inputs"
        )


def _block_sizes(images: Fragments, texts: Fragments, budget: int) -> tuple[int, int]:
    """Images and captions a block, so that `WORKING_COPIES` float32 token similarities stay within the budget."""
    pair = 4 * WORKING_COPIES * images.features.shape[1] * texts.features.shape[1]
    pairs = max(1, budget // pair)
    rows = max(1, min(len(images), 128, pairs))
    return rows, max(1, min(len(texts), 1024, pairs // rows))


def _slices(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
