"""Steps on fragments that several baselines share.

Shape letters: N items, F fragments an item, D width, I images, T captions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import InvalidFragments
from harness.fragments import Fragments


def clean(fragments: Fragments) -> Tensor:
    """Features (N, F, D), at least float32, with 0 at the padding, whose values are arbitrary and could overflow."""
    features = fragments.features.masked_fill(~fragments.mask[..., None], 0)
    return features.to(torch.promote_types(features.dtype, torch.float32))


def mean_of_real(features: Tensor, mask: Tensor) -> Tensor:
    """Mean (N, D) of the real fragments; `features` (N, F, D) are 0 at the padding, `mask` (N, F) is bool."""
    return features.sum(1) / mask.sum(1, keepdim=True)


def global_fragment(vectors: Tensor, extras: dict[str, Tensor] | None = None) -> Fragments:
    """Vectors (N, D) as items of one fragment each."""
    return Fragments(vectors[:, None], vectors.new_ones(len(vectors), 1, dtype=torch.bool), extras or {})


def dot_products(images: Fragments, texts: Fragments) -> Tensor:
    """Dot products (I, T) of items that are one fragment each.

    Raises:
        InvalidFragments: the sides differ in D.
    """
    check_widths(images, texts)
    return images.features[:, 0] @ texts.features[:, 0].T


def check_widths(images: Fragments, texts: Fragments) -> None:
    """Refuse sides of different width D.

    Raises:
        InvalidFragments: they differ.
    """
    if images.width != texts.width:
        raise InvalidFragments(
            f"images have width {images.width} and captions {texts.width}; both sides must have one width D"
        )
