"""PCME++: images and captions as Gaussians, matched by the expected distance of their draws (Chun, ICLR 2024).

Shape letters: N items, F fragments per item, D width, I images, T captions, B pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.fragments import Fragments
from harness.scorer import Reading
from harness.scorers import recipes
from harness.scorers.features import check_widths, clean
from harness.scorers.generalized_pooling import GeneralizedPooling
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer

#: The extra (N,) of prepared items: the mean over the width of their log-variances, which the prior reads.
LOG_VARIANCE = "mean_log_variance"
#: Attention heads of the uncertainty network: the first that divides D.
HEADS = (8, 4, 2, 1)


class PcmeppConfig(LazyWidthConfig):
    """Settings of PCME++; the defaults are the authors' for CLIP ViT-B/32, but for `initial_variance`."""

    uncertainty: Literal["gaussian", "off"] = Field("gaussian", description="off: points, whose variance is 0")
    uncertainty_layers: int = Field(1, ge=1, description="Transformer layers on the fragments that make the variance")
    initial_variance: float = Field(1.0, gt=0, description="variance of an item at the start, summed over the width")
    scale: float = Field(5.0, gt=0, description="initial factor on the distance in the logit of a match")
    shift: float = Field(5.0, description="initial logit of a match at distance 0")
    weight_pseudo: float = Field(0.1, ge=0, description="weight of the loss that takes close negatives as matches")
    weight_prior: float = Field(1e-4, ge=0, description="weight of the divergence from a standard normal distribution")


class LogVariance(nn.Module):
    """Log-variances of an item from its fragments: a small Transformer, a linear map, generalized pooling.

    Source:
        Chun, section 3.2, and the authors' code. Differs: the layers read the tower's output, where the authors' run
        beside the last layers of CLIP and begin with their weights; the variance begins at `initial_variance`, whatever D.
    """

    def __init__(self, width: int, config: PcmeppConfig):
        super().__init__()
        heads = next(heads for heads in HEADS if width % heads == 0)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(config.uncertainty_layers)
        )
        self.output = nn.Linear(width, width)
        self.pooling = GeneralizedPooling()
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.constant_(self.output.bias, math.log(config.initial_variance / width))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """`features` (N, F, D), 0 at the padding, and mask (N, F) -> (N, D)."""
        for layer in self.layers:
            features = layer(features, src_key_padding_mask=~mask)
        return self.pooling(self.output(features).masked_fill(~mask[..., None], 0), mask)


