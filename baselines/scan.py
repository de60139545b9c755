"""SCAN: stacked cross-attention between regions and words (Lee et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor

from harness.alignment import Alignment, paired
from harness.fragments import Fragments
from harness.scorer import ScoreLevel, ScorerConfig
from harness.scorers import recipes
from harness.scorers.authors.layout import AuthorCheckpoints
from harness.scorers.bases import UnitFragmentScorer
from harness.scorers.views import view
from harness.similarity import (
    CrossAttentionKernel,
    LogSumExp,
    Max,
    Mean,
    PackedForm,
    Pooling,
    Sum,
    cross_attention,
    paired_attention,
)

#: The authors' Flickr30K values: lambda1 and lambda2 of each direction.
INVERSE_TEMPERATURE = {"t2i": 9.0, "i2t": 4.0}
LSE_SCALE = {"t2i": 6.0, "i2t": 5.0}
DIRECTIONS = {"t2i": ("t2i",), "i2t": ("i2t",), "both": ("t2i", "i2t")}
POOLINGS: dict[str, Callable[[float], Pooling]] = {
    "lse": lambda sharpness: LogSumExp(sharpness, 1 / sharpness),
    "mean": lambda _: Mean(),
    "max": lambda _: Max(),
    "sum": lambda _: Sum(),
}


def _words_attend(images: Fragments, texts: Fragments, **options: Any) -> Tensor:
    return cross_attention(images.features, images.mask, texts.features, texts.mask, **options)


def _regions_attend(images: Fragments, texts: Fragments, **options: Any) -> Tensor:
    return cross_attention(texts.features, texts.mask, images.features, images.mask, **options).T


#: Who attends, and whether the packed kernel has its sides exchanged.
ATTENDING = {"t2i": (_words_attend, False), "i2t": (_regions_attend, True)}

AUTHOR_CHECKPOINTS = AuthorCheckpoints(
    {
        "cross_attn": ("direction", {"t2i": "t2i", "i2t": "i2t"}),
        "raw_feature_norm": (
            "attention_norm",
            {
                "clipped_l2norm": "clipped_l2norm",
                "l2norm": "l2norm",
                "clipped_l1norm": "clipped_l1norm",
                "l1norm": "l1norm",
                "softmax": "softmax",
                "clipped": "clipped",
                "no_norm": "none",
            },
        ),
        "agg_func": ("pooling", {"LogSumExp": "lse", "Mean": "mean", "Max": "max", "Sum": "sum"}),
        "lambda_softmax": ("inverse_temperature", None),
        "lambda_lse": ("lse_scale", None),
    }
)


class ScanConfig(ScorerConfig):
    """Settings of SCAN; the defaults are the authors' for Flickr30K, t2i LSE."""

    direction: Literal["t2i", "i2t", "both"] = Field("t2i", description="which side attends; both = mean of the two")
    attention_norm: Literal["clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "softmax", "clipped", "none"] = (
        Field("clipped_l2norm", description="normalisation of the similarities over the attending fragments")
    )
    pooling: Literal["lse", "mean", "max", "sum"] = Field(
        "lse", description="of a pair's cosines: log-sum-exp, mean, maximum or sum"
    )
    inverse_temperature: float | None = Field(None, gt=0, description="lambda1; None = 9 for t2i, 4 for i2t")
    lse_scale: float | None = Field(None, gt=0, description="lambda2; None = 6 for t2i, 5 for i2t")

    def resolved(self) -> Self:
        """The direction's temperatures filled in (both directions keep None, for two values each), and no unused one."""
        values: dict[str, float | None] = {}
        if self.direction != "both":
            values["inverse_temperature"] = self.inverse_temperature or INVERSE_TEMPERATURE[self.direction]
            values["lse_scale"] = self.lse_scale or LSE_SCALE[self.direction]
        if self.pooling != "lse":
            values["lse_scale"] = None
        return self.model_copy(update=values)


