"""Why a GRM scored a pair as it did: the matches, gates and regions behind the number, as arrays.

Shape letters: N pairs, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from harness.errors import InvalidFragments
from harness.fragments import Fragments
from harness.methods.grm.levels import Matching
from harness.methods.grm.regions import Regions


@dataclass(frozen=True)
class Explanation:
    """N explained pairs; entries of padded words, patches and regions are NaN, or -1 where they are indices.

    Args:
        score: (N,) what ranks the pair.
        levels: (N,) by level, unweighted.
        similarity: (N, W, R) token similarity of each word and patch: their cosine, if `leaky_slope` is 0.
        salient_similarity: (N, W, R) the same, scaled by both gates as the salient level reads it.
        best_patch: (N, W) int, the patch that the word takes in the salient level.
        best_word: (N, R) int, the word that the patch takes there.
        word_gates: (N, W) in [0, 1].
        patch_gates: (N, R) in [0, 1].
        region_similarity: (N, W, K) token similarity of each word and region.
        best_region: (N, W) int.
        region_attention: (N, K, R) where each region looks: a map over the patches that sums to 1.
        region_variance: (N, K, D) of each region's Gaussian; 0 without uncertainty.
        word_mask: (N, W) bool.
        patch_mask: (N, R) bool, True = takes part in the similarities.
        region_mask: (N, K) bool.
    """

    score: np.ndarray
    levels: dict[str, np.ndarray]
    similarity: np.ndarray
    salient_similarity: np.ndarray
    best_patch: np.ndarray
    best_word: np.ndarray
    word_gates: np.ndarray
    patch_gates: np.ndarray
    region_similarity: np.ndarray
    best_region: np.ndarray
    region_attention: np.ndarray
    region_variance: np.ndarray
    word_mask: np.ndarray
    patch_mask: np.ndarray
    region_mask: np.ndarray


def paired(images: Fragments, texts: Fragments) -> tuple[Fragments, Fragments]:
    """As many images as captions; one of either is repeated.

    Raises:
        InvalidFragments: the numbers differ and neither is 1.
    """
    count = max(len(images), len(texts))
    if len(images) not in (1, count) or len(texts) not in (1, count):
        raise InvalidFragments(
            f"{len(images)} images and {len(texts)} captions do not pair up; give as many of both, or one of either"
        )
    images, texts = (side if len(side) == count else side[[0] * count] for side in (images, texts))
    return images, texts


def explanation(
    images: Fragments,
    texts: Fragments,
    scored: Tensor,
    regions: Regions,
    variance: Tensor,
    matching: Matching,
    score: list[float],
    levels: list[dict[str, float]],
) -> Explanation:
    """The arrays of N pairs.

    Args:
        images, texts: prepared; caption n is explained against image n.
        scored: (N, R) bool, the patches that take part.
        regions, variance: the images' regions, and the variance (N, K, D) of each.
        matching: how tokens and gates make a similarity.
        score, levels: of each pair.
    """
    patch_gates, word_gates = images.extras["gates"], texts.extras["gates"]
    unit_words = F.normalize(texts.features, dim=-1)
    unit_regions = F.normalize(images.extras["regions"], dim=-1).to(unit_words.dtype)
    similarity = matching.activation(unit_words @ F.normalize(images.features, dim=-1).mT)
    salient = similarity * matching.order(word_gates)[:, :, None] * matching.order(patch_gates)[:, None]
    to_regions = matching.activation(unit_words @ unit_regions.mT)
    words = texts.mask
    columns, cells = regions.mask[:, :, None], words[:, :, None] & scored[:, None]
    region_cells = words[:, :, None] & regions.mask[:, None]
    return Explanation(
        score=np.array(score),
        levels={name: np.array([level[name] for level in levels]) for name in levels[0]},
        similarity=_array(similarity, cells),
        salient_similarity=_array(salient, cells),
        best_patch=_best(salient, cells, 2),
        best_word=_best(salient, cells, 1),
        word_gates=_array(word_gates, words),
        patch_gates=_array(patch_gates, images.mask),
        region_similarity=_array(to_regions, region_cells),
        best_region=_best(to_regions, region_cells, 2),
        region_attention=_array(regions.attention.transpose(1, 2), columns & images.mask[:, None]),
        region_variance=_array(variance, columns.expand_as(variance)),
        word_mask=words.cpu().numpy(),
        patch_mask=scored.cpu().numpy(),
        region_mask=regions.mask.cpu().numpy(),
    )


def _array(values: Tensor, mask: Tensor) -> np.ndarray:
    return values.float().masked_fill(~mask, float("nan")).cpu().numpy()


def _best(values: Tensor, mask: Tensor, dim: int) -> np.ndarray:
    """Index of the largest real value along `dim`; -1 where there is none."""
    if not values.shape[dim]:
        return np.full([n for axis, n in enumerate(values.shape) if axis != dim], -1)
    best = values.masked_fill(~mask, float("-inf")).argmax(dim)
    return best.masked_fill(~mask.any(dim), -1).cpu().numpy()
