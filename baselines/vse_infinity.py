"""VSE-infinity: global vectors by a pooling whose weights are learned (Chen et al., CVPR 2021).

Shape letters: N items, F fragments per item, D width, I images, T captions, H hidden width of the pooling's GRU.
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
from harness.scorers import recipes
from harness.scorers.bases import GlobalVectorScorer, unit_vector
from harness.scorers.features import clean
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer

#: Wavelengths of the position code grow to this many positions times two pi, as in a Transformer.
LONGEST_WAVE = 10_000.0
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


class GeneralizedPooling(nn.Module):
    """GPO: each feature is sorted over the set, and one learned weight per rank serves all features.

    The weights depend only on the size of the set: a GRU reads the codes of the ranks 0..F-1 in both directions.

    Source:
        Chen et al., VSE-infinity, CVPR 2021, section 3, and the authors' code. Differs: padding is -inf in the sort and
        in the softmax, where the code writes -10000; the weights are computed once for each size that occurs.
    """

    def __init__(self, code_width: int = 32, hidden_width: int = 32, temperature: float = 0.1):
        super().__init__()
        self.code_width, self.temperature = code_width, temperature
        self.gru = nn.GRU(code_width, hidden_width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(hidden_width, 1, bias=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Pool `features` (N, F, D) under `mask` (N, F) to (N, D)."""
        hidden = features.masked_fill(~mask[..., None], -torch.inf)
        ranked = hidden.sort(dim=1, descending=True).values
        ranked = ranked.masked_fill(~_first(mask.sum(1), mask.shape[1])[..., None], 0)
        return (self.weights(mask.sum(1), mask.shape[1])[..., None] * ranked).sum(1)

    def weights(self, sizes: Tensor, longest: int) -> Tensor:
        """Weights (N, longest) of the ranks of sets of `sizes` (N,) >= 1; each row sums to 1, 0 beyond its size."""
        # At evaluation all sizes that there could be: the network's last bits show how many it reads at once.
        every = torch.arange(1, longest + 1, device=sizes.device)
        distinct, row = sizes.unique(return_inverse=True) if self.training else (every, sizes - 1)
        # Half precision would spoil a softmax at temperature 0.1.
        with torch.autocast(sizes.device.type, enabled=False):
            codes = position_codes(longest, self.code_width).to(self.output.weight)
            packed = nn.utils.rnn.pack_padded_sequence(
                codes.expand(len(distinct), -1, -1), distinct.cpu(), batch_first=True, enforce_sorted=False
            )
            states, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
            logits = self.output(states.unflatten(-1, (2, -1)).mean(-2)).squeeze(-1) / self.temperature
            return logits.masked_fill(~_first(distinct, longest), -torch.inf).softmax(1)[row]


def position_codes(length: int, width: int) -> Tensor:
    """Sines (even columns) and cosines (odd) of the positions 0..length-1 at falling frequencies, (length, width).

    >>> position_codes(2, 2)  # one frequency: 1 radian per position
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(LONGEST_WAVE) / width))
    angle = torch.arange(length)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


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


def _first(counts: Tensor, longest: int) -> Tensor:
    """(N, longest) bool: True at the first `counts` (N,) positions of each row."""
    return torch.arange(longest, device=counts.device) < counts[:, None]
