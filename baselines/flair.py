"""FLAIR: the caption as a whole asks the image's patches what it needs, and is compared with the answer (CVPR 2025).

Shape letters: I images, T captions, N items, F fragments per item, R patches, D width, H heads, E = D / H; small letters
for the items of one tile; B pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.scorers import recipes
from harness.scorers.bases import unit_vector
from harness.scorers.features import check_widths, clean, last_of_real, mean_of_real
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer
from harness.scorers.temperature import bounded_scale, log_scale
from harness.scorers.tiles import Side, budget, scores_of_all_pairs

#: The extras of prepared items: what the patches answer to and with, each (I, R, D); what a caption asks, (T, D).
KEYS, VALUES, QUERY = "keys", "values", "query"
#: Heads of the attention, where the config does not say: the first that divides D.
HEADS = (8, 4, 2, 1)
#: Which of its fragments stands for a caption.
POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last_of_real, "mean": mean_of_real}
#: Values of one tile's largest tensor, the attention (i, t, H, R + 1) or the answers (i, t, D).
TILE_VALUES = {"cpu": 2**22, "cuda": 2**26}


class FlairConfig(LazyWidthConfig):
    """Settings of FLAIR; the defaults are the authors', but for `caption`, which is their `last` on CLIP's text tower."""

    heads: int | None = Field(None, ge=1, description="H; None = 8, or the largest power of two below that divides D")
    caption: Literal["mean", "last"] = Field(
        "mean", description="what stands for a caption: the mean of its words, or its last one (the end token of CLIP)"
    )
    scale: float = Field(10.0, gt=0, le=100, description="initial factor on the cosine in the logit of a match")
    bias: float = Field(-10.0, description="initial logit of a match at cosine 0")
    weight_conditioned: float = Field(0.5, gt=0, description="weight of the loss of the answers")
    weight_global: float = Field(0.5, ge=0, description="weight of the loss of whole images, which asks nothing")


class FlairParts(nn.Module):
    """The attention by which a caption pools an image's patches.

    Source:
        Xiao et al., section 3.2: multi-head attention with an empty patch, to which a caption turns that nothing in the
        image answers. Differs: the keys have no bias, so that the empty patch is one of zeros.
    """

    def __init__(self, width: int, config: FlairConfig):
        super().__init__()
        self.heads = config.heads or next(heads for heads in HEADS if width % heads == 0)
        if width % self.heads:
            raise InvalidSpec(
                f"flair has {self.heads} heads, which do not divide the width D = {width}; set config.heads"
            )
        self.patch_norm, self.caption_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.output = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)

    def answers(self, images: Patches, captions: Captions) -> Tensor:
        """What each image answers each caption, as unit vectors (i, t, D)."""
        keys, values = (side.unflatten(-1, (self.heads, -1)) for side in (images.keys, images.values))
        asked = captions.queries.unflatten(-1, (self.heads, -1)) / math.sqrt(keys.shape[-1])
        logits = torch.einsum("irhe,the->ithr", keys, asked)
        logits = logits.masked_fill(~images.mask[:, None, None], -torch.inf)
        weights = F.pad(logits, (0, 1)).softmax(-1)[..., :-1]  # the empty patch has logit 0 and nothing to say
        pooled = torch.einsum("ithr,irhe->ithe", weights, values).flatten(2)
        return F.normalize(self.output(pooled), dim=-1)


@dataclass(frozen=True)
class Patches(Side):
    """What the captions read of I images: keys and values (I, R, D), and mask (I, R)."""

    keys: Tensor
    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Captions(Side):
    """T captions: what they ask (T, D), and what the answer is compared with, unit vectors (T, D)."""

    queries: Tensor
    vectors: Tensor


class Flair(LazyWidthScorer[FlairParts]):
    """Cosine of a caption's vector with what the image's patches answer to it.

    Source:
        Xiao et al., FLAIR: VLM with Fine-grained Language-informed Image Representations, CVPR 2025, sections 3.2 and 3.3.
        Differs: written from the paper, for any towers; the published model is pre-trained on millions of images with long
        captions, of which several at a time are drawn per image. Its top-k mode is a cascade (`itm profile --cascade`).

    `align` gives None: the caption asks as a whole, no word looks anywhere by itself.
    """

    Config = FlairConfig
    config: FlairConfig
    width_parameters = ("query.weight",)
    variants: ClassVar = {"last": {"caption": "last"}, "no_global": {"weight_global": 0.0}}
    #: The paper's are those of a large pre-training; these are the other baselines', to compare like with like.
    recipe: ClassVar = recipes.VSE_INFINITY
    #: The loss is its own: of the training's objective it takes nothing.
    search_space: ClassVar = {
        "config.scale": {"low": 2.0, "high": 50.0, "log": True},
        "config.weight_global": [0.0, 0.5],
        "training.margin": None,
        "training.temperature": None,
    }
    citation = "Xiao et al., FLAIR: VLM with Fine-grained Language-informed Image Representations, CVPR 2025"

    def setup(self) -> None:
        #: Largest number of values in a tile's tensors; None = by device.
        self.tile_values: int | None = None
        self.log_scale, self.bias = log_scale(1 / self.config.scale), nn.Parameter(torch.tensor(self.config.bias))
        self._extra_losses = {"global": self._global_loss} if self.config.weight_global else {}

    def build_parts(self, width: int) -> FlairParts:
        """The attention."""
        return FlairParts(width, self.config)

    def prepare_images(self, images: Fragments) -> Fragments:
        """Add the extras `keys` and `values` (I, R, D); images that have them come back as they are."""
        if KEYS in images.extras:
            return images
        parts = self.parts_for(images, "images")
        patches = parts.patch_norm(clean(images).to(parts.key.weight.dtype))
        extras = {KEYS: parts.key(patches), VALUES: parts.value(patches)}
        return Fragments(images.features, images.mask, {**images.extras, **extras})

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One unit vector per caption (F = 1), with the extra `query` (T, D); captions that have it come back as they are."""
        if QUERY in texts.extras:
            return texts
        parts = self.parts_for(texts, "captions")
        vectors = POOLINGS[self.config.caption](clean(texts).to(parts.query.weight.dtype), texts.mask)
        return unit_vector(vectors, {QUERY: parts.query(parts.caption_norm(vectors))})

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T) in [-1, 1]; arguments and errors as `Scorer.score`."""
        check_widths(images, texts)
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        left = Patches(images.extras[KEYS], images.extras[VALUES], images.mask)
        right = Captions(texts.extras[QUERY], texts.features[:, 0])
        parts = self.parts_for(images, "images")
        widest = max(parts.heads * (left.mask.shape[1] + 1), right.vectors.shape[1])
        pairs = max(1, budget(self.tile_values, TILE_VALUES, right.vectors.device) // widest)
        return scores_of_all_pairs(left, right, pairs, self._tile)

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """Weighted sigmoid losses `conditioned` and, unless its weight is 0, `global`, whatever `training.objective` says.

        An image is asked by every caption of the batch, and each answer is compared with the caption that asked: a
        caption compared with another's answer could be told apart by the question alone. Arguments as `Scorer.losses`.

        Source:
            Xiao et al., eq. 3-5. Differs: other pairs of one image are matches in both losses.
        """
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        terms = {
            "conditioned": self.config.weight_conditioned * self._sigmoid_loss(self.score(images, texts), image_ids)
        }
        return terms | {name: loss(images, texts, image_ids) for name, loss in self._extra_losses.items()}

    def _tile(self, images: Patches, captions: Captions) -> Tensor:
        assert self.parts is not None
        return (self.parts.answers(images, captions) * captions.vectors).sum(-1)

    def _global_loss(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> Tensor:
        whole = F.normalize(mean_of_real(clean(images).to(texts.features.dtype), images.mask), dim=-1)
        return self.config.weight_global * self._sigmoid_loss(whole @ texts.features[:, 0].T, image_ids)

    def _sigmoid_loss(self, cosines: Tensor, image_ids: Tensor) -> Tensor:
        """Each pair (B, B) by itself is a match or not: the sum over the pairs, divided by B."""
        logits = bounded_scale(self.log_scale) * cosines + self.bias
        matches = (image_ids[:, None] == image_ids).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, matches, reduction="sum") / len(cosines)
