"""Late interaction: each token takes its best match on the other side, as FILIP does on CLIP's tokens.

Shape letters: I images, T captions, B pairs, R regions or patches, W words, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.alignment import Alignment
from harness.fragments import Fragments
from harness.losses import one_way_contrast
from harness.scorer import Objective, ScoreLevel, ScorerConfig
from harness.scorers import recipes
from harness.scorers.bases import UnitFragmentScorer
from harness.scorers.matches import best_matches
from harness.scorers.temperature import LARGEST_SCALE, bounded_scale, log_scale
from harness.scorers.views import view
from harness.similarity import PackedForm, max_sim
from harness.similarity.compiled import kernels as compiled
from harness.similarity.gpu import fused
from harness.similarity.gpu.weights import LeftWeights, RightWeights
from harness.similarity.packed.kernels import Kernel, Operands, Scratch, largest_over_positions
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.reductions import precise, total_

#: Weights of s_i2t and s_t2i in the score; a direction that is left out is neither computed nor trained.
COMBINATIONS: dict[str, dict[str, float]] = {
    "mean": {"i2t": 0.5, "t2i": 0.5},
    "sum": {"i2t": 1.0, "t2i": 1.0},
    "i2t": {"i2t": 1.0},
    "t2i": {"t2i": 1.0},
}


class LateInteractionConfig(ScorerConfig):
    """Settings of late interaction; the defaults are FILIP's."""

    combination: Literal["mean", "sum", "t2i", "i2t"] = Field(
        "mean", description="combination of s_i2t (best word per image token) and s_t2i (best image token per word)"
    )
    objective: Literal["contrastive", "triplet"] = Field(
        "contrastive",
        description="contrastive: each direction's own, with a learned temperature, whatever training.objective says; "
        "triplet: training.objective on the combined score",
    )
    initial_temperature: float = Field(
        0.07, ge=1 / LARGEST_SCALE, description="initial temperature of the contrastive objective"
    )


class LateInteraction(UnitFragmentScorer):
    """Mean over the tokens of one side of their best cosine on the other side.

    With frozen CLIP towers this is a probe, not a reproduction: their tokens were never trained for it.

    Source:
        Yao et al., FILIP, ICLR 2022, section 3. Differs: the published model is pre-trained on a large collection; only
        its similarity and objective are taken. No token is dropped to save memory. Other pairs of the same image are
        left out of the denominators.
    """

    Config = LateInteractionConfig
    config: LateInteractionConfig
    variants: ClassVar = {
        "sum": {"combination": "sum"},
        "t2i": {"combination": "t2i"},
        "i2t": {"combination": "i2t"},
        "triplet": {"objective": "triplet"},
    }
    #: FILIP only gives settings of a large pre-training; these are the other baselines', to compare like with like.
    recipe: ClassVar = recipes.VSE_INFINITY
    search_space: ClassVar = {
        "config.combination": ["mean", "sum", "t2i", "i2t"],
        "config.initial_temperature": {
            "low": 0.01,
            "high": 0.2,
            "log": True,
            "when": {"config.objective": "contrastive"},
        },
        "training.margin": {"when": {"config.objective": "triplet", "training.objective": "triplet"}},
        "training.temperature": {"when": {"config.objective": "triplet", "training.objective": "infonce"}},
    }
    citation = "Yao et al., FILIP: Fine-grained Interactive Language-Image Pre-Training, ICLR 2022"

    def setup(self) -> None:
        self._weights = COMBINATIONS[self.config.combination]
        self.direction_losses = OBJECTIVES[self.config.objective](self.config)

    def directions(self, images: Fragments, texts: Fragments) -> dict[str, Tensor]:
        """The similarities s_i2t and s_t2i, each (I, T), that the combination weighs."""
        left, right = self.prepare_images(images), self.prepare_texts(texts)
        return {
            direction: max_sim(left.features, left.mask, right.features, right.mask, direction=direction)
            for direction in self._weights
        }

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T): a mean cosine in [-1, 1], in [-2, 2] for the combination `sum`; otherwise as `Scorer.score`."""
        return self._combined(self.directions(images, texts))

    def losses(self, images: Fragments, texts: Fragments, image_ids: Tensor) -> dict[str, Tensor]:
        """The configured objective, arguments as `Scorer.losses`: `i2t` and `t2i` (contrastive) or `matching` (triplet)."""
        directions = self.directions(images, texts)
        return self.direction_losses(directions, self._combined(directions), image_ids, self.objective)

    def packed_form(self) -> PackedForm:
        """The same scores for the scoring engine."""
        return PackedForm(
            ((1.0, BestMatches(self._weights)),), image_rows=self.prepare_images, text_rows=self.prepare_texts
        )

    def score_levels(self) -> dict[str, ScoreLevel]:
        """The directions, where there are two."""
        alone = {name: ScoreLevel(weight, view(self, _weights={name: 1.0})) for name, weight in self._weights.items()}
        return alone if len(alone) > 1 else {}

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """The best matches: 1 at the best image token of each word, and in `reverse` at the best word of each image token.

        A direction that the combination leaves out is left out here too. Each direction's similarity is the mean of its
        scores.
        """
        return best_matches(self.prepare_images(images), self.prepare_texts(texts), self._weights)

    def _combined(self, directions: dict[str, Tensor]) -> Tensor:
        return torch.stack([self._weights[name] * value for name, value in directions.items()]).sum(0)


class DirectionalContrast(nn.Module):
    """Each image against all captions by s_i2t, each caption against all images by s_t2i, at one learned temperature.

    Source:
        Yao et al., FILIP, section 3; the temperature's limit is CLIP's. The sum of the terms is FILIP's mean.
    """

    def __init__(self, config: LateInteractionConfig):
        super().__init__()
        self.log_scale = log_scale(config.initial_temperature)
        self._share = 1 / len(COMBINATIONS[config.combination])

    def forward(
        self, directions: dict[str, Tensor], combined: Tensor, image_ids: Tensor, objective: Objective
    ) -> dict[str, Tensor]:
        """Loss of each direction's similarities (B, B); `image_ids` (B,)."""
        scale = bounded_scale(self.log_scale)
        queries_first = {name: value.T if name == "t2i" else value for name, value in directions.items()}
        return {name: self._share * one_way_contrast(scale * value, image_ids) for name, value in queries_first.items()}


