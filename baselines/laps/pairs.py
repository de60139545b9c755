"""The pairwise half of LAPS: what each caption distils from each image, and how well they match.

What the authors compute pair by pair as vectors is a linear combination of the image's own patches,
A_m = sum_l w_ml v_l: its product with a word is sum_l w_ml <v_l, t>, and its norm comes from the image's Gram matrix.
So a pair needs its weights and no vectors of width D.

Shape letters: I images, T captions (i, t of a tile), L spatial patches, W words, D width, N aggregated tokens,
C class tokens (0 or 1), M = N + 1 + C tokens that are matched: aggregated, fused, class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.scorers.tiles import Side, budget, scores_of_all_pairs
from harness.similarity import Mean

#: Smallest norm that a cosine is divided by.
EPSILON = 1e-8
#: Elements of the largest tensor of a tile of pairs: near the caches of a CPU; a GPU wants large products.
TILE_ELEMENTS = {"cpu": 2**22, "cuda": 2**26}


@dataclass(frozen=True)
class ImageSide(Side):
    """What the pairs need of I images; padding is 0."""

    patches: Tensor  #: (I, L, D)
    mask: Tensor  #: (I, L) bool
    logits: Tensor  #: (I, N, L) of the aggregation
    kept: Tensor  #: (I,) int64, the patches that a caption keeps
    centrality: Tensor  #: (I, L) cosine of each patch with the image's mean
    gram: Tensor  #: (I, L, L)
    class_tokens: Tensor  #: (I, C, D) unit vectors
    token_mask: Tensor  #: (I, M) bool, the tokens that an image has


@dataclass(frozen=True)
class Distilled(Side):
    """What one pair, or several, are matched by; 0 at what an item does not have."""

    tokens: (
        Tensor  #: (N, M, L) the share of each patch in each token; of the class token, which is no mean, 1 at itself
    )
    cosines: Tensor  #: (N, M, W) of the tokens with the words, as the maxima read them
    kept: Tensor  #: (N, L) bool, the patches that the caption keeps


@dataclass(frozen=True)
class TextSide(Side):
    """What the pairs need of T captions."""

    words: Tensor  #: (T, W, D) unit vectors, 0 at the padding
    mask: Tensor  #: (T, W) bool
    means: Tensor  #: (T, D) the mean of the words as they came, as a unit vector


def pairwise_scores(images: ImageSide, texts: TextSide, leaky_slope: float, tile_elements: int | None = None) -> Tensor:
    """Scores (I, T) in tiles of pairs; in training, several tiles are recomputed in backward instead of being kept."""
    tokens, patches = images.token_mask.shape[1], images.mask.shape[1]
    elements = budget(tile_elements, TILE_ELEMENTS, images.patches.device)
    pairs = max(1, elements // (patches * max(tokens, texts.mask.shape[1])))
    return scores_of_all_pairs(images, texts, pairs, partial(_tile_scores, leaky_slope=leaky_slope))


def distilled(images: ImageSide, texts: TextSide, leaky_slope: float) -> Distilled:
    """The tokens that each of N captions distils from its own image, one of N: what `pairwise_scores` matches."""
    pairs = [_distilled_pair(images[n : n + 1], texts[n : n + 1], leaky_slope) for n in range(len(images))]
    return Distilled(*(torch.cat([getattr(pair, name) for pair in pairs]) for name in ("tokens", "cosines", "kept")))


def _distilled_pair(image: ImageSide, text: TextSide, leaky_slope: float) -> Distilled:
    weights = _token_weights(image, text.means)[:, 0]
    class_tokens = torch.eye(image.class_tokens.shape[1], weights.shape[-1], device=weights.device)
    tokens = torch.cat([weights, class_tokens[None].to(weights.dtype)], 1)
    real = image.token_mask[..., None]
    cosines = _token_cosines(image, text, leaky_slope)[:, 0]
    kept = _kept(image, _relevance(image, text.means))[:, 0]
    return Distilled(tokens * real, cosines * (real & text.mask[:, None]), kept)


def _tile_scores(images: ImageSide, texts: TextSide, leaky_slope: float) -> Tensor:
    """(i, t) from one tile of pairs."""
    cosine = _token_cosines(images, texts, leaky_slope)
    tokens, words = images.token_mask[:, None, :, None], texts.mask[None, :, None]
    best_token = cosine.masked_fill(~tokens, -torch.inf).amax(2)
    best_word = cosine.masked_fill(~words, -torch.inf).amax(3)
    return Mean()(best_token, 2, texts.mask[None]) + Mean()(best_word, 2, images.token_mask[:, None])


def _token_cosines(images: ImageSide, texts: TextSide, leaky_slope: float) -> Tensor:
    """Cosines (i, t, M, W) of all tokens with the words, as the maxima read them."""
    cosine = torch.cat([_distilled_cosines(images, texts), _products(images.class_tokens, texts.words)], 2)
    return F.leaky_relu(cosine, leaky_slope)


def _distilled_cosines(images: ImageSide, texts: TextSide) -> Tensor:
    """Cosines (i, t, N + 1, W) of the aggregated and the fused tokens with the words."""
    weights = _token_weights(images, texts.means)
    products = weights @ _products(images.patches, texts.words)
    squares = ((weights.flatten(1, 2) @ images.gram).view_as(weights) * weights).sum(-1)
    return products / squares.clamp_min(EPSILON**2).sqrt()[..., None]


def _token_weights(images: ImageSide, caption_means: Tensor) -> Tensor:
    """Weights (i, t, N + 1, L) by which a caption's tokens are averaged from the patches; each row sums to 1."""
    with torch.no_grad():  # as the authors do: the choice is not learned through the score
        relevance = _relevance(images, caption_means)
        kept = _kept(images, relevance)
        rest = images.mask[:, None] & ~kept
        # Of nothing left over any weights will do, since no such token is scored; but they must be finite.
        candidates = torch.where(rest.any(-1, keepdim=True), rest, kept)
        fusing = relevance.masked_fill(~candidates, -torch.inf).softmax(-1)
    aggregating = images.logits[:, None].masked_fill(~kept[:, :, None], -torch.inf).softmax(-1)
    return torch.cat([aggregating, fusing[:, :, None]], 2)


def _relevance(images: ImageSide, caption_means: Tensor) -> Tensor:
    """(i, t, L) what the patches are chosen by: their cosines with the image's mean and with the caption's, added."""
    return images.centrality[:, None] + F.normalize(images.patches, dim=-1).matmul(caption_means.T).mT


def _kept(images: ImageSide, relevance: Tensor) -> Tensor:
    """(i, t, L) bool, the patches that each caption keeps: the most relevant ones, the first of equals."""
    order = relevance.masked_fill(~images.mask[:, None], -torch.inf).argsort(dim=-1, descending=True, stable=True)
    place = torch.arange(order.shape[-1], device=order.device)
    chosen = (place < images.kept[:, None, None]).expand_as(order)
    return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, chosen)


def _products(rows: Tensor, words: Tensor) -> Tensor:
    """Dot products (i, t, F, W) of rows (i, F, D) and words (t, W, D), in one matrix product."""
    flat = rows.flatten(0, 1) @ words.flatten(0, 1).T
    return flat.view(*rows.shape[:2], *words.shape[:2]).transpose(1, 2)
