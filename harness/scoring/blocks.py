"""Blocks of a score matrix, how a side is cut into them, and the mode in which a scorer computes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.scorer import Scorer


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of some images with some captions.

    Args:
        images: (i,) int64 image rows.
        texts: (t,) int64 caption columns.
        scores: (i, t) float32, finite, on the scorer's device.
    """

    images: Tensor
    texts: Tensor
    scores: Tensor


def slices(count: int, size: int) -> Iterator[slice]:
    """Parts of `count` items of at most `size`.

    >>> list(slices(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def device_of(scorer: Scorer, images: Fragments) -> torch.device:
    """The scorer's device; of a scorer without parameters, that of the fragments."""
    return scorer.device if next(scorer.parameters(), None) is not None else images.device


@contextmanager
def evaluating(scorer: Scorer) -> Iterator[None]:
    """Evaluation mode without gradients; each submodule's mode is restored afterwards."""
    modes = [(module, module.training) for module in scorer.modules()]
    scorer.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