class CombinedScoreObjective(nn.Module):
    """The training's objective on the combined score; owns no parameter."""

    def forward(
        self, directions: dict[str, Tensor], combined: Tensor, image_ids: Tensor, objective: Objective
    ) -> dict[str, Tensor]:
        """`objective` of the score `combined` (B, B); `image_ids` (B,)."""
        return {"matching": objective(combined, image_ids)}


OBJECTIVES: dict[str, Callable[[LateInteractionConfig], nn.Module]] = {
    "contrastive": DirectionalContrast,
    "triplet": lambda config: CombinedScoreObjective(),
}


@dataclass(frozen=True)
class BestMatches(Kernel):
    """Both directions from one tile of token similarities, with images on the left."""

    weights: dict[str, float]  #: a value of `COMBINATIONS`

    def best_on(self, operands: Operands) -> Kernel:
        """This kernel, or one that computes the same faster."""
        if fused.available(operands.device, operands.dtype):
            return FusedBestMatches(self.weights)
        return CompiledBestMatches(self.weights) if compiled.available(operands.device, operands.dtype) else self

    def reduce(self, similarity: Tensor, left: None, right: Group, scratch: Scratch) -> Tensor:
        """(c, R, P) -> (c, n): over the words for i2t, over the image tokens for t2i."""
        return torch.stack([w * DIRECTION_MEANS[name](similarity, right) for name, w in self.weights.items()]).sum(0)


def _best_words(similarity: Tensor, texts: Group) -> Tensor:
    return total_(precise(texts.joined(largest_over_positions, similarity)), 1) / similarity.shape[1]


def _best_tokens(similarity: Tensor, texts: Group) -> Tensor:
    return texts.joined(lambda view: total_(view, -2) / view.shape[-2], precise(similarity.amax(1)))


#: (similarity (c, R, P), captions) -> (c, n)
DIRECTION_MEANS: dict[str, Callable[[Tensor, Group], Tensor]] = {"i2t": _best_words, "t2i": _best_tokens}


def _left_weights(weights: dict[str, float], rows: Tensor) -> LeftWeights:
    """What kernels of our own need of a tile's images; `rows` (c, R, D)."""
    mean = torch.full(rows.shape[:2], weights.get("i2t", 0.0) / rows.shape[1], device=rows.device)
    return LeftWeights(rows.shape[1], None, mean, None)


def _word_mean(weights: dict[str, float], items: Group, columns: Tensor) -> Tensor:
    """Weights (P,) of the words' maxima; `columns` (P, D)."""
    weight = weights.get("t2i", 0.0)
    return torch.cat([columns.new_full((part.size,), weight / part.length).float() for part in items.parts])


@dataclass(frozen=True)
class FusedBestMatches(fused.BothWays):
    """`BestMatches` on a GPU, which reads the tile twice and writes nothing of its size."""

    weights: dict[str, float]

    def left_side(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """`rows` (c, R, D)."""
        return _left_weights(self.weights, rows)

    def right_side(self, items: Group, columns: Tensor) -> tuple[fused.AlignedColumns, RightWeights]:
        """`columns` (P, D)."""
        mean = fused.aligned(items, _word_mean(self.weights, items, columns))
        return fused.AlignedColumns.of(items, columns), RightWeights(None, mean, None, None)


@dataclass(frozen=True)
class CompiledBestMatches(compiled.BothWays):
    """`BestMatches` on a CPU, which reads the tile once."""

    weights: dict[str, float]

    def left_weights(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """`rows` (c, R, D)."""
        return _left_weights(self.weights, rows)

    def right_weights(self, items: Group, columns: Tensor) -> RightWeights:
        """`columns` (P, D)."""
        return RightWeights(None, _word_mean(self.weights, items, columns), None, None)