class Scan(UnitFragmentScorer):
    """Each word attends to the regions (or each region to the words); its cosines with what it attends to are pooled.

    Source:
        Lee et al., SCAN, eq. 1-9. Differs: padding is masked on both sides.
    """

    Config = ScanConfig
    config: ScanConfig
    variants: ClassVar = {
        "t2i_lse": {"direction": "t2i", "pooling": "lse"},
        "t2i_avg": {"direction": "t2i", "pooling": "mean"},
        "i2t_lse": {"direction": "i2t", "pooling": "lse"},
        "i2t_avg": {"direction": "i2t", "pooling": "mean"},
        "both_lse": {"direction": "both", "pooling": "lse"},
        "both_avg": {"direction": "both", "pooling": "mean"},
        "i2t_lse_coco": {"direction": "i2t", "pooling": "lse", "lse_scale": 20.0},
        "no_clipping": {"attention_norm": "l2norm"},
        "no_attention_norm": {"attention_norm": "none"},
    }
    recipe: ClassVar = recipes.VSEPP
    #: On COCO the authors train for 20 epochs at 5e-4, lowered every 10.
    variant_recipes: ClassVar = {"i2t_lse_coco": {"epochs": 20, "learning_rate": 5e-4, "decay_epochs": (10,)}}
    #: None: the authors' value for the direction.
    search_space: ClassVar = {
        "config.direction": ["t2i", "i2t"],
        "config.pooling": ["lse", "mean"],
        "config.inverse_temperature": [None, 4.0, 9.0, 20.0],
        "config.lse_scale": {"choices": [None, 5.0, 10.0, 20.0], "when": {"config.pooling": "lse"}},
    }
    citation = "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018"
    author_checkpoints = AUTHOR_CHECKPOINTS

    def setup(self) -> None:
        """One attention per direction."""
        self._heads = [(*ATTENDING[d], _attention(d, self.config)) for d in DIRECTIONS[self.config.direction]]

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T): the mean over the directions; arguments and errors as `Scorer.score`."""
        scores = [attend(images, texts, **attention) for attend, _, attention in self._heads]
        return sum(scores[1:], start=scores[0]) / len(scores)

    def packed_form(self) -> PackedForm:
        """The same scores for the scoring engine."""
        kernels = [CrossAttentionKernel(swapped=swapped, **attention) for _, swapped, attention in self._heads]
        return PackedForm(tuple((1 / len(kernels), kernel) for kernel in kernels))

    def score_levels(self) -> dict[str, ScoreLevel]:
        """The directions, where there are two."""
        directions, share = DIRECTIONS[self.config.direction], 1 / len(self._heads)
        views = [view(self, _heads=[head]) for head in self._heads]
        alone = {d: ScoreLevel(share, one) for d, one in zip(directions, views, strict=True)}
        return alone if len(alone) > 1 else {}

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """Attention weights: of each word over the regions (t2i), of each region over the words (i2t).

        The scores are the cosines that the pooling reads. With both directions, i2t is the `reverse` of t2i.
        """
        left, right = paired(self.prepare_images(images), self.prepare_texts(texts))
        first, *others = (_attended(left, right, swapped, options) for _, swapped, options in self._heads)
        return replace(first, reverse=others[0]) if others else first


def _attended(images: Fragments, texts: Fragments, swapped: bool, options: Mapping[str, Any]) -> Alignment:
    attention = {name: value for name, value in options.items() if name != "pooling"}
    context, queries = (texts, images) if swapped else (images, texts)
    weights, cosines = paired_attention(context.features, context.mask, queries.features, queries.mask, **attention)
    return Alignment(
        kind="attention of each region to the words" if swapped else "attention of each word to the regions",
        weights=weights if swapped else weights.mT,
        over="words" if swapped else "regions",
        word_mask=texts.mask,
        region_mask=images.mask,
        word_scores=None if swapped else cosines,
        region_scores=cosines if swapped else None,
    )


def _attention(direction: str, config: ScanConfig) -> dict[str, Any]:
    """Norm, temperature and pooling of one direction."""
    return {
        "pooling": POOLINGS[config.pooling](config.lse_scale or LSE_SCALE[direction]),
        "attention_norm": config.attention_norm,
        "inverse_temperature": config.inverse_temperature or INVERSE_TEMPERATURE[direction],
    }
