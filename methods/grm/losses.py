"""GRM's regularisers: they pull the regions towards the image's mean and its Gaussians towards the standard one.

Each is a mean over the batch, so that its weight does not depend on the batch size.
Shape letters: N images, R patches, K regions, D width.

Source: GRM, AAAI 2026, eq. 10-12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from harness.methods.grm.config import GrmConfig
from harness.methods.grm.regions import Regions


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(N, D) mean over the items of (N, F, D) where mask (N, F) is True."""
    return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def global_reconstruction(regions: Tensor, region_mask: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the mean region to the target (N, D), mean over batch and D."""
    return (masked_mean(regions, region_mask) - target).square().mean()


def per_region_reconstruction(regions: Tensor, region_mask: Tensor, target: Tensor) -> Tensor:
    """Squared distance of each region to the target (N, D), mean over batch, regions and D."""
    return masked_mean((regions - target[:, None]).square(), region_mask).mean()


def kl_to_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each region, (N, K), mean over D; 0 at mean 0 and log-variance 0."""
    return 0.5 * (mean.square() + logvar.expm1() - logvar).mean(-1)


def sum_over_regions(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar: sum over an image's regions of (N, K), mean over the batch."""
    return (values * mask).sum(1).mean()


def mean_over_regions(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar: mean over an image's regions of (N, K), mean over the batch."""
    return ((values * mask).sum(1) / mask.sum(1)).mean()


RECONSTRUCTIONS = {"global": global_reconstruction, "per_region": per_region_reconstruction}
KL_REDUCTIONS = {"sum": sum_over_regions, "mean": mean_over_regions}
ENTROPY_SIGNS = {"minimise": 1.0, "maximise": -1.0}


@dataclass(frozen=True)
class RegionState:
    """What the regularisers read of a batch."""

    regions: Regions  #: the regions' means and attention
    drawn: Tensor  #: (N, K, D) the vectors that were scored
    logvar: Tensor  #: (N, K, D); -inf without uncertainty
    target: Tensor  #: (N, D) mean gated patch


def regularisers(config: GrmConfig) -> dict[str, Callable[[RegionState], Tensor]]:
    """The weighted regularisers of a config by name; those of weight 0, or without a meaning in it, are left out."""
    reconstruct, reduce_kl = RECONSTRUCTIONS[config.reconstruction], KL_REDUCTIONS[config.kl_reduction]
    sign = ENTROPY_SIGNS[config.entropy_sign]

    def reconstruction(state: RegionState) -> Tensor:
        return config.weight_reconstruction * reconstruct(state.drawn, state.regions.mask, state.target)

    def kl(state: RegionState) -> Tensor:
        divergence = kl_to_standard_normal(state.regions.mean, state.logvar)
        return config.weight_kl * reduce_kl(divergence, state.regions.mask)

    def entropy(state: RegionState) -> Tensor:
        return config.weight_entropy * sign * mean_over_regions(state.regions.entropy, state.regions.mask)

    active = {
        reconstruction: config.weight_reconstruction > 0,
        kl: config.weight_kl > 0 and config.uncertainty == "gaussian",
        entropy: config.weight_entropy > 0 and config.regions > 0,
    }
    return {term.__name__: term for term, wanted in active.items() if wanted}
