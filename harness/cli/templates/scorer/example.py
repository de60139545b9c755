"""Scorer `example`: the best region of each word, averaged over the words.

Shape letters: I images, T captions, R regions, W words, D width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from harness.fragments import Fragments
from harness.scorer import Scorer, ScorerConfig


class ExampleConfig(ScorerConfig):
    """Options of `example`."""

    scale: float = Field(1.0, gt=0, description="factor of every score")


class Example(Scorer):
    """The cosine of each word with its best region, averaged."""

    Config = ExampleConfig
    config: ExampleConfig
    variants = {"double": {"scale": 2.0}}  # noqa: RUF012

    def prepare_images(self, images: Fragments) -> Fragments:
        """What is done once per image: unit vectors."""
        return images.normalized()

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """What is done once per caption."""
        return texts.normalized()

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """(I, T), higher is better. Padding is masked with -inf before a maximum and with 0 before a sum."""
        similarity = torch.einsum("ird,twd->irtw", images.features, texts.features)
        best = similarity.masked_fill(~images.mask[:, :, None, None], -torch.inf).amax(1)
        words = texts.mask[None].float()
        return self.config.scale * (best * words).sum(-1) / words.sum(-1)
