"""LAPS: each caption selects the patches it needs, and the rest is condensed (Fu et al., CVPR 2024).

Shape letters: I images, T captions, R image fragments, of which L are spatial patches, W words, D width, N aggregated
tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.alignment import Alignment, one_hot, paired
from harness.baselines.laps.pairs import ImageSide, TextSide, distilled, pairwise_scores
from harness.fragments import Fragments
from harness.scorers import recipes
from harness.scorers.features import (
    ClassToken,
    check_widths,
    clean,
    has_class_token,
    mean_of_real,
    without_class_token,
)
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer

#: The extra that holds the aggregation logits of prepared images.
LOGITS = "aggregation_logits"


class LapsConfig(LazyWidthConfig):
    """Settings of LAPS; the defaults are the authors' for ViT-B/16 at 224 pixels.

    The aggregation network has one output per aggregated token, N = int(L * beta * rho), but images may differ in L. It
    is built for the N of `max_fragments` patches, where it is the authors' network; an image with L patches uses its
    first int(L * beta * rho) outputs, at least one. So it exists before training collects the parameters, and no score
    depends on which images came first.
    """

    keep_ratio: float = Field(0.5, gt=0, le=1, description="rho: share of the patches that a caption keeps")
    aggregation_ratio: float = Field(0.4, gt=0, le=1, description="beta: aggregated tokens per kept patch")
    max_fragments: int = Field(196, ge=1, description="L for which the network is built; larger images get its N")
    aggregated_tokens: int | None = Field(None, ge=1, description="N of every image; None = int(L * beta * rho)")
    hidden_ratio: float = Field(0.2, gt=0, description="hidden width of the aggregation network, in units of D")
    leaky_slope: float = Field(0.1, ge=0, le=1, description="slope of the leaky ReLU on the cosines; 1 = none")
    ratio_weight: float = Field(2.0, ge=0, description="weight of the ratio loss, which has no gradient; see `losses`")
    class_token: ClassToken = Field(
        "auto", description="whether the first image fragment is a [CLS], which is set apart; auto asks the backbone"
    )

    def keep_count(self, fragments: int) -> int:
        """ceil(L * rho), the patches that a caption keeps of L; the guard is for products such as 55.00000000000001."""
        return math.ceil(fragments * self.keep_ratio - 1e-9)

    def token_count(self, fragments: int) -> int:
        """N of an image of L patches."""
        if self.aggregated_tokens is not None:
            return self.aggregated_tokens
        seen = min(fragments, self.max_fragments)
        return max(1, int(seen * self.aggregation_ratio * self.keep_ratio + 1e-9))


class AggregationNetwork(nn.Module):
    """Logits by which the kept patches are averaged to N tokens: scale * MLP(LayerNorm(patch))."""

    def __init__(self, width: int, hidden_width: int, tokens: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, hidden_width)
        self.output = nn.Linear(hidden_width, tokens)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, patches: Tensor) -> Tensor:
        """(..., D) -> (..., N)."""
        return self.scale * self.output(F.gelu(self.hidden(self.norm(patches.to(self.scale.dtype)))))


class Laps(LazyWidthScorer[AggregationNetwork]):
    """Sum of both directions' mean best cosines between a caption's words and the tokens it distils from an image.

    The choice of the best patches is discontinuous: where two of them are relevant to a caption to within rounding, the
    score may jump between machines. Equal patches never differ in their effect.

    Source:
        Fu et al., CVPR 2024, and the authors' public code, whose hard top-k is taken; the paper's Gumbel variant is not
        public. Differs: padding is masked on both sides; whether there is a [CLS] is said and not guessed from the
        number of fragments; see `LapsConfig` on N. With no patch left over there is no fused token. The aggregation
        network, whose logits depend on a patch alone, runs once per image instead of once per pair, to the same effect.
    """

    Config = LapsConfig
    config: LapsConfig
    width_parameters = ("norm.weight",)
    variants: ClassVar = {
        "vit_384": {"max_fragments": 576},
        "swin_224": {"keep_ratio": 0.8, "aggregation_ratio": 0.6, "max_fragments": 49},
        "swin_384": {"keep_ratio": 0.8, "aggregation_ratio": 0.6, "max_fragments": 144},
        "no_selection": {"keep_ratio": 1.0, "aggregation_ratio": 0.2},
    }
    recipe: ClassVar = recipes.LAPS
    search_space: ClassVar = {
        "config.keep_ratio": {"low": 0.3, "high": 0.9},
        "config.aggregation_ratio": {"low": 0.2, "high": 0.6},
        "config.leaky_slope": {"low": 0.0, "high": 0.3},
    }
    citation = "Fu et al., Linguistic-Aware Patch Slimming Framework for Fine-grained Cross-Modal Alignment, CVPR 2024"

    def setup(self) -> None:
        #: Largest number of elements in a tile's tensors; None = by device.
        self.tile_elements: int | None = None
        self._class_tokens = int(has_class_token(self.config.class_token, self.image_encoder))
        self._extra_losses = {"ratio": self._ratio_loss} if self.config.ratio_weight else {}

    def build_parts(self, width: int) -> AggregationNetwork:
        """The aggregation network."""
        hidden_width = max(1, int(width * self.config.hidden_ratio))
        return AggregationNetwork(width, hidden_width, self.config.token_count(self.config.max_fragments))

    def prepare_images(self, images: Fragments) -> Fragments:
        """Add the extra `aggregation_logits` (I, R, N); images that have it come back as they are.

        The features stay as they came: the mean over patches and the fused vectors are of raw features.
        """
        if LOGITS in images.extras:
            return images
        logits = self.parts_for(images, "images")(clean(images))
        return Fragments(images.features, images.mask, {**images.extras, LOGITS: logits})

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T) in [-2, 2]; arguments and errors as `Scorer.score`."""
        check_widths(images, texts)
        with torch.autocast(images.device.type, enabled=False):  # half precision would spoil the choice and the norms
            left, right = self._image_side(self.prepare_images(images)), _text_side(texts)
            return pairwise_scores(left, right, self.config.leaky_slope, self.tile_elements)

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """Per word the patches that its best token is made of, by their shares in that token.

        `regions` (N, M, R) are the distilled tokens: aggregated, fused, and [CLS], which looks at itself alone;
        `word_regions` is 1 at the best token of each word, whose cosine is the word's score. `region_gates` is 1 for the
        patches that the caption keeps and 0 for those that it fuses. The score is the mean of the words' scores plus the
        mean over the tokens of their best words, which are no single patch's and therefore not in it.
        """
        images, texts = paired(self.prepare_images(images), texts)
        check_widths(images, texts)
        with torch.autocast(images.device.type, enabled=False):
            side = self._image_side(images)
            pairs = distilled(side, _text_side(texts), self.config.leaky_slope)
        cosines = pairs.cosines.mT.masked_fill(~side.token_mask[:, None], -torch.inf)
        best, index = cosines.max(2)
        chosen = one_hot(index, cosines.shape[2], texts.mask).to(cosines.dtype)
        return Alignment(
            kind="patches of each word's best token",
            weights=chosen @ pairs.tokens,
            over="regions",
            word_mask=texts.mask,
            region_mask=images.mask,
            word_scores=best.masked_fill(~texts.mask, 0),
            region_gates=(pairs.kept | (images.mask & ~side.mask)).to(cosines.dtype),
            regions=pairs.tokens,
            word_regions=chosen,
        )

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The objective `matching`, and unless its weight is 0 `ratio`: weight * (mean(kept) - rho)^2.

        A hard choice has no gradient and keeps the same number whatever is learned, so the ratio trains nothing. It is
        there because the authors' total has it. Arguments as `Scorer.losses`.
        """
        terms = super().losses(images, texts, image_ids)
        return terms | {name: loss(images) for name, loss in self._extra_losses.items()}

    def _ratio_loss(self, images: Fragments) -> Tensor:
        patches = self._spatial_mask(images).sum(1)
        kept = _by_count(patches, self.config.keep_count).sum() / patches.sum()
        return self.config.ratio_weight * (kept - self.config.keep_ratio) ** 2

    def _image_side(self, images: Fragments) -> ImageSide:
        features, mask = clean(images), self._spatial_mask(images)
        patches = features * mask[..., None]
        counts = mask.sum(1)
        kept, tokens = _by_count(counts, self.config.keep_count), _by_count(counts, self.config.token_count)
        logits = images.extras[LOGITS].to(features.dtype)
        first = slice(0, self._class_tokens)
        class_mask = images.mask[:, first] & ~mask[:, first]
        slots = torch.arange(logits.shape[-1], device=mask.device)
        return ImageSide(
            patches=patches,
            mask=mask,
            logits=logits.transpose(1, 2),
            kept=kept,
            centrality=_cosines_with_mean(patches, mask),
            gram=patches @ patches.transpose(1, 2),
            class_tokens=F.normalize(features[:, first], dim=-1),
            token_mask=torch.cat([slots < tokens[:, None], (kept < counts)[:, None], class_mask], 1),
        )

    def _spatial_mask(self, images: Fragments) -> Tensor:
        """(I, R) bool: the real fragments without a [CLS], which stays where an image has nothing else."""
        return without_class_token(images.mask) if self._class_tokens else images.mask


def _text_side(texts: Fragments) -> TextSide:
    words = clean(texts)
    return TextSide(F.normalize(words, dim=-1), texts.mask, F.normalize(mean_of_real(words, texts.mask), dim=-1))


def _cosines_with_mean(features: Tensor, mask: Tensor) -> Tensor:
    mean = F.normalize(mean_of_real(features, mask), dim=-1)
    return (F.normalize(features, dim=-1) @ mean[..., None]).squeeze(-1)


def _by_count(counts: Tensor, function: Callable[[int], int]) -> Tensor:
    """`function` of each of the counts (I,), an int64 tensor."""
    return torch.tensor([function(count) for count in counts.tolist()], dtype=torch.long, device=counts.device)
