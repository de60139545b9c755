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


def make(size: Size, seed: int = 0) -> tuple[Fragments, Fragments]:
    """Images and captions of random unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    images = F.normalize(torch.randn(size.images, size.regions, size.width, generator=generator), dim=-1)
    lengths = (MEAN_LENGTH + SPREAD * torch.randn(size.texts, generator=generator)).round().clamp(2, LONGEST_CAPTION)
    words = F.normalize(torch.randn(size.texts, LONGEST_CAPTION, size.width, generator=generator), dim=-1)
    mask = torch.arange(LONGEST_CAPTION)[None] < lengths[:, None]
    return Fragments(images, torch.ones(images.shape[:2], dtype=torch.bool)), Fragments(words, mask)
