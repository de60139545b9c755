"""Galleries of any size: real fragments resampled with a little noise.

A test split rarely holds 100,000 images. What a gallery costs depends on how many items it has and how many fragments
each, hardly on their values: so items are drawn from the test split with replacement, with their own numbers of
fragments, and moved a little, so that none ties with another. No accuracy is ever read from such a gallery.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.fragments import Fragments

#: Root mean square of the noise, as a share of the features'.
NOISE = 0.02
_AT_ONCE = 2048


def resampled(items: Fragments, size: int, seed: int = 0) -> Fragments:
    """A gallery of `size` items.

    Args:
        items: N real ones; the first min(N, size) of the gallery are these, unchanged.
        size: items wanted.
        seed: of the drawing and of the noise.

    Returns:
        Fragments (size, F, D) on the same device; each fragment keeps its norm; extras are those of the drawn items.
    """
    if size <= len(items):
        return items[:size]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(items), (size - len(items),), generator=generator)
    rows = torch.cat([torch.arange(len(items)), drawn]).to(items.device)
    features = items.features[rows]
    scale = NOISE * float(items.features[items.mask].pow(2).mean().sqrt())
    bank = torch.randn(min(_AT_ONCE, len(drawn)), *features.shape[1:], generator=generator) * scale
    bank = bank.to(items.device, features.dtype)
    for start in range(len(items), size, _AT_ONCE):
        block = features[start : start + _AT_ONCE]
        # The bank is rolled by another odd number each time: no two blocks add the same noise to the same place.
        _disturb(block, bank.roll(2 * (start // _AT_ONCE) + 1, 0)[: len(block)])
    return Fragments(features, items.mask[rows], {name: extra[rows] for name, extra in items.extras.items()})


def bytes_an_item(items: Fragments) -> float:
    """Memory of one item of a gallery made from these."""
    kept = [items.features, items.mask, *items.extras.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept) / len(items)


def _disturb(block: Tensor, noise: Tensor) -> None:
    """Add noise in place; norms stay, and zero vectors (padding) too."""
    norm = block.norm(dim=-1, keepdim=True)
    block.add_(noise)
    block.mul_(norm / block.norm(dim=-1, keepdim=True).clamp(min=1e-12))
