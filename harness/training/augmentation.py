"""Random changes to training batches: dropped regions, masked words, flipped and cropped images.

Every function is pure: it takes a batch and a generator and gives a new batch, so a seed decides everything.

Shape letters: N items, R regions, W words, S side in pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from harness.errors import InvalidSpec
from harness.fragments import Fragments, Tokens

MASKED, REPLACED = 0.5, 0.1  #: shares of the selected words; the rest is deleted
CROP_AREA = (0.6, 1.0)  #: of the image, uniform
CROP_RATIO = (3 / 4, 4 / 3)  #: width over height, log-uniform


class WordIds(Protocol):
    """What masking must know of a tokenizer."""

    vocabulary_size: int
    mask_id: int
    special_ids: tuple[int, ...]


def drop_regions(regions: Fragments, probability: float, generator: Generator, kept: int = 0) -> Fragments:
    """Hide each real region (N images, features (N, R, D)) with a probability in [0, 1), but never all of an image's.

    Args:
        regions: region features, or what a frozen tower made of the patches.
        probability: of each.
        generator: source of the draws.
        kept: leading fragments that are never hidden, because they are no places in the image ([CLS]).

    Source:
        CHAN's and VSE-infinity's size augmentation (0.2), the latter on grids of patches too.
    """
    if probability == 0:
        return regions
    draws = _uniform(regions.mask.shape, generator).to(regions.device).masked_fill(~regions.mask, -1)
    left = draws >= probability
    left[:, :kept] = regions.mask[:, :kept]
    # Where no region is left, the one that came nearest to staying: any real one, all being equally likely.
    draws[:, :kept] = -1
    last = F.one_hot(draws.argmax(dim=1), draws.shape[1]).bool() & regions.mask
    return dataclasses.replace(regions, mask=torch.where(left[:, kept:].any(dim=1, keepdim=True), left, left | last))


def mask_words(tokens: Tokens, share: float, words: WordIds, generator: Generator) -> Tokens:
    """Select words at random; of these mask 50 %, replace 10 % by a random word and delete 40 %.

    Special words (start, end) are left alone. A caption never loses all its words: where each would be deleted, none is.

    Args:
        tokens: N captions.
        share: expected share of the words that are selected, in [0, 1); 0 gives the batch itself.
        words: the tokenizer's ids.
        generator: source of the draws.

    Returns:
        Tokens, trimmed to the longest caption that is left.

    Source:
        CHAN's and VSE-infinity's caption augmentation (0.2). Differs: a word that a tokenizer splits is selected piece by
        piece.
    """
    if share == 0:
        return tokens
    ids, mask = tokens.ids, tokens.mask
    shape, device = ids.shape, ids.device
    is_word = mask & ~torch.isin(ids, torch.tensor(words.special_ids, device=device))
    selected = is_word & (_uniform(shape, generator).to(device) < share)
    fate = _uniform(shape, generator).to(device)
    candidates = _ordinary_ids(words)
    drawn = torch.randint(len(candidates), shape, generator=generator, device=generator.device)
    changed = torch.where(fate < MASKED, words.mask_id, candidates.to(generator.device)[drawn].to(device))
    deleted = selected & (fate >= MASKED + REPLACED)
    deleted &= (is_word & ~deleted).any(dim=1, keepdim=True)
    ids = torch.where(selected & (fate < MASKED + REPLACED), changed, ids)
    kept = mask & ~deleted
    order = kept.int().argsort(dim=1, descending=True, stable=True)  # what is kept moves together, in its order
    return Tokens(ids.gather(1, order), kept.gather(1, order))[:]


def augment_pixels(pixels: Tensor, kind: str, generator: Generator) -> Tensor:
    """Random views of images (N, 3, S, S), uint8.

    Args:
        pixels: the images.
        kind: "none"; "flip", half of the images mirrored left to right; "crop_flip", also a crop of 60 to 100 % of the
            area, enlarged to S again.
        generator: source of the draws.

    Raises:
        InvalidSpec: another kind.

    Source:
        crop_flip: LAPS's training transform (random resized crop of scale 0.6 to 1, bicubic, and flip).
    """
    if kind not in _PIXELS:
        raise InvalidSpec(f"unknown image augmentation '{kind}'; valid: {', '.join(_PIXELS)}")
    return _PIXELS[kind](pixels, generator)


def flip(pixels: Tensor, generator: Generator) -> Tensor:
    """Half of the images, drawn at random, mirrored left to right."""
    mirrored = _flags(len(pixels), generator).to(pixels.device)
    return torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)


def crop_flip(pixels: Tensor, generator: Generator) -> Tensor:
    """A random crop of each image, mirrored in half of them, at the size of the whole."""
    boxes = random_boxes(len(pixels), generator).to(pixels.device)
    return view(pixels, boxes, _flags(len(pixels), generator).to(pixels.device))


def random_boxes(count: int, generator: Generator) -> Tensor:
    """Crops (N, 4) as left, top, width, height, each as a share of the image's side."""
    area, ratio, left, top = _uniform((4, count), generator)
    area = CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * area
    low, high = torch.tensor(CROP_RATIO, device=area.device).log()
    ratio = (low + (high - low) * ratio).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    return torch.stack([left * (1 - width), top * (1 - height), width, height], dim=1)


def view(pixels: Tensor, boxes: Tensor, mirrored: Tensor) -> Tensor:
    """The parts of images (N, 3, S, S) uint8 that lie in boxes, enlarged to whole images by bicubic interpolation.

    Boxes (N, 4) are left, top, width and height as shares of the side; `mirrored` (N,) says which to mirror left to right.
    """
    left, top, width, height = boxes.unbind(dim=1)
    transform = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    transform[:, 0, 0] = torch.where(mirrored, -width, width)  # grid coordinates run from -1 to 1
    transform[:, 1, 1] = height
    transform[:, 0, 2] = 2 * left + width - 1
    transform[:, 1, 2] = 2 * top + height - 1
    grid = F.affine_grid(transform, list(pixels.shape), align_corners=False)
    out = F.grid_sample(pixels.float(), grid, mode="bicubic", padding_mode="border", align_corners=False)
    return out.round().clamp(0, 255).to(torch.uint8)


_PIXELS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "none": lambda pixels, _: pixels,
    "flip": flip,
    "crop_flip": crop_flip,
}


def _uniform(shape: tuple[int, ...] | torch.Size, generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _flags(count: int, generator: Generator) -> Tensor:
    return _uniform((count,), generator) < 0.5


def _ordinary_ids(words: WordIds) -> Tensor:
    """Ids that may take a word's place; the mask itself where a vocabulary has no ordinary word."""
    ordinary = torch.ones(max(words.vocabulary_size, words.mask_id + 1), dtype=torch.bool)
    ordinary[[*words.special_ids, words.mask_id]] = False
    return ordinary.nonzero().flatten() if ordinary.any() else torch.tensor([words.mask_id])
