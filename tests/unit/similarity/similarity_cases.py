"""Random ragged fragments for the property tests: gaps in masks, one-word captions, duplicate regions, junk in padding."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from harness.fragments import Fragments


def ragged(
    seed: int, items: int, longest: int, width: int, *, duplicates: bool = False, junk: float = 50.0
) -> Fragments:
    """Unit vectors with a random mask (not a prefix) and large finite values at the padding."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    mask = torch.rand(items, longest, generator=generator) < torch.rand(items, 1, generator=generator)
    mask[torch.arange(items), torch.randint(longest, (items,), generator=generator)] = True
    if duplicates:
        half = longest // 2
        features[:, :half] = features[:, longest - half :].clone()
    noise = junk * torch.randn(items, longest, width, generator=generator)
    return Fragments(torch.where(mask[..., None], features, noise), mask)


@st.composite
def sides(draw) -> tuple[Fragments, Fragments]:
    """Images and captions of one width."""
    width = draw(st.sampled_from([1, 3, 16]))
    seed = draw(st.integers(0, 2**16))
    images = ragged(seed, draw(st.integers(1, 6)), draw(st.integers(1, 7)), width, duplicates=draw(st.booleans()))
    texts = ragged(seed + 1, draw(st.integers(1, 8)), draw(st.sampled_from([1, 2, 5, 9])), width)
    return images, texts
