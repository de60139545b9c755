"""What GRM's parts do on real images and captions: gates, how concentrated, alike and uncertain its regions are.

A quantity that an item does not have (padding, one region alone) is NaN.
Shape letters: N images, T captions, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.methods.grm.regions import Regions
from harness.scorer import Reading

READINGS: Mapping[str, Reading] = {
    "patch_gate": Reading("gate of each patch, 0 to 1", "patch"),
    "word_gate": Reading("gate of each word, 0 to 1", "word"),
    "region_entropy": Reading("entropy of each region's attention over the patches, in units of log R", "region"),
    "region_similarity": Reading("mean cosine between an image's regions", "image"),
    "effective_regions": Reading("effective number of regions per image, 1 to K", "image"),
    "region_sigma": Reading("standard deviation of each region, mean over the width", "region"),
    "region_noise": Reading("length of the training noise of each region, in units of the region's length", "region"),
}


def gates(values: Tensor, mask: Tensor) -> Tensor:
    """Gates (N, F) with NaN at the padding."""
    return values.float().masked_fill(~mask, torch.nan)


def region_readings(regions: Regions, variance: Tensor, patches: Tensor) -> dict[str, Tensor]:
    """The readings of N images' regions.

    Args:
        regions: of the images.
        variance: (N, K, D); 0 without uncertainty.
        patches: (N,) the number of patches that the regions are gathered from.
    """
    real = regions.mask
    entropy = regions.entropy / patches.log()[:, None].to(regions.entropy.dtype)  # 0 / 0 where there is one patch
    length = regions.mean.norm(dim=-1)
    noise = variance.sum(-1).sqrt() * regions.spread / length
    similarity, effective = alike(regions.mean, real)
    return {
        "region_entropy": _where(entropy, real & (patches > 1)[:, None]),
        "region_similarity": similarity,
        "effective_regions": effective,
        "region_sigma": _where(variance.sqrt().mean(-1), real),
        "region_noise": _where(noise, real & (length > 0)),
    }


def alike(vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How alike an item's real vectors (N, K, D) are: their mean cosine (N,), and how many they amount to (N,).

    The second is the exponential of the entropy of the eigenvalues of their cosines / K: K for orthogonal vectors, 1
    for equal ones.

    >>> vectors, mask = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
    >>> [round(value.item(), 4) for value in alike(vectors, mask)]
    [0.0, 2.0]

    Source:
        Friedman and Dieng, The Vendi Score, TMLR 2023, definition 3.1.
    """
    counts = mask.sum(1)
    if not vectors.shape[1]:
        return (torch.full(counts.shape, torch.nan, device=mask.device),) * 2
    unit = F.normalize(vectors.double(), dim=-1) * mask[..., None]
    cosines = unit @ unit.mT
    pairs = counts * (counts - 1)
    total = cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)
    share = torch.linalg.eigvalsh(cosines / counts.clamp(min=1)[:, None, None]).clamp(min=0)
    effective = torch.special.entr(share).sum(1).exp()
    return _where(total / pairs, pairs > 0), _where(effective, counts > 0)


def _where(values: Tensor, condition: Tensor) -> Tensor:
    return torch.where(condition, values.float(), torch.nan)
