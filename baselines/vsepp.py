"""VSE++: one vector per image, one vector per caption, trained on the hardest negative (Faghri et al., BMVC 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from harness.scorer import ScorerConfig
from harness.scorers import recipes
from harness.scorers.bases import GlobalVectorScorer
from harness.scorers.features import last_of_real, mean_of_real

POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last_of_real, "mean": mean_of_real}


class VseppConfig(ScorerConfig):
    """Settings of VSE++; the defaults are the authors'."""

    text_pooling: Literal["last", "mean"] = Field(
        "last", description="last word state, or the mean of all (for text encoders other than a GRU)"
    )


class Vsepp(GlobalVectorScorer):
    """Cosine of the mean of the image's fragments and the caption's last word state.

    Source:
        Faghri et al., VSE++, BMVC 2018. Differs: the authors' caption vector is the last hidden state of a GRU that
        runs in one direction, whereas here it is pooled from the states that the text backbone returns for every word.
        For one direction the last of them is that state. `bigru` averages two directions, of which the backward one
        has read a single word at the last position: `text_pooling: mean` has read all words in both. The projection to
        the width D is the backbone's, and a mean of linear projections is the projection of the mean.
    """

    Config = VseppConfig
    config: VseppConfig
    variants: ClassVar = {"mean_text": {"text_pooling": "mean"}}
    recipe: ClassVar = recipes.VSEPP
    search_space: ClassVar = {"config.text_pooling": ["last", "mean"]}
    citation = "Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018"

    def pool_texts(self, features: Tensor, mask: Tensor) -> Tensor:
        """The last word state or the mean of all, (T, D)."""
        return POOLINGS[self.config.text_pooling](features, mask)
