"""Random changes to training batches: dropped regions and masked words. Those of images are in `harness.training.views`.

Every function is pure: it takes a batch and a generator and gives a new batch, so a seed decides everything.

Shape letters: N items, R regions, W words.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from harness.fragments import Fragments, Tokens

MASKED, REPLACED = 0.5, 0.1  #: shares of the selected words; the rest is deleted


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


def _uniform(shape: tuple[int, ...] | torch.Size, generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _ordinary_ids(words: WordIds) -> Tensor:
    """Ids that may take a word's place; the mask itself where a vocabulary has no ordinary word."""
    ordinary = torch.ones(max(words.vocabulary_size, words.mask_id + 1), dtype=torch.bool)
    ordinary[[*words.special_ids, words.mask_id]] = False
    return ordinary.nonzero().flatten() if ordinary.any() else torch.tensor([words.mask_id])
