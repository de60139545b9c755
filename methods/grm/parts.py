"""What a GRM owns, chosen by its config: tables lead from a value to a component, "off" to one without parameters.

A component whose output nothing reads is "off" too, so that every parameter gets a gradient.
Shape letters: N images, R patches, K regions, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.methods.grm.config import GrmConfig
from harness.methods.grm.gates import GATES, NOISES, Generator, OpenGate, SoftGate
from harness.methods.grm.losses import regularisers
from harness.methods.grm.regions import (
    SAMPLERS,
    CertainRegions,
    GaussianRegions,
    NoPrompts,
    PatchRegions,
    RegionPrompts,
    Regions,
    no_region_noise,
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
        return regions, self.uncertainty.log_variance(regions.mean).exp()


class Parts(nn.Module):
    """The learned parts of a GRM: the gates of both sides, what the prompts gather, and how uncertain it is."""

    def __init__(self, significance: SoftGate | OpenGate, granularity: SoftGate | OpenGate, regions: UncertainRegions):
        super().__init__()
        self.significance, self.granularity, self.regions = significance, granularity, regions


def build_parts(config: GrmConfig, width: int) -> Parts:
    """The components that a config names, with fresh parameters, for fragments of width D."""
    terms = regularisers(config)
    salient, uncertain = config.weight_salient > 0, config.weight_uncertain > 0
    reads_regions = uncertain or bool(terms)
    gated = config.gate_order == "norm_then_gate"  # otherwise the similarity does not feel the gates

    def gate(kind: str, read: bool) -> SoftGate | OpenGate:
        hidden, noise = config.hidden_width or width, NOISES[config.gate_noise]
        return GATES[kind if read else "off"](width, hidden, config.gate_temperature, noise, config.keep_bias)

    def prompting() -> Prompting:
        if not reads_regions:
            return NoPrompts()
        return RegionPrompts(config.regions, width) if config.regions else PatchRegions()

    def uncertainty() -> GaussianRegions | CertainRegions:
        drawn = config.region_noise and (uncertain or "reconstruction" in terms)
        if config.uncertainty == "off" or not (drawn or "kl" in terms):
            return CertainRegions()
        noise = SAMPLERS[config.sampler] if config.region_noise else no_region_noise
        return GaussianRegions(width, noise, (config.logvar_min, config.logvar_max), config.logvar_init)

    regions = UncertainRegions(prompting(), uncertainty())  # first: the order in which parameters are drawn
    significance = gate(config.significance, (gated and salient) or reads_regions)
    return Parts(significance, gate(config.granularity, gated and (salient or uncertain)), regions)
