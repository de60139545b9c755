"""The plain route: any scorer's own `score`, called on padded blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from harness.errors import InvalidSimilarity
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring.blocks import ScoreBlock, device_of

#: Token-similarity-sized float32 tensors that a scorer's `score` is expected to hold at once.
WORKING_COPIES = 8
#: Images and captions that `score` gets at least, where there are as many, whatever the budget: of fewer, matrix
#: libraries add in another order, and the size of a block would show in the last bit.
SMALLEST_CALL = (16, 16)


def block_sizes(images: Fragments, texts: Fragments, budget: int) -> tuple[int, int]:
    """Images and captions per block, so that `WORKING_COPIES` float32 token similarities stay within the budget."""
    pairs = max(1, budget // (4 * WORKING_COPIES * images.features.shape[1] * texts.features.shape[1]))
    # No fewer captions than a call takes anyway.
    rows = max(1, min(len(images), 128, pairs // min(len(texts), SMALLEST_CALL[1])))
    return rows, max(1, min(len(texts), 1024, pairs // rows))


def plain_blocks(scorer: Scorer, images: Fragments, texts: Fragments, rows: int, columns: int) -> Iterator[ScoreBlock]:
    """All pairs, in blocks of at most `rows` images and `columns` captions.

    Raises:
        InvalidSimilarity: `score` returned another shape.
    """
    device, texts = device_of(scorer, images), texts.trimmed()
    for text_part, text_call in _calls(len(texts), columns, SMALLEST_CALL[1]):
        right = texts[text_call].to(device)
        for image_part, image_call in _calls(len(images), rows, SMALLEST_CALL[0]):
            left = images[image_call].to(device)
            scores = scorer.score(left, right)
            _check_shape(scorer, scores, len(left), len(right))
            own = scores[_within(image_part, image_call), _within(text_part, text_call)]
            yield ScoreBlock(torch.arange(len(images))[image_part], torch.arange(len(texts))[text_part], own.float())


def _calls(count: int, size: int, smallest: int) -> Iterator[tuple[slice, slice]]:
    """Parts of `count` items of at most `size`, all of nearly one size, and the items that each is scored among."""
    parts = -(-count // size)
    for part in range(parts):
        start, stop = count * part // parts, count * (part + 1) // parts
        first = max(0, min(start, count - smallest))
        yield slice(start, stop), slice(first, max(stop, min(count, first + smallest)))


def _within(part: slice, call: slice) -> slice:
    return slice(part.start - call.start, part.stop - call.start)


def _check_shape(scorer: Scorer, scores: Any, images: int, texts: int) -> None:
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (images, texts):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InvalidSimilarity(
            f"{type(scorer).__name__}.score returned {got} for {images} images and {texts} captions; "
            f"expected a tensor of shape {(images, texts)}"
        )
