"""HREM: embeddings that are trained to hold what a batch's images and captions say about each other (Fu et al., CVPR 2023).

In training a graph joins all images and captions of a batch; one Transformer layer passes messages along its edges, and the
losses ask the plain embeddings to match the enhanced ones. For a query there is no graph: one vector per image and caption.

Shape letters: B pairs of a batch, N items, F fragments per item, D width, I images, T captions, R regions, W words, K best
matches of a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.scorers import recipes
from harness.scorers.bases import GlobalVectorScorer, unit_vector
from harness.scorers.features import clean, mean_of_real
from harness.scorers.lazy_width import LazyWidthConfig, LazyWidthScorer

#: The extras of prepared items: a mark that they are embedded, and in training their unit fragments (N, F, D) with mask.
EMBEDDED, FRAGMENTS, REAL = "embedded", "fragments", "real"
#: Heads of the attention, where the config does not say: the first that divides D.
HEADS = (16, 8, 4, 2, 1)
#: Captions whose words are compared with all regions of a batch at a time.
CAPTIONS = 16


class HremConfig(LazyWidthConfig):
    """Settings of HREM; the defaults are the authors', but for `warmup_steps`, which is 8,000 with them."""

    residual_weight: float = Field(0.8, ge=0, lt=1, description="share of the two largest values in an embedding")
    heads: int | None = Field(
        None, ge=1, description="attention heads; None = 16, or the largest power of two that divides D"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the Transformer layers")
    interaction: Literal["fusion", "off"] = Field("fusion", description="messages between a batch's items; off = none")
    neighbours: float = Field(0.5, gt=0, le=1, description="share of a batch's items that an item hears, per kind")
    matches: int = Field(10, ge=1, description="K, best matches of a pair's fragments that its relevance is read from")
    weight_regularisation: float = Field(
        10.0, ge=0, description="weight of the loss that keeps relevance close to distance"
    )
    warmup_steps: int = Field(0, ge=0, description="steps of training before the interaction joins")


class RelationPooling(nn.Module):
    """The mean of the two largest values of each feature, and the mean after a layer in which fragments see each other.

    Source:
        Fu et al., relations between fragments, and the authors' code. Differs: the network of regions before it is that of
        the backbone.
    """

    def __init__(self, width: int, config: HremConfig):
        super().__init__()
        self.layer = _layer(width, config)
        self.residual_weight = config.residual_weight

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """`features` (N, F, D), 0 at the padding, and mask (N, F) -> (N, D)."""
        best = features.masked_fill(~mask[..., None], -torch.inf).topk(min(2, mask.shape[1]), dim=1).values
        largest = best.masked_fill(best == -torch.inf, 0).sum(1) / mask.sum(1, keepdim=True).clamp(max=2)
        related = self.layer(features, src_key_padding_mask=~mask).masked_fill(~mask[..., None], 0)
        return self.residual_weight * largest + (1 - self.residual_weight) * mean_of_real(related, mask)


class FusionInteraction(nn.Module):
    """Messages between all images and captions of a batch, in one layer.

    An edge carries a relevance, which is added to the attention's logit: between items of one kind by the distance of their
    embeddings, between an image and a caption by the matches of their fragments. An item hears those of its nearest
    neighbours only.

    Source:
        Fu et al., relations between instances, fusion mechanism, and the authors' code. Differs: padding is no match, and a
        pair of fewer than K matches has 0 for the others, where the code reads padded words.
    """

    def __init__(self, width: int, config: HremConfig):
        super().__init__()
        self.layer = _layer(width, config)
        self.matches, self.neighbours = config.matches, config.neighbours
        self.word_relevance, self.region_relevance = (
            nn.Sequential(nn.Linear(self.matches, self.matches), nn.ReLU(), nn.Linear(self.matches, 1))
            for _ in range(2)
        )

    def forward(self, images: Fragments, texts: Fragments) -> tuple[Tensor, Tensor, Tensor]:
        """Enhanced unit vectors (B, D) of images and captions, and how far the relevances are from the embeddings' own."""
        image, text = images.features[:, 0], texts.features[:, 0]
        words, regions = best_matches(images, texts, self.matches)
        relevance = {
            "ii": (-_distances(image, image)).exp(),
            "tt": (-_distances(text, text)).exp(),
            "ti": self.word_relevance(words.best).squeeze(-1) + words.mean,
            "it": self.region_relevance(regions.best).squeeze(-1) + regions.mean,
        }
        with torch.no_grad():
            # Two images are neighbours where one is close to the other's caption, as in the authors' code.
            close = {"ii": image @ text.T, "tt": text @ image.T, "ti": words.mean, "it": regions.mean}
            near = {kind: nearest(value, self.neighbours) for kind, value in close.items()}
            guide = (-_distances(image, text)).exp()
        edges = {kind: relevance[kind].masked_fill(~near[kind], -torch.inf) for kind in relevance}
        bias = torch.cat([torch.cat([edges["ii"], edges["it"]], 1), torch.cat([edges["ti"], edges["tt"]], 1)])
        both = torch.cat([image, text])
        enhanced = F.normalize(self.layer(both[None], src_mask=bias.to(both.dtype))[0], dim=-1)
        away = _divergence(guide, relevance["it"]) + _divergence(guide.T, relevance["ti"])
        return *enhanced.split(len(image)), away


class Matches:
    """How the fragments of one item match those of another, for all pairs (N, M).

    Args:
        values: similarity (N, M, F) of each fragment of the first with its best match.
        mask: (N, F) of the fragments.
        count: K.
    """

    def __init__(self, values: Tensor, mask: Tensor, count: int):
        real = mask[:, None]
        self.mean = values.masked_fill(~real, 0).sum(2) / real.sum(2)
        padded = F.pad(values.masked_fill(~real, -torch.inf), (0, max(0, count - values.shape[2])), value=-torch.inf)
        best = padded.topk(count).values
        self.best = best.masked_fill(best == -torch.inf, 0)  #: (N, M, K), the largest first


@torch.no_grad()
def best_matches(images: Fragments, texts: Fragments, count: int) -> tuple[Matches, Matches]:
    """Matches of the words with each image (T, I), and of the regions with each caption (I, T), as SCAN normalises them.

    Args:
        images, texts: prepared in training.
        count: K.
    """
    (regions, region_mask), (words, word_mask) = (
        (side.extras[FRAGMENTS], side.extras[REAL]) for side in (images, texts)
    )
    of_words, of_regions = [], []
    for start in range(0, len(words), CAPTIONS):
        part, real = words[start : start + CAPTIONS], word_mask[start : start + CAPTIONS, None, :, None]
        similarity = F.leaky_relu(torch.einsum("twd,ird->tiwr", part, regions), 0.1)
        seen = region_mask[:, None]
        similarity = similarity.masked_fill(~(real & seen), 0)
        of_words.append(F.normalize(similarity, dim=2).masked_fill(~seen, -torch.inf).amax(3))
        of_regions.append(F.normalize(similarity, dim=3).masked_fill(~real, -torch.inf).amax(2))
    return (
        Matches(torch.cat(of_words), word_mask, count),
        Matches(torch.cat(of_regions).transpose(0, 1), region_mask, count),
    )


def nearest(closeness: Tensor, share: float) -> Tensor:
    """Which entries of each row (N, M) are among its largest `share`, at least one.

    >>> nearest(torch.tensor([[0.1, 0.9, 0.5, 0.2]]), 0.5).tolist()
    [[False, True, True, False]]
    """
    count = max(1, int(closeness.shape[1] * share))
    return closeness >= closeness.topk(count, dim=1).values[:, -1:]


INTERACTIONS: dict[str, Callable[[int, HremConfig], nn.Module | None]] = {
    "fusion": FusionInteraction,
    "off": lambda width, config: None,
}


class HremParts(nn.Module):
    """All parameters for fragments of width D."""

    def __init__(self, width: int, config: HremConfig):
        super().__init__()
        self.image_pooling, self.text_pooling = (RelationPooling(width, config) for _ in range(2))
        self.interaction = INTERACTIONS[config.interaction](width, config)


class Hrem(LazyWidthScorer[HremParts], GlobalVectorScorer):
    """Cosine of two vectors, whose training sees relations between fragments, and between the items of a batch.

    Source:
        Fu et al., Learning Semantic Relationship Among Instances for Image-Text Matching, CVPR 2023, and the authors' code.
        Differs: the training's objective, as a rule the hardest negative, where the code draws negatives by their distance;
        the interaction has no warm-up unless `warmup_steps` says so; see also `RelationPooling` and `FusionInteraction`.
        The authors keep the best epoch on the test split.

    `align` gives None: one vector per side is compared.
    """

    Config = HremConfig
    config: HremConfig
    steps: Tensor  #: batches that were trained on, for the warm-up
    width_parameters = ("image_pooling.layer.norm1.weight",)
    variants: ClassVar = {"no_interaction": {"interaction": "off"}}
    #: The authors'.
    recipe: ClassVar = {
        **recipes.VSE_INFINITY,
        "epochs": 30,
        "decay_epochs": (15, 25),
        "backbone_learning_rate_scale": 0.1,
        "region_drop": 0.2,
        "word_masking": 0.2,
    }
    search_space: ClassVar = {
        "config.residual_weight": {"low": 0.0, "high": 0.95},
        "config.neighbours": [0.25, 0.5, 1.0],
        "config.weight_regularisation": [0.0, 1.0, 10.0],
    }
    citation = "Fu et al., Learning Semantic Relationship Among Instances for Image-Text Matching, CVPR 2023"

    def setup(self) -> None:
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def build_parts(self, width: int) -> HremParts:
        """All parameters."""
        return HremParts(width, self.config)

    def prepare_images(self, images: Fragments) -> Fragments:
        """One unit vector per image (F = 1), marked by the extra `embedded` (I,); images so marked come back as they are."""
        return self._prepared(images, "images")

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One unit vector per caption (F = 1), marked likewise."""
        return self._prepared(texts, "captions")

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The objective on the plain vectors, and with the interaction the two terms that it adds.

        Returns:
            `matching`; `relation`: the objective on enhanced with enhanced vectors, and on either with plain ones;
            `regularisation`. Arguments as `Scorer.losses`.

        Raises:
            InvalidFragments: items that were prepared in evaluation, without their fragments.

        Source:
            The authors' `GraphLoss`.
        """
        left, right = self.prepare_images(images), self.prepare_texts(texts)
        terms = {"matching": self.objective(self.score(left, right), image_ids)}
        waiting = bool(self.steps < self.config.warmup_steps)
        self.steps += self.training
        interaction = self.parts.interaction if self.parts is not None else None
        if interaction is None or waiting:
            return terms
        return {**terms, **self._relation(interaction, left, right, image_ids)}

    def _relation(
        self, interaction: nn.Module, left: Fragments, right: Fragments, image_ids: Tensor
    ) -> Mapping[str, Tensor]:
        if FRAGMENTS not in left.extras or FRAGMENTS not in right.extras:
            raise InvalidFragments(
                "the losses of hrem need the fragments of their items, which are kept in training only; prepare the items "
                "after scorer.train()"
            )
        image, text = left.features[:, 0], right.features[:, 0]
        more_image, more_text, away = interaction(left, right)
        pairs = ((image, more_text), (more_image, text), (more_image, more_text))
        relation = torch.stack([self.objective(one @ other.T, image_ids) for one, other in pairs]).sum()
        return {"relation": relation, "regularisation": self.config.weight_regularisation * away}

    def _prepared(self, items: Fragments, side: str) -> Fragments:
        if EMBEDDED in items.extras:
            return items
        parts = self.parts_for(items, side)
        pooling = parts.image_pooling if side == "images" else parts.text_pooling
        features = clean(items).to(pooling.layer.norm1.weight.dtype)
        extras = {EMBEDDED: items.mask.new_ones(len(items))}
        if self.training:
            extras |= {FRAGMENTS: F.normalize(features.detach(), dim=-1), REAL: items.mask}
        return unit_vector(pooling(features, items.mask), extras)


def _layer(width: int, config: HremConfig) -> nn.TransformerEncoderLayer:
    heads = config.heads or next(heads for heads in HEADS if width % heads == 0)
    if width % heads:
        raise InvalidSpec(f"hrem has {heads} heads, which do not divide the width D = {width}; set config.heads")
    return nn.TransformerEncoderLayer(width, heads, width, config.dropout, batch_first=True)


def _distances(one: Tensor, other: Tensor) -> Tensor:
    # Without the shortcut by a product, whose rounding makes an item's distance to itself a small number of any gradient.
    return torch.cdist(one.float(), other.float(), compute_mode="donot_use_mm_for_euclid_dist")


def _divergence(guide: Tensor, relevance: Tensor) -> Tensor:
    """KL divergence of the softmax of the relevances from that of the guide, mean over the rows."""
    return F.kl_div(guide.log_softmax(-1), relevance.float().softmax(-1), reduction="batchmean")
