"""Steps on fragments that scorers share.

Shape letters: N items, F fragments per item, D width, I images, T captions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from harness.errors import InvalidFragments
from harness.fragments import Fragments
from harness.similarity.reductions import precise

#: Whether an image's first fragment is a [CLS]; auto: as the image encoder says.
ClassToken = Literal["auto", "present", "absent"]


def zero_padded(fragments: Fragments) -> Tensor:
    """Features (N, F, D) with 0 at the padding, whose values are arbitrary and could overflow."""
    return fragments.features.masked_fill(~fragments.mask[..., None], 0)


def clean(fragments: Fragments) -> Tensor:
    """Features (N, F, D), at least float32, with 0 at the padding."""
    return precise(zero_padded(fragments))


def mean_of_real(features: Tensor, mask: Tensor) -> Tensor:
    """Mean (N, D) of the real fragments; `features` (N, F, D) are 0 at the padding, `mask` (N, F) is bool.

    >>> mean_of_real(torch.tensor([[[2.0], [4.0], [0.0]]]), torch.tensor([[True, True, False]]))
    tensor([[3.]])
    """
    return features.sum(1) / mask.sum(1, keepdim=True)


def last_of_real(features: Tensor, mask: Tensor) -> Tensor:
    """The last real fragment (N, D) of `features` (N, F, D) under `mask` (N, F).

    >>> last_of_real(torch.tensor([[[2.0], [4.0], [0.0]]]), torch.tensor([[True, True, False]]))
    tensor([[4.]])
    """
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)
    return features[torch.arange(len(features), device=features.device), last]


def has_class_token(said: ClassToken, image_encoder: nn.Module | None) -> bool:
    """Whether an image's first fragment is a [CLS], from a config's word on it and the encoder's `class_tokens`."""
    return said == "present" or (said == "auto" and getattr(image_encoder, "class_tokens", 0) > 0)


def without_class_token(mask: Tensor) -> Tensor:
    """The mask (N, F) of the fragments that are places in the image; an image of nothing but a [CLS] keeps it.

    >>> without_class_token(torch.tensor([[True, True], [True, False]])).tolist()
    [[False, True], [True, False]]
    """
    rest = mask.clone()
    rest[:, :1] = False
    return torch.where(rest.any(1, keepdim=True), rest, mask)


def check_widths(images: Fragments, texts: Fragments) -> None:
    """Refuse sides of different width D.

    Raises:
        InvalidFragments: they differ.
    """
    if images.width != texts.width:
        raise InvalidFragments(
            f"images have width {images.width} and captions {texts.width}; both sides must have one width D"
        )
