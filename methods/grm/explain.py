"""Why a GRM scored a pair as it did: the matches, gates and regions behind the number, as arrays.

Shape letters: N pairs, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.methods.grm.levels import Matching
from harness.methods.grm.regions import Regions


@dataclass(frozen=True)
class Explanation:
    """N explained pairs; entries of padded words, patches and regions are NaN, or -1 where they are indices."""

    score: np.ndarray  #: (N,) what ranks the pair
    levels: dict[str, np.ndarray]  #: (N,) by level, unweighted
    similarity: np.ndarray  #: (N, W, R) token similarity of each word and patch: their cosine, if `leaky_slope` is 0
    salient_similarity: np.ndarray  #: (N, W, R) the same, scaled by both gates as the salient level reads it
    best_patch: np.ndarray  #: (N, W) int, the patch that the word takes in the salient level
    best_word: np.ndarray  #: (N, R) int, the word that the patch takes there
    word_gates: np.ndarray  #: (N, W) in [0, 1]
    patch_gates: np.ndarray  #: (N, R) in [0, 1]
    region_similarity: np.ndarray  #: (N, W, K) token similarity of each word and region
    best_region: np.ndarray  #: (N, W) int
    region_attention: np.ndarray  #: (N, K, R) where each region looks: a map over the patches that sums to 1
    region_variance: np.ndarray  #: (N, K, D) of each region's Gaussian; 0 without uncertainty
    word_mask: np.ndarray  #: (N, W) bool
    patch_mask: np.ndarray  #: (N, R) bool, True = takes part in the similarities
    region_mask: np.ndarray  #: (N, K) bool


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
    """The arrays of N prepared pairs: `scored` (N, R) are the patches that take part, `variance` (N, K, D) is the regions'."""
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
