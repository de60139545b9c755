"""Fragments on which scorers are checked: unit vectors, ragged masks with holes, and their opposites."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from harness.fragments import Fragments

IMAGES, REGIONS = 5, 7
TEXTS, WORDS = 6, 5
WIDTH = 32
#: Image ids of a training batch: its last two pairs are two captions of one image.
PAIR_IDS = (0, 1, 2, 3, 3)

Sides = tuple[Fragments, Fragments]


def random_fragments(items: int, longest: int, seed: int) -> Fragments:
    """Unit vectors with ragged masks: the first item is full, the second has a hole, the last is a single fragment."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.linspace(longest, 1, items).round().long()
    mask = torch.arange(longest)[None, :] < lengths[:, None]
    mask[1, 1] = False
    features = F.normalize(torch.randn(items, longest, WIDTH, generator=generator), dim=-1)
    return Fragments(features * mask[..., None], mask)


def random_sides() -> Sides:
    """I = 5 images and T = 6 captions."""
    return random_fragments(IMAGES, REGIONS, seed=1), random_fragments(TEXTS, WORDS, seed=2)


def opposed_sides() -> Sides:
    """Images and captions whose every cosine is near -1: a padding value that counts as 0 would win every maximum."""
    images, texts = random_sides()
    axis = F.normalize(torch.ones(WIDTH), dim=0)
    images = replace(images, features=(axis + 0.3 * images.features) * images.mask[..., None])
    texts = replace(texts, features=(-axis + 0.3 * texts.features) * texts.mask[..., None])
    return images.normalized(), texts.normalized()


def repeated_sides() -> Sides:
    """Images that hold the same region several times."""
    images, texts = random_sides()
    return replace(images, features=images.features[:, :1].expand_as(images.features)), texts


def single_sides() -> Sides:
    """One image and one caption of one fragment each."""
    images, texts = (random_fragments(2, 3, seed) for seed in (3, 4))
    return (
        Fragments(images.features[:1, :1], images.mask[:1, :1]),
        Fragments(texts.features[:1, :1], texts.mask[:1, :1]),
    )


def pairs(images: Fragments, texts: Fragments) -> Sides:
    """A training batch with the image ids `PAIR_IDS`."""
    return images[list(PAIR_IDS)], texts[: len(PAIR_IDS)]


def padded(fragments: Fragments, positions: int) -> Fragments:
    """More padding, and large values at every padded position."""
    generator = torch.Generator().manual_seed(5)
    features = F.pad(fragments.features, (0, 0, 0, positions))
    mask = F.pad(fragments.mask, (0, positions))
    garbage = 10 * torch.randn(features.shape, generator=generator)
    return Fragments(torch.where(mask[..., None], features, garbage), mask)
