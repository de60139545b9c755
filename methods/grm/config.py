"""GRM's settings: each choice that the paper leaves open is a named field with its reason; each ablation is a variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from harness.scorers.features import ClassToken
from harness.scorers.lazy_width import LazyWidthConfig

Gate = Literal["soft", "hard", "off"]
Level = Literal["original", "salient", "uncertain"]


class GrmConfig(LazyWidthConfig):
    """What GRM computes. The defaults are the published values where there are any (ViT-B/16-224, Flickr30K)."""

    # Published: soft masks in [0, 1]. "hard" is the straight-through form, "off" keeps every fragment.
    significance: Gate = Field("soft", description="gates of the image's fragments (significance-aware adapter)")
    granularity: Gate = Field("soft", description="gates of the words (granularity-aware adapter)")
    # The text never says that token similarity is a cosine, nor when the gate applies. Gating before the L2
    # normalisation cancels the gate and leaves the adapters without a gradient, so the gate comes after it.
    gate_order: Literal["norm_then_gate", "gate_then_norm", "none"] = Field(
        "norm_then_gate",
        description="whether gates scale unit vectors or go before the normalisation, which cancels them",
    )
    # Not printed; 1 makes the mask of an undecided fragment uniform on [0, 1] during training.
    gate_temperature: float = Field(1.0, gt=0, description="tau, temperature of the gates")
    # Gumbel noise belongs to training; the inference rule is not printed, and a score must not be random.
    gate_noise: bool = Field(True, description="Gumbel noise on the gates in training, never at evaluation")
    # At 0 both sides start half closed, so salient scores start at a quarter of the original under the same margin.
    keep_bias: float = Field(2.0, description="initial logit of keeping a fragment")
    # The figure shows Linear, GELU, Down without widths; None = D.
    hidden_width: int | None = Field(None, ge=1, description="hidden units of the adapters")

    # Published: 5 (ViT-224), 50 (Swin-224). 0 is "w/o RP": every patch is its own region, the entropy is off.
    regions: int = Field(5, ge=0, description="K, the number of region prompts")
    # ViT's [CLS] is a token like the others in the similarities (LAPS), but not a place in the image: no prompt sees it.
    class_token: ClassToken = Field(
        "auto", description="whether an image's first fragment is a [CLS]; auto: as the image encoder says"
    )
    keep_class_token: bool = Field(True, description="whether the [CLS] enters the similarities")

    uncertainty: Literal["gaussian", "off"] = Field(
        "gaussian", description="regions as Gaussians, or as their means alone"
    )
    # The noise is printed for training; "off" trains on the region means and keeps the KL term.
    region_noise: bool = Field(
        True, description="sampled regions in training; false trains on their means and keeps the KL term"
    )
    # One draw per region has exactly the law of the printed draw per patch and region, at 1/R of the noise.
    sampler: Literal["per_region", "per_pair"] = Field(
        "per_region", description="one draw per region, or per patch and region"
    )
    # The log-variance net is not printed. Near 0 the variance starts at 1; exactly 0 would leave the net's first layer
    # without a gradient in the first step.
    logvar_init: float = Field(1e-3, ge=0, description="standard deviation of the last layer's initial weights")
    # A guard: beyond these, exp(logvar) only blows up the KL term.
    logvar_min: float = Field(-8.0, description="smallest log-variance of a region")
    logvar_max: float = Field(4.0, description="largest log-variance of a region")

    # Published best; the three add up to 1.
    weight_original: float = Field(0.4, ge=0, description="of the level without gates; 0 leaves it out")
    weight_salient: float = Field(0.4, ge=0, description="of the gated level; 0 leaves it out")
    weight_uncertain: float = Field(0.2, ge=0, description="of the level of regions; 0 leaves it out")
    # The paper does not say whether an ablation rescales the levels that remain.
    renormalise_levels: bool = Field(False, description="scale the level weights to the sum 1")
    # The paper does not say which score ranks: the one that is trained.
    ranking: tuple[Level, ...] = Field(
        ("original", "salient", "uncertain"), min_length=1, description="levels that make up the score"
    )
    # Printed as 1/L also for gated tokens; "gates" divides by the sum of the gates instead.
    suppressed_mean: Literal["length", "gates"] = Field(
        "length", description="divisor of a gated mean: the number of tokens, or the sum of their gates"
    )
    # LAPS applies LeakyReLU(0.1) to the token similarity; GRM does not mention it.
    leaky_slope: float = Field(0.0, ge=0, lt=1, description="slope of negative token similarities; 0 = no activation")

    # The total is not written; 1 each, with means over batch and width so that none swamps the objective.
    weight_reconstruction: float = Field(1.0, ge=0, description="of the reconstruction loss")
    weight_kl: float = Field(1.0, ge=0, description="of the KL term of the regions")
    weight_entropy: float = Field(1.0, ge=0, description="of the entropy of the prompts' attention")
    # The text aligns the mean of the regions; the formula can be read as each region's distance, against diversity.
    reconstruction: Literal["global", "per_region"] = Field(
        "global", description="distance of the regions' mean, or of each region, to the image"
    )
    # Printed as a sum over the regions.
    kl_reduction: Literal["sum", "mean"] = Field("sum", description="reduction of the KL term over an image's regions")
    # Added with a plus, as printed: this favours low entropy, that is, concentrated regions.
    entropy_sign: Literal["minimise", "maximise"] = Field(
        "minimise", description="minimised: concentrated regions, as printed; maximised: spread ones"
    )

    @model_validator(mode="after")
    def _possible(self) -> GrmConfig:
        if not any(self.level_weights().values()):
            raise ValueError("the level weights are all 0; at least one level must be trained")
        if not self.ranking_weights():
            raise ValueError(
                f"ranking by {', '.join(self.ranking)} alone, whose level weight is 0, would score every pair equally; "
                "rank by a level with a positive weight"
            )
        if self.logvar_min > self.logvar_max:
            raise ValueError(f"logvar_min {self.logvar_min} is above logvar_max {self.logvar_max}")
        return self

    def level_weights(self) -> dict[str, float]:
        """Weights of the levels that are trained, by name; levels with weight 0 are left out."""
        weights = {level: getattr(self, f"weight_{level}") for level in get_args(Level)}
        total = sum(weights.values()) if self.renormalise_levels else 1.0
        return {level: weight / total for level, weight in weights.items() if weight > 0}

    def ranking_weights(self) -> dict[str, float]:
        """Weights of the levels that make up the score."""
        return {level: weight for level, weight in self.level_weights().items() if level in self.ranking}


#: The published sweep of K (figure 4a), and the best value named for Swin.
_REGIONS = (5, 15, 25, 35, 45, 50, 55)
#: The level weights (original, salient, uncertain) of figure 4b, in percent.
_WEIGHTS = ((20, 20, 60), (20, 40, 40), (20, 60, 20), (40, 20, 40), (40, 40, 20), (60, 20, 20))

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    # Tables 2 and 3 of the paper
    "no_significance": {"significance": "off"},
    "no_granularity": {"granularity": "off"},
    # The mean keeps the KL term of 49 to 576 patches, instead of 5 regions, from becoming a second ablation.
    "no_prompting": {"regions": 0, "kl_reduction": "mean"},
    "no_uncertainty": {"uncertainty": "off"},
    "no_original_level": {"weight_original": 0.0},
    "no_salient_level": {"weight_salient": 0.0},
    "no_uncertain_level": {"weight_uncertain": 0.0},
    "no_reconstruction": {"weight_reconstruction": 0.0},
    "no_regularisation": {"weight_kl": 0.0, "weight_entropy": 0.0},
    # Figure 4
    **{f"regions_{k}": {"regions": k} for k in _REGIONS},
    **{
        f"weights_{o}_{s}_{u}": {"weight_original": o / 100, "weight_salient": s / 100, "weight_uncertain": u / 100}
        for o, s, u in _WEIGHTS
    },
    # Gates
    "no_gates": {"significance": "off", "granularity": "off"},
    "hard_gates": {"significance": "hard", "granularity": "hard"},
    "gate_then_norm": {"gate_order": "gate_then_norm"},
    "no_salient_gating": {"gate_order": "none"},
    "half_open_gates": {"keep_bias": 0.0},
    "no_gate_noise": {"gate_noise": False},
    "tau_half": {"gate_temperature": 0.5},
    "tau_2": {"gate_temperature": 2.0},
    "mean_over_gates": {"suppressed_mean": "gates"},
    # Regions
    "no_region_noise": {"region_noise": False},
    "per_pair_noise": {"sampler": "per_pair"},
    "without_class_token": {"keep_class_token": False},
    # Losses
    "per_region_reconstruction": {"reconstruction": "per_region"},
    "maximise_entropy": {"entropy_sign": "maximise"},
    "regularisers_tenth": {"weight_reconstruction": 0.1, "weight_kl": 0.1, "weight_entropy": 0.1},
    "regularisers_hundredth": {"weight_reconstruction": 0.01, "weight_kl": 0.01, "weight_entropy": 0.01},
    "leaky_similarity": {"leaky_slope": 0.1},
    # Ranking
    "rank_original": {"ranking": ("original",)},
    "rank_salient": {"ranking": ("salient",)},
    "rank_uncertain": {"ranking": ("uncertain",)},
}

#: rSum on Flickr30K without one component, ViT-B/16-224 + BERT-base; "" is the complete model.
PUBLISHED_ABLATION: Mapping[str, float] = {
    "": 516.2,
    "no_significance": 502.8,
    "no_granularity": 507.0,
    "no_prompting": 503.3,
    "no_uncertainty": 508.3,
    "no_original_level": 487.2,
    "no_salient_level": 505.9,
    "no_uncertain_level": 501.6,
    "no_reconstruction": 513.2,
    "no_regularisation": 514.2,
}
PUBLISHED_ABLATION_SOURCE = (
    "GRM (AAAI 2026, pp. 23703-23711), tables 2 and 3: Flickr30K 1K test, ViT-B/16-224 + BERT-base"
)

#: What the paper varies, and the weights and temperatures that it does not print.
SEARCH_SPACE: Mapping[str, Any] = {
    "config.regions": [5, 15, 25],
    "config.weight_salient": {"low": 0.0, "high": 0.8},
    "config.weight_uncertain": {"low": 0.0, "high": 0.6},
    "config.gate_temperature": {"low": 0.5, "high": 2.0, "log": True},
    "config.weight_kl": [0.01, 0.1, 1.0],
    "config.weight_entropy": [0.01, 0.1, 1.0],
    "config.weight_reconstruction": [0.01, 0.1, 1.0],
}
