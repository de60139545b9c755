"""Synthetic unit vectors with caption lengths like Flickr8k's (mean 11.7, at most 33)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from harness.fragments import Fragments

LONGEST_CAPTION = 33
MEAN_LENGTH, SPREAD = 11.7, 3.8


@dataclass(frozen=True)
class Size:
    """Extent of a scoring problem: I images of R regions, T captions, width D."""

    images: int
    texts: int
    regions: int
    width: int

    def __str__(self) -> str:
        return f"{self.images} x {self.texts}, R={self.regions}, D={self.width}"


def make(
    size: Size, seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Fragments, Fragments]:
    """Images and captions of random unit vectors."""
    generator = torch.Generator(device).manual_seed(seed)

    def vectors(items: int, fragments: int) -> torch.Tensor:
        drawn = torch.randn(items, fragments, size.width, generator=generator, device=device)
        return F.normalize(drawn, dim=-1).to(dtype)

    images = vectors(size.images, size.regions)
    drawn = torch.randn(size.texts, generator=generator, device=device)
    lengths = (MEAN_LENGTH + SPREAD * drawn).round().clamp(2, LONGEST_CAPTION)
    words = vectors(size.texts, LONGEST_CAPTION)
    mask = torch.arange(LONGEST_CAPTION, device=device)[None] < lengths[:, None]
    return Fragments(images, torch.ones(images.shape[:2], dtype=torch.bool, device=device)), Fragments(words, mask)
