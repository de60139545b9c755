"""GRM's three similarity levels from one product of all tokens: words x (patches + regions).

For gated unit tokens a_t·t and a_v·v the product is a_t·a_v·<t, v>, so gates scale a tile of plain similarities instead
of asking for a product of their own. The gate of the side that a maximum runs over has to stay inside it; the other,
being >= 0, may leave it. With n and L the denominators of the two means:

    original   1/n sum_t     max_v S[t, v]      +  1/L sum_v max_t S[t, v]
    salient    1/n sum_t a_t max_v a_v·S[t, v]  +  1/L sum_v max_t a_t·a_v·S[t, v]
    uncertain  1/n sum_t a_t max_k S[t, k]      +  1/K sum_k max_t a_t·S[t, k]

Padding: a padded position repeats its item's first real one and has weight 0 in the mean. That leaves every maximum
as -inf at the padding would, spares a pass over the tile, and its gradient goes to the repeated token, as with a tie.

Shape letters: I images, T captions, R patches, W words, K regions, D width.

Source: GRM, AAAI 2026, eq. 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.scorers.features import zero_padded
from harness.scorers.tiles import Side, budget, tile_scores
from harness.similarity.reductions import precise

# Elements of one tile. On a CPU a tile and its gated copy should stay near the caches; a GPU wants large products.
_TILE = {"cpu": 2**19, "cuda": 2**26}
_TILE_TRAINING = 2**24  # above it a step is recomputed tile by tile in backward instead of being kept
_WORDS = 1024  # columns of a tile before further images are added
_VECTOR = 32  # captions: a maximum over positions is up to three times as fast over whole vectors of them


@dataclass(frozen=True)
class Matching:
    """How tokens and their gates make a similarity."""

    order: Callable[[Tensor], Tensor]  #: how a gate enters it, from `gates.ORDERS`
    mean: Callable[[Tensor, Tensor], Tensor]  #: weights of the mean over gated tokens, from `gates.MEANS`
    #: applied to every token similarity; leaves 0 as it is and commutes with a scale >= 0
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ImageSide(Side):
    """What the levels need of I images."""

    rows: Tensor  #: (I, R + K, D) unit vectors: patches, then regions; K = 0 if no level reads them
    gates: Tensor  #: (I, R) of the patches
    patch_mean: Tensor  #: (I, R) weights of the mean over patches
    salient_mean: Tensor  #: (I, R) the same over gated patches; the gates are not in it
    region_mean: Tensor  #: (I, K) weights of the mean over regions


@dataclass(frozen=True)
class TextSide(Side):
    """What the levels need of T captions."""

    words: Tensor  #: (T, W, D) unit vectors
    gates: Tensor  #: (T, W)
    word_mean: Tensor  #: (T, W) weights of the mean over words
    salient_mean: Tensor  #: (T, W) the same over gated words; the gates are in it
    extent: Tensor  #: (T,) int64, one more than the last real position

    def trimmed(self, longest: int) -> TextSide:
        """Only the first `longest` words."""
        cut = {name: getattr(self, name)[:, :longest] for name in ("words", "gates", "word_mean", "salient_mean")}
        return replace(self, **cut)


def image_side(images: Fragments, scored: Tensor, matching: Matching) -> ImageSide:
    """The image side of the levels, from prepared images (I, R, D); `scored` (I, R) are the patches that take part."""
    regions, region_mask = images.extras["regions"], images.extras["region_mask"]
    scale = matching.order(precise(images.extras["gates"]))
    rows = [_repeat_real(unit_vectors(zero_padded(images)), scored)]
    if regions.shape[1]:
        rows.append(_repeat_real(unit_vectors(regions).to(images.features.dtype), region_mask))
    return ImageSide(
        torch.cat(rows, 1),
        _repeat_real(scale[..., None], scored)[..., 0],
        _plain_mean(scored, scale),
        matching.mean(scale, scored),
        _plain_mean(region_mask, scale),
    )


def text_side(texts: Fragments, matching: Matching) -> TextSide:
    """The caption side of the levels, from prepared captions (T, W, D)."""
    scale, mask = matching.order(precise(texts.extras["gates"])), texts.mask
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return TextSide(
        _repeat_real(unit_vectors(zero_padded(texts)), mask),
        _repeat_real(scale[..., None], mask)[..., 0],
        _plain_mean(mask, scale),
        matching.mean(scale, mask) * scale,
        (mask * positions).amax(1),
    )


#: A tile times gates: in place where no gradient is recorded, which is three times as fast.
Scale = Callable[[Tensor, Tensor], Tensor]


def original_level(patches: Tensor, regions: Tensor, images: ImageSide, texts: TextSide, scale: Scale) -> Tensor:
    """S_ori (I, T): plain tokens.

    `patches` (I, R, W, T) and `regions` (I, K, W, T) are similarities with the words; what is per word in `texts` is (W, T).
    """
    to_patch = (patches.amax(1) * texts.word_mean).sum(1)
    return to_patch + (patches.amax(2) * images.patch_mean[..., None]).sum(1)


def salient_level(patches: Tensor, regions: Tensor, images: ImageSide, texts: TextSide, scale: Scale) -> Tensor:
    """S_key (I, T): gated tokens."""
    gated = scale(patches, images.gates[:, :, None, None])
    to_patch = (gated.amax(1) * texts.salient_mean).sum(1)
    return to_patch + (scale(gated, texts.gates).amax(2) * images.salient_mean[..., None]).sum(1)


def uncertain_level(patches: Tensor, regions: Tensor, images: ImageSide, texts: TextSide, scale: Scale) -> Tensor:
    """S_unc (I, T): gated words against regions."""
    to_region = (regions.amax(1) * texts.salient_mean).sum(1)
    return to_region + (scale(regions, texts.gates).amax(2) * images.region_mean[..., None]).sum(1)


#: In the order in which a tile that is scaled in place must be read: the original level sees it before any gate does.
LEVELS = {"original": original_level, "salient": salient_level, "uncertain": uncertain_level}


def pairwise_levels(
    images: ImageSide,
    texts: TextSide,
    levels: Sequence[str],
    activation: Callable[[Tensor], Tensor],
    tile_elements: int | None = None,
) -> Tensor:
    """The levels (levels, I, T) of every image and caption, tile by tile.

    Args:
        images, texts: I images and T captions.
        levels: names from `LEVELS`.
        activation: as `Matching.activation`.
        tile_elements: largest number of token similarities held at once (in training: above which tiles are
            recomputed in backward); None = by device.
    """
    if not len(images) or not len(texts):
        return images.rows.new_zeros(len(levels), len(images), len(texts))
    learned = (images.rows, images.gates, texts.words, texts.gates)
    training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in learned)
    elements = budget(tile_elements or (_TILE_TRAINING if training else None), _TILE, images.rows.device)
    order = texts.extent.argsort(stable=True)
    texts = texts[order]
    blocks = list(_blocks(texts.extent.tolist(), len(images), images.rows.shape[1], elements))
    recompute = training and sum(len(ranges) for *_, ranges in blocks) > 1

    columns = []
    for captions, longest, ranges in blocks:
        block = texts[captions].trimmed(longest)
        words = block.words.transpose(0, 1).flatten(0, 1)
        parts = [tile_scores(recompute, _block_levels, images[r], block, words, levels, activation) for r in ranges]
        columns.append(torch.cat(parts, 1))
    return torch.cat(columns, 2)[:, :, order.argsort()]


def _block_levels(
    images: ImageSide, texts: TextSide, words: Tensor, levels: Sequence[str], activation: Callable[[Tensor], Tensor]
) -> Tensor:
    count, rows, _ = images.rows.shape
    similarity = images.rows.flatten(0, 1) @ words.to(images.rows.dtype).T
    similarity = activation(similarity).view(count, rows, texts.words.shape[1], texts.words.shape[0])
    return reduce_tile(similarity, images, texts, levels)


def reduce_tile(similarity: Tensor, images: ImageSide, texts: TextSide, levels: Sequence[str]) -> Tensor:
    """The levels (levels, I, T) of a block from its token similarities (I, R + K, W, T).

    Words come by position first, so that both maxima run over contiguous captions. The similarities are overwritten
    where no gradient is recorded.
    """
    patches, regions = similarity.split((images.gates.shape[1], images.region_mean.shape[1]), 1)
    scale = torch.mul if torch.is_grad_enabled() else Tensor.mul_
    texts = replace(texts, gates=texts.gates.T, word_mean=texts.word_mean.T, salient_mean=texts.salient_mean.T)
    found = {name: level(patches, regions, images, texts, scale) for name, level in LEVELS.items() if name in levels}
    return torch.stack([found[name] for name in levels])


def _blocks(extents: Sequence[int], images: int, rows: int, elements: int) -> Iterator[tuple[slice, int, list[slice]]]:
    """Cut captions of rising extent, and the images for each cut: (captions, longest, ranges of images)."""
    widest = min(_WORDS, elements // rows) if elements < images * rows * _WORDS else elements // (images * rows)
    first = 0
    while first < len(extents):
        last = first + 1
        while last < len(extents) and (last + 1 - first) * extents[last] <= widest:
            last += 1
        if last - first > _VECTOR and last < len(extents):
            last -= (last - first) % _VECTOR
        longest = extents[last - 1]
        step = max(1, elements // (rows * longest * (last - first)))
        yield slice(first, last), longest, [slice(start, start + step) for start in range(0, images, step)]
        first = last


def unit_vectors(features: Tensor, out: Tensor | None = None) -> Tensor:
    """Unit vectors (..., D) in the dtype of the features: half precision stays half. `out` takes them, if given."""
    values = precise(features)
    if out is None:
        return F.normalize(values, dim=-1).to(features.dtype)
    return torch.div(values, values.norm(dim=-1, keepdim=True).clamp_min_(1e-12), out=out)


def _repeat_real(features: Tensor, mask: Tensor) -> Tensor:
    """(N, F, D) with each padded position replaced by its item's first real one."""
    items = torch.arange(len(mask), device=mask.device)
    first = features[items, mask.to(torch.uint8).argmax(1)]
    return torch.where(mask[..., None], features, first[:, None])


def _plain_mean(mask: Tensor, like: Tensor) -> Tensor:
    return mask.to(like.dtype) / mask.sum(1, keepdim=True)
