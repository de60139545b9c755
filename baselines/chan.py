"""CHAN: hard assignment coding between regions and words (Pan et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from harness.alignment import Alignment
from harness.backbones.words.vocabulary import MASK
from harness.fragments import Fragments
from harness.scorer import ScorerConfig
from harness.scorers import recipes
from harness.scorers.authors.layout import AuthorCheckpoints
from harness.scorers.bases import UnitFragmentScorer
from harness.scorers.matches import best_matches
from harness.similarity import LogSumExp, Max, MaxSimKernel, Mean, PackedForm, Pooling, SoftmaxMean, Sum, max_sim

#: Visual hard assignment gives one similarity per word (its best region), textual one per region (its best word).
DIRECTIONS = {"vha": "t2i", "tha": "i2t"}
POOLINGS: dict[str, Callable[[float], Pooling]] = {
    "lse": lambda temperature: LogSumExp(1 / temperature),
    "mean": lambda _: Mean(),
    "sum": lambda _: Sum(),
    "max": lambda _: Max(),
    "softmax": SoftmaxMean,
}
AUTHOR_CHECKPOINTS = AuthorCheckpoints(
    {
        "coding_type": ("coding", {"VHACoding": "vha", "THACoding": "tha"}),
        "pooling_type": (
            "pooling",
            {
                "LSEPooling": "lse",
                "MeanPooling": "mean",
                "SumPooling": "sum",
                "MaxPooling": "max",
                "SoftmaxPooling": "softmax",
            },
        ),
        "belta": ("temperature", None),
    },
    added_words=(MASK,),
)


class ChanConfig(ScorerConfig):
    """Settings of CHAN; the defaults are the authors' for a bi-GRU on Flickr30K."""

    coding: Literal["vha", "tha"] = Field(
        "vha", description="visual: best region per word; textual: best word per region"
    )
    pooling: Literal["lse", "mean", "sum", "max", "softmax"] = Field(
        "lse", description="of a pair's best similarities: log-sum-exp, mean, sum, maximum or softmax"
    )
    temperature: float = Field(
        0.1, gt=0, description="temperature of lse (whose result is not scaled back) and of softmax"
    )


class Chan(UnitFragmentScorer):
    """The best region of each word (or the best word of each region), pooled.

    The authors' bi-GRU starts from GloVe (`text.embeddings`) and their regions attend to each other
    (`image.self_attention`); with BERT (variant `bert`) take `text={name: transformer, model: bert-base-uncased}` and
    plain regions.

    Source:
        Pan et al., CHAN, eq. 5-9. Differs: padding is masked with -inf, where the authors write -1.
    """

    Config = ChanConfig
    config: ChanConfig
    variants: ClassVar = {
        "vha_lse": {"coding": "vha", "pooling": "lse"},
        "vha_mean": {"coding": "vha", "pooling": "mean"},
        "vha_max": {"coding": "vha", "pooling": "max"},
        "vha_sum": {"coding": "vha", "pooling": "sum"},
        "vha_softmax": {"coding": "vha", "pooling": "softmax"},
        "tha_lse": {"coding": "tha", "pooling": "lse"},
        "tha_mean": {"coding": "tha", "pooling": "mean"},
        "bert": {"coding": "vha", "pooling": "mean"},
    }
    recipe: ClassVar = {
        **recipes.VSE_INFINITY,
        "batch_size": 384,
        "weight_decay": 0.01,
        "margin": 0.05,
        "region_drop": 0.2,
        "word_masking": 0.2,
    }
    #: With BERT the authors train on 128 pairs and decay by 1e-4; BERT's own rate is scaled by 0.1, which is our default.
    variant_recipes: ClassVar = {"bert": {"batch_size": 128, "weight_decay": 1e-4, "backbone_learning_rate_scale": 0.1}}
    search_space: ClassVar = {
        "config.coding": ["vha", "tha"],
        "config.pooling": ["lse", "mean"],
        "config.temperature": {"low": 0.02, "high": 0.5, "log": True, "when": {"config.pooling": "lse"}},
        # Log-sum-exp is in units of that temperature, about ten times a cosine.
        "training.temperature": {"low": 0.02, "high": 1.0},
    }
    citation = "Pan et al., Fine-grained Image-text Matching by Cross-modal Hard Aligning Network, CVPR 2023"
    author_checkpoints = AUTHOR_CHECKPOINTS

    def setup(self) -> None:
        self._direction = DIRECTIONS[self.config.coding]
        self._pooling = POOLINGS[self.config.pooling](self.config.temperature)

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T); with `lse` in units of the temperature, about ten times a cosine. Otherwise as `Scorer.score`."""
        return max_sim(
            images.features,
            images.mask,
            texts.features,
            texts.mask,
            direction=self._direction,
            pooling=self._pooling,
        )

    def packed_form(self) -> PackedForm:
        """The same scores for the scoring engine."""
        return PackedForm(((1.0, MaxSimKernel(self._pooling, swapped=self._direction == "i2t")),))

    def align(self, images: Fragments, texts: Fragments) -> Alignment:
        """The hard assignment: 1 at the best region of each word (or the best word of each region), 0 elsewhere.

        The scores are the similarities that the pooling reads. How much each of them counts in the pooling is not in it.
        """
        return best_matches(self.prepare_images(images), self.prepare_texts(texts), [self._direction])