class NoVariance(nn.Module):
    """Points: no variance, and no parameters."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return features.new_full((len(features), features.shape[2]), -torch.inf)


UNCERTAINTIES: dict[str, Callable[[int, PcmeppConfig], nn.Module]] = {
    "gaussian": LogVariance,
    "off": lambda width, config: NoVariance(),
}


class PcmeppParts(nn.Module):
    """What depends on D: a network of variances per side."""

    def __init__(self, width: int, config: PcmeppConfig):
        super().__init__()
        self.image_variance, self.text_variance = (UNCERTAINTIES[config.uncertainty](width, config) for _ in range(2))


class Pcmepp(LazyWidthScorer[PcmeppParts]):
    """Minus the expected squared distance of draws from two Gaussians: |mu_i - mu_t|^2 + the sums of both variances.

    That is a dot product up to the constant -2, which is left out: of (sqrt 2 mu_i, -variance, 1) and (sqrt 2 mu_t, 1,
    -variance). So an index searches the vectors as they are. An image's variance lowers it for every caption alike.

    Source:
        Chun, Improved Probabilistic Image-Text Representations, ICLR 2024, eq. 1-4, and the authors' code. Differs: other
        pairs of one image are matches too; no Mixup and CutMix of matches; AdamW, and no averaging of weights over epochs.
        See also `LogVariance`.

    `align` gives None: one vector per side is compared.
    """

    Config = PcmeppConfig
    config: PcmeppConfig
    width_parameters = ("image_variance.output.weight",)
    variants: ClassVar = {
        "no_uncertainty": {"uncertainty": "off"},
        "no_pseudo_positives": {"weight_pseudo": 0.0},
        "no_prior": {"weight_prior": 0.0},
    }
    #: The authors' epochs and rates; the towers of theirs learn at rates of their own.
    recipe: ClassVar = {**recipes.VSE_INFINITY, "backbone_learning_rate_scale": 0.1, "word_masking": 0.2}
    search_space: ClassVar = {
        "config.scale": {"low": 1.0, "high": 20.0, "log": True},
        "config.weight_pseudo": [0.0, 0.1, 1.0],
        "training.margin": None,
        "training.temperature": None,
    }
    citation = "Chun, Improved Probabilistic Image-Text Representations, ICLR 2024"
    readings: ClassVar = {
        "image_variance": Reading("variance of each image's vector, summed over the width", "image"),
        "text_variance": Reading("variance of each caption's vector, summed over the width", "caption"),
    }

    def setup(self) -> None:
        self.image_pooling, self.text_pooling = GeneralizedPooling(), GeneralizedPooling()
        self.scale, self.shift = (nn.Parameter(torch.tensor(v)) for v in (self.config.scale, self.config.shift))
        terms = {"pseudo": (self.config.weight_pseudo, self._pseudo), "prior": (self._prior_weight, self._prior)}
        self._terms = {name: term for name, (weight, term) in terms.items() if weight}

    def build_parts(self, width: int) -> PcmeppParts:
        """The networks of variances."""
        return PcmeppParts(width, self.config)

    def prepare_images(self, images: Fragments) -> Fragments:
        """One vector (F = 1) of width D + 2 per image, see the class; images so prepared come back as they are."""
        return self._prepared(images, "images")

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One vector per caption, likewise."""
        return self._prepared(texts, "captions")

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T): twice the cosine of the means, minus both variances; arguments and errors as `Scorer.score`."""
        left, right = self.prepare_images(images), self.prepare_texts(texts)
        check_widths(left, right)
        return left.features[:, 0] @ right.features[:, 0].T

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of the match of each pair of the batch, and the prior, whatever `training.objective` says.

        Returns:
            `matching`: both directions; `pseudo`: the same with close negatives as matches; `prior`; those whose weight is
            not 0. Arguments as `Scorer.losses`.

        Source:
            The authors' `ClosedFormSampledDistanceLoss`; eq. 2 (matching) and eq. 3 (pseudo).
        """
        left, right = self.prepare_images(images), self.prepare_texts(texts)
        logits = self.shift - self.scale * (2 - self.score(left, right))
        matches = (image_ids[:, None] == image_ids).to(logits.dtype)
        # Both directions have one matrix, so one of them twice.
        terms = {"matching": 2 * F.binary_cross_entropy_with_logits(logits, matches)}
        return terms | {name: term(logits, matches, (left, right)) for name, term in self._terms.items()}

    def image_readings(self, images: Fragments) -> dict[str, Tensor]:
        """Variance (I,) of each image."""
        return {"image_variance": -images.features[:, 0, -2]}

    def text_readings(self, texts: Fragments) -> dict[str, Tensor]:
        """Variance (T,) of each caption."""
        return {"text_variance": -texts.features[:, 0, -1]}

    @property
    def _prior_weight(self) -> float:
        """Points have no distribution that could differ from another."""
        return self.config.weight_prior if self.config.uncertainty != "off" else 0.0

    def _prepared(self, items: Fragments, side: str) -> Fragments:
        if LOG_VARIANCE in items.extras:
            return items
        parts, image = self.parts_for(items, side), side == "images"
        features = clean(items).to(self.scale.dtype)
        pool, network = (
            (self.image_pooling, parts.image_variance) if image else (self.text_pooling, parts.text_variance)
        )
        mean = math.sqrt(2) * F.normalize(pool(features, items.mask), dim=-1)
        log_variance = network(features, items.mask)
        variance = log_variance.exp().sum(1, keepdim=True)
        ends = (-variance, torch.ones_like(variance))
        vector = torch.cat([mean, *(ends if image else reversed(ends))], 1)
        extras = {LOG_VARIANCE: log_variance.mean(1)}
        return Fragments(vector[:, None], vector.new_ones(len(vector), 1).bool(), extras)

    def _pseudo(self, logits: Tensor, matches: Tensor, sides: tuple[Fragments, Fragments]) -> Tensor:
        """Cross-entropy where a pair that is at least as close as the query's own match counts as a match too."""
        own = logits.diagonal()
        close = [logits >= own[:, None], logits >= own[None, :]]
        losses = [
            F.binary_cross_entropy_with_logits(logits, (matches.bool() | near).to(logits.dtype)) for near in close
        ]
        return self.config.weight_pseudo * (losses[0] + losses[1])

    def _prior(self, logits: Tensor, matches: Tensor, sides: tuple[Fragments, Fragments]) -> Tensor:
        """KL(N(mu, sigma^2) || N(0, 1)), mean over the width and the batch, of both sides."""
        terms = []
        for side, place in zip(sides, (-2, -1), strict=True):
            width = side.width - 2
            variance, mean_square = -side.features[:, 0, place] / width, 1 / width  # the means are unit vectors
            terms.append(0.5 * (mean_square + variance - 1 - side.extras[LOG_VARIANCE]).mean())
        return self._prior_weight * (terms[0] + terms[1])
