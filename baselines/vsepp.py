"""VSE++: one vector an image, one vector a caption, trained on the hardest negative (Faghri et al., BMVC 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from harness.fragments import Fragments
from harness.scorer import Scorer, ScorerConfig
from harness.scorers.features import clean, dot_products, global_fragment, mean_of_real

if TYPE_CHECKING:
    from harness.backbones.base import ImageEncoder, TextEncoder


def last_of_real(features: Tensor, mask: Tensor) -> Tensor:
    """The last real fragment (N, D) of `features` (N, F, D) under `mask` (N, F)."""
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)
    return features[torch.arange(len(features), device=features.device), last]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last_of_real, "mean": mean_of_real}


class VseppConfig(ScorerConfig):
    """Settings of VSE++; the defaults are the authors'."""

    text_pooling: Literal["last", "mean"] = Field(
        "last", description="of the word states: the last one, or their mean for text encoders that are no GRU"
    )


class Vsepp(Scorer):
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
    recipe: ClassVar = {
        "epochs": 30,
        "batch_size": 128,
        "optimizer": "adam",
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "schedule": "step",
        "decay_epochs": (15,),
        "decay_factor": 0.1,
        "gradient_clip": 2.0,
        "objective": "triplet",
        "margin": 0.2,
        "all_negatives_epochs": 0,
    }
    search_space: ClassVar = {"config.text_pooling": ["last", "mean"]}
    citation = "Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018"

    def __init__(
        self,
        config: VseppConfig | None = None,
        image_encoder: ImageEncoder | None = None,
        text_encoder: TextEncoder | None = None,
    ):
        super().__init__(config, image_encoder, text_encoder)
        self._pool_words = POOLINGS[self.config.text_pooling]

    def prepare_images(self, images: Fragments) -> Fragments:
        """One unit vector an image (F = 1): the mean of its fragments.

        The mean and the last of one fragment are that fragment, so preparing twice changes nothing.
        """
        return _global(images, mean_of_real)

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One unit vector a caption (F = 1)."""
        return _global(texts, self._pool_words)

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """Score every image against every caption.

        Args:
            images: I images, features (I, R, D), prepared or not.
            texts: T captions, features (T, W, D), prepared or not.

        Returns:
            Cosine (I, T).

        Raises:
            InvalidFragments: the two sides differ in D.
        """
        return dot_products(self.prepare_images(images), self.prepare_texts(texts))


def _global(fragments: Fragments, pool: Callable[[Tensor, Tensor], Tensor]) -> Fragments:
    return global_fragment(F.normalize(pool(clean(fragments), fragments.mask), dim=-1))
