"""GRM's regions: what the prompts gather from an image's gated patches, and how uncertain it is.

Shape letters: N images, R patches, K regions, D width. Gated patches are (N, R, D) with mask (N, R).

Source: GRM, AAAI 2026, eq. 2-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.grm.gates import Generator


@dataclass(frozen=True)
class Regions:
    """The regions of a batch of images."""

    mean: Tensor  #: (N, K, D)
    mask: Tensor  #: (N, K) bool; all True for prompts, the patches' mask where every patch is its own region
    #: (N, R, K) the patches' weights in each region; each column sums to 1. A padded patch weighs 0, except in its own
    #: masked region where every patch is its own.
    attention: Tensor
    entropy: Tensor  #: (N, K) nats, of each column of the attention
    spread: Tensor  #: (N, K), L2 norm of each column of the attention: the sd of the region's noise in units of sigma


class RegionPrompts(nn.Module):
    """K = `count` learned prompts that gather patches by normalised sigmoid attention."""

    def __init__(self, count: int, width: int):
        super().__init__()
        self.prompts = nn.Parameter(torch.randn(count, width) * 0.02)  # the scale is lost in the normalisation

    def forward(self, patches: Tensor, mask: Tensor) -> Regions:
        # Patches keep their length: between unit vectors every sigmoid lies in [0.27, 0.73], all regions near the mean.
        with full_precision(patches):
            logits = patches @ F.normalize(self.prompts, dim=-1).T.to(patches.dtype)
        # sigmoid / sum of sigmoids, as a softmax of the log-sigmoid: no 0/0 where every sigmoid underflows
        real = mask[..., None]
        log_attention = F.logsigmoid(logits).masked_fill(~real, float("-inf")).log_softmax(1)
        attention = log_attention.exp()
        with full_precision(patches):
            mean = attention.transpose(1, 2) @ patches
        entropy = -(attention * log_attention.masked_fill(~real, 0)).sum(1)
        spread = (attention * attention).sum(1).sqrt()
        everywhere = torch.ones(entropy.shape, dtype=torch.bool, device=mask.device)
        return Regions(mean, everywhere, attention, entropy, spread)


class PatchRegions(nn.Module):
    """No prompting: every patch is its own region, K = R. Owns no parameters."""

    def forward(self, patches: Tensor, mask: Tensor) -> Regions:
        own = torch.eye(patches.shape[1], dtype=patches.dtype, device=patches.device).expand(len(patches), -1, -1)
        return Regions(patches, mask, own, torch.zeros_like(patches[..., 0]), torch.ones_like(patches[..., 0]))


class NoPrompts(nn.Module):
    """No regions at all (K = 0), for a config that reads none. Owns no parameters."""

    def forward(self, patches: Tensor, mask: Tensor) -> Regions:
        none = patches[:, :0, 0]
        return Regions(patches[:, :0], mask[:, :0], patches[..., :0], none, none)


def per_region_noise(regions: Regions, generator: Generator = None) -> Tensor:
    """Standard normal noise (N, K, D) scaled by the spread: the law of `per_pair_noise` in R times fewer draws."""
    return _normal(tuple(regions.mean.shape), regions.mean, generator) * regions.spread[..., None]


def per_pair_noise(regions: Regions, generator: Generator = None) -> Tensor:
    """The printed form (N, K, D): one draw per patch and region, gathered by the attention."""
    images, patches, count = regions.attention.shape
    draws = _normal((images, patches, count, regions.mean.shape[-1]), regions.mean, generator)
    return torch.einsum("nrk,nrkd->nkd", regions.attention, draws)


def no_region_noise(regions: Regions, generator: Generator = None) -> Tensor:
    """Zeros (N, K, D): each region is its mean."""
    return torch.zeros_like(regions.mean)


class GaussianRegions(nn.Module):
    """Regions as Gaussians with a learned diagonal variance, drawn in training and taken at their mean at evaluation."""

    def __init__(
        self,
        width: int,
        noise: Callable[[Regions, Generator], Tensor] = per_region_noise,
        logvar_range: tuple[float, float] = (-8.0, 4.0),
        logvar_init: float = 0.0,  # standard deviation of the initial weights of the last layer
    ):
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.out.weight, std=logvar_init)
        nn.init.zeros_(self.out.bias)
        self.noise, self.logvar_range = noise, logvar_range

    def log_variance(self, mean: Tensor) -> Tensor:
        """(N, K, D) from region means (N, K, D)."""
        logvar = self.out(F.gelu(self.hidden(mean.to(self.hidden.weight.dtype))))
        return logvar.to(mean.dtype).clamp(*self.logvar_range)

    def forward(self, regions: Regions, generator: Generator = None) -> dict[str, Tensor]:
        """The extras `regions` (N, K, D), which are scored, and in training `region_logvar`, which they were drawn with."""
        if not self.training:
            return {"regions": regions.mean}
        logvar = self.log_variance(regions.mean)
        drawn = regions.mean + (logvar / 2).exp() * self.noise(regions, generator)
        return {"regions": drawn, "region_logvar": logvar}


class CertainRegions(nn.Module):
    """No uncertainty: regions are their means. Owns no parameters."""

    def log_variance(self, mean: Tensor) -> Tensor:
        return torch.full_like(mean, -torch.inf)

    def forward(self, regions: Regions, generator: Generator = None) -> dict[str, Tensor]:
        return {"regions": regions.mean}


#: By `sampler`, where `region_noise` is on.
SAMPLERS = {"per_region": per_region_noise, "per_pair": per_pair_noise}


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast leaves products alone: attention logits reach tens, too many for half precision."""
    return torch.autocast(like.device.type, enabled=False)


def _normal(shape: tuple[int, ...], like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
