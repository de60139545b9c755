"""Max-sim: each element of one side takes its best match on the other, then the elements are pooled.

Shape letters: I images, T captions, R regions, W words, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import InvalidFragments
from harness.similarity.pooling import NEGATIVE_INFINITY, Mean, Pooling


def max_sim(
    images: Tensor,
    image_mask: Tensor,
    texts: Tensor,
    text_mask: Tensor,
    *,
    direction: str = "t2i",
    pooling: Pooling | None = None,
) -> Tensor:
    """Similarity of every image with every caption by hard assignment.

    Args:
        images: (I, R, D) region vectors; unit vectors make the token similarity a cosine.
        image_mask: (I, R) bool, True = real; at least one an image.
        texts: (T, W, D) word vectors.
        text_mask: (T, W) bool.
        direction: "t2i" = the best region of each word, pooled over words; "i2t" = the best word of each region,
            pooled over regions.
        pooling: mean by default.

    Returns:
        (I, T), in the unit of the pooled token similarity.

    Raises:
        InvalidFragments: the sides differ in width.

    Source:
        Pan et al., CHAN, CVPR 2023, eq. 5-9; Yao et al., FILIP, ICLR 2022, eq. 4-5.
        Differs: padding is -inf in the maximum, where CHAN writes -1, a legal cosine.
    """
    pool = Mean() if pooling is None else pooling
    similarity = token_similarity(images, image_mask, texts, text_mask)
    regions, words = image_mask[:, :, None, None], text_mask[None, None]
    if direction == "t2i":
        best = similarity.masked_fill(~regions, NEGATIVE_INFINITY).amax(1)
        return pool(best, 2, text_mask[None])
    best = similarity.masked_fill(~words, NEGATIVE_INFINITY).amax(3)
    return pool(best, 1, image_mask[:, :, None])


def token_similarity(images: Tensor, image_mask: Tensor, texts: Tensor, text_mask: Tensor) -> Tensor:
    """Dot products of all fragments, (I, R, T, W); 0 where either fragment is padding.

    Raises:
        InvalidFragments: the sides differ in width.
    """
    if images.shape[-1] != texts.shape[-1]:
        raise InvalidFragments(
            f"images have width {images.shape[-1]} and captions {texts.shape[-1]}; both sides must have one width D"
        )
    left = images.masked_fill(~image_mask[..., None], 0).flatten(0, 1)
    right = texts.masked_fill(~text_mask[..., None], 0).flatten(0, 1)
    return torch.mm(left, right.T).view(*image_mask.shape, *text_mask.shape)
