"""What a GRM owns, chosen by its config: tables lead from a value to a component, "off" to one without parameters.

A component whose output nothing reads is "off" too, so that every parameter there is gets a gradient.
Shape letters: N images, R patches, K regions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from harness.methods.grm.config import GrmConfig
from harness.methods.grm.gates import GATES, NOISES, Generator, OpenGate, SoftGate
from harness.methods.grm.losses import (
    ENTROPY_SIGNS,
    KL_REDUCTIONS,
    RECONSTRUCTIONS,
    kl_to_standard_normal,
    masked_mean,
    mean_over_regions,
)
from harness.methods.grm.regions import (
    REGION_NOISES,
    CertainRegions,
    GaussianRegions,
    NoPrompts,
    PatchRegions,
    RegionPrompts,
    Regions,
)

Prompting = RegionPrompts | PatchRegions | NoPrompts


class UncertainRegions(nn.Module):
    """Regions of gated patches, gathered by `prompting` and drawn by `uncertainty`."""

    def __init__(self, prompting: Prompting, uncertainty: GaussianRegions | CertainRegions):
        super().__init__()
        self.prompting, self.uncertainty = prompting, uncertainty

    def forward(self, patches: Tensor, mask: Tensor, generator: Generator = None) -> tuple[dict[str, Tensor], Tensor]:
        """The extras `regions` (N, K, D) and, if drawn, `region_logvar`; and the regions' mask (N, K)."""
        regions = self.prompting(patches, mask)
        return self.uncertainty(regions, generator), regions.mask

    def describe(self, patches: Tensor, mask: Tensor) -> tuple[Regions, Tensor]:
        """The regions, and the variance (N, K, D) of each."""
        regions = self.prompting(patches, mask)
        return regions, self.uncertainty.variance(regions.mean)


class Parts(nn.Module):
    """The learned parts of a GRM.

    Args:
        width: D.
        significance: gate of the images' fragments.
        granularity: gate of the words.
        regions: what the prompts gather, and how uncertain it is.
    """

    def __init__(
        self, width: int, significance: SoftGate | OpenGate, granularity: SoftGate | OpenGate, regions: UncertainRegions
    ):
        super().__init__()
        self.width = width
        self.significance, self.granularity, self.regions = significance, granularity, regions

    @staticmethod
    def width_of(state: Mapping[str, Tensor], prefix: str) -> int | None:
        """D of the parameters in a state dict; None if it holds none of a GRM's own."""
        for name in ("significance.hidden.weight", "granularity.hidden.weight", "regions.prompting.prompts"):
            if prefix + name in state:
                return state[prefix + name].shape[1]
        return next((v.shape[0] for k, v in state.items() if k.startswith(f"{prefix}regions.uncertainty")), None)


def build_parts(config: GrmConfig, width: int) -> Parts:
    """The components that a config names, with fresh parameters, for fragments of width D."""
    gated = config.gate_order == "norm_then_gate"  # otherwise the similarity does not feel the gates
    salient, uncertain = config.weight_salient > 0, config.weight_uncertain > 0
    regions = UncertainRegions(_prompting(config, width), _uncertainty(config, width))
    significance = config.significance if (gated and salient) or _reads_regions(config) else "off"
    granularity = config.granularity if gated and (salient or uncertain) else "off"
    return Parts(width, _gate(config, significance, width), _gate(config, granularity, width), regions)


def _gate(config: GrmConfig, kind: str, width: int) -> SoftGate | OpenGate:
    if kind == "off":
        return OpenGate()
    return GATES[kind](
        width, config.hidden_width or width, config.gate_temperature, NOISES[config.gate_noise], config.keep_bias
    )


def _prompting(config: GrmConfig, width: int) -> Prompting:
    if not _reads_regions(config):
        return NoPrompts()
    return RegionPrompts(config.regions, width) if config.regions else PatchRegions()


def _uncertainty(config: GrmConfig, width: int) -> GaussianRegions | CertainRegions:
    terms = regularisers(config)
    drawn = config.region_noise and (config.weight_uncertain > 0 or "reconstruction" in terms)
    if config.uncertainty == "off" or not (drawn or "kl" in terms):
        return CertainRegions()
    noise = REGION_NOISES[config.region_noise, config.sampler]
    return GaussianRegions(width, noise, (config.logvar_min, config.logvar_max), config.logvar_init)


def _reads_regions(config: GrmConfig) -> bool:
    return config.weight_uncertain > 0 or bool(regularisers(config))


@dataclass(frozen=True)
class RegionState:
    """What the regularisers read of a batch.

    Args:
        regions: the regions' means and attention.
        drawn: (N, K, D) the vectors that were scored.
        logvar: (N, K, D); of width 0 without uncertainty.
        target: (N, D) mean gated patch.
    """

    regions: Regions
    drawn: Tensor
    logvar: Tensor
    target: Tensor

    @classmethod
    def of(cls, regions: UncertainRegions, patches: Tensor, mask: Tensor, extras: Mapping[str, Tensor]) -> RegionState:
        """From gated patches (N, R, D) and the extras of prepared images."""
        found = regions.prompting(patches, mask)
        logvar = extras.get("region_logvar")  # missing in fragments that were prepared for evaluation
        logvar = regions.uncertainty.log_variance(found.mean) if logvar is None else logvar
        return cls(found, extras["regions"], logvar, masked_mean(patches, mask))


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
        "reconstruction": config.weight_reconstruction > 0,
        "kl": config.weight_kl > 0 and config.uncertainty == "gaussian",
        "entropy": config.weight_entropy > 0 and config.regions > 0,
    }
    terms = {"reconstruction": reconstruction, "kl": kl, "entropy": entropy}
    return {name: term for name, term in terms.items() if active[name]}
