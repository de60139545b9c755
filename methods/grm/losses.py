"""GRM's regularisers: what pulls the regions towards the image's mean and its Gaussians towards the standard one.

Each is a mean over the batch, so that its weight does not depend on the batch size.
Shape letters: N images, R patches, K regions, D width.

Source: GRM, AAAI 2026, eq. 10-12.
"""

from __future__ import annotations

from torch import Tensor


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
