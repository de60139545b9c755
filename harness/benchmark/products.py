"""A training step on region features by torch's matrix product and by oneDNN's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from harness.benchmark.data import Size, make
from harness.benchmark.forms import training_loss
from harness.fragments import Fragments
from harness.registry import create
from harness.training.products import onednn

TORCH, ONEDNN = "torch's product", "oneDNN's product"
SCORERS = ("chan", "scan")
#: Regions per image, width of a detector's features, and that of the fragments: those of the authors.
REGIONS, DETECTOR, WIDTH = 36, 2048, 1024


def calls(name: str, size: Size) -> dict[str, Callable[[], object]]:
    """Forward and backward through the projection of the regions and the scores of a batch, by each product there is.

    Args:
        name: of the scorer.
        size: of the batch.
    """
    torch.manual_seed(0)
    images, texts = make(size)
    regions = torch.randn(*images.mask.shape, DETECTOR)
    projection, scorer = nn.Linear(DETECTOR, size.width), create(name)
    words = texts.features.clone().requires_grad_()

    def step() -> torch.Tensor:
        projection.zero_grad(set_to_none=True)
        words.grad = None
        sides = Fragments(projection(regions), images.mask), Fragments(words, texts.mask)
        return training_loss(lambda i, t: scorer.score(scorer.prepare_images(i), scorer.prepare_texts(t)), *sides)

    def by_onednn() -> torch.Tensor:
        with onednn.OneDnnProducts():
            return step()

    return {TORCH: step, **({ONEDNN: by_onednn} if onednn.available() else {})}
