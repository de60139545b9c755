"""VSE-infinity: global vectors by a pooling whose weights are learned (Chen et al., CVPR 2021).

Shape letters: N items, F fragments per item, D width, I images, T captions, H hidden width of the pooling's GRU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.fragments import Fragments
from harness.scorers import recipes
from harness.scorers.bases import GlobalVectorScorer, unit_vector
from harness.scorers.features import clean
from harness.scorers.generalized_pooling import GeneralizedPooling
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer

#: The extra that marks items which are pooled already: for them F = 1 alone would not say so.
POOLED = "pooled"


class VseInfinityConfig(LazyWidthConfig):
    """Settings of VSE-infinity; the defaults are the authors' for region features."""

    image_mlp: Literal["residual", "off"] = Field(
        "residual", description="two-layer network added to each image fragment before pooling; off for grid features"
    )
    image_mlp_width: int = Field(512, ge=1, description="hidden width of that network")
    code_width: int = Field(32, ge=2, multiple_of=2, description="width of the position code that the pooling reads")
    hidden_width: int = Field(32, ge=1, description="H, hidden width of the pooling's GRU")
    temperature: float = Field(0.1, gt=0, description="temperature of the softmax over positions")


class ResidualMlp(nn.Module):
    """Adds to each fragment a network of two layers with batch normalisation between them, over real fragments only.

    Source:
        Chen et al., VSE-infinity, the authors' code. Differs: there it reads the raw region features beside their
        linear projection; here it reads the fragments that the backbone has projected.
    """

    def __init__(self, width: int, hidden_width: int):
        super().__init__()
        self.hidden = nn.Linear(width, hidden_width)
        self.normalize = nn.BatchNorm1d(hidden_width)
        self.output = nn.Linear(hidden_width, width)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """`features` (N, F, D), 0 at the padding, which stays 0."""
        real = features[mask]
        change = self.output(F.relu(self.normalize(self.hidden(real.to(self.hidden.weight.dtype)))))
        return features.masked_scatter(mask[..., None], real + change.to(real.dtype))


class NoMlp(nn.Module):
    """No image network; owns no parameters."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return features


IMAGE_MLPS: dict[str, Callable[[int, int], nn.Module]] = {
    "residual": ResidualMlp,
    "off": lambda width, hidden_width: NoMlp(),
}


class VseInfinity(LazyWidthScorer[nn.Module], GlobalVectorScorer):
    """Cosine of two vectors, each pooled by ranks from the fragments of its side.

    Only the image network has parameters that depend on D; see `LazyWidthScorer` on how D becomes known.

    Source:
        Chen et al., CVPR 2021. Differs: fragments of any backbone; see `GeneralizedPooling` and `ResidualMlp`.
        The size augmentation is the recipe's `region_drop` and `word_masking`.

    `align` gives None: the pooling weighs ranks, whose fragments differ from feature to feature, and reads one side alone.
    """

    Config = VseInfinityConfig
    config: VseInfinityConfig
    width_parameters = ("output.bias",)
    variants: ClassVar = {"no_image_mlp": {"image_mlp": "off"}}
    #: Of region features. On grid features the authors also ramp the loss up in the first epoch of the backbone.
    recipe: ClassVar = {
        **recipes.VSE_INFINITY,
        "backbone_learning_rate_scale": 0.1,
        "region_drop": 0.2,
        "word_masking": 0.2,
    }
    search_space: ClassVar = {
        "config.image_mlp": ["residual", "off"],
        "config.temperature": {"low": 0.03, "high": 0.5, "log": True},
        "config.hidden_width": [16, 32, 64],
    }
    citation = "Chen et al., Learning the Best Pooling Strategy for Visual Semantic Embedding, CVPR 2021"

    def setup(self) -> None:
        pooling = (self.config.code_width, self.config.hidden_width, self.config.temperature)
        self.image_pooling = GeneralizedPooling(*pooling)
        self.text_pooling = GeneralizedPooling(*pooling)

    def build_parts(self, width: int) -> nn.Module:
        """The image network."""
        return IMAGE_MLPS[self.config.image_mlp](width, self.config.image_mlp_width)

    def prepare_images(self, images: Fragments) -> Fragments:
        """One unit vector per image (F = 1), marked by the extra `pooled` (I,); images so marked come back as they are."""
        if POOLED in images.extras:
            return images
        mlp = self.parts_for(images, "images")
        return _pooled(mlp(clean(images), images.mask), images.mask, self.image_pooling)

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One unit vector per caption (F = 1), marked likewise."""
        return texts if POOLED in texts.extras else _pooled(clean(texts), texts.mask, self.text_pooling)


def _pooled(features: Tensor, mask: Tensor, pooling: GeneralizedPooling) -> Fragments:
    return unit_vector(pooling(features, mask), {POOLED: mask.new_ones(len(mask))})
