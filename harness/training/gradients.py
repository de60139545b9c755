"""From the inputs of a batch to the gradients of its loss, in one pass over the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.fragments import Fragments, Tokens
from harness.scorer import Scorer

Side = Tensor | Fragments | Tokens
Losses = dict[str, Tensor]
#: The terms of the loss, from the fragments of the distinct images and of the captions of a batch.
Terms = Callable[[Fragments, Fragments], Losses]
Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Inputs:
    """What the encoders take of a batch.

    Args:
        images, texts: on the device; one item each at least.
        real: places in the whole batch of those images and captions that count; with several ranks, one whose part is
            empty encodes an item that does not.
    """

    images: Side
    texts: Side
    real: tuple[range, range]


class Gradients(Protocol):
    """A way to the gradients of a batch's loss."""

    def backward(self, inputs: Inputs, terms: Terms, factor: float, step: int) -> tuple[Losses, Tensor]:
        """Add the gradients of the sum of `terms` times `factor` at a step to those of the parameters; gives both."""
        ...

    def even_out(self) -> None:
        """At the end of an epoch: what is computed apart is brought together."""
        ...


class OnePass:
    """The whole batch through both encoders at once.

    Args:
        scorer: in training mode.
        autocast: makes the context of encoding and of the loss.
    """

    def __init__(self, scorer: Scorer, autocast: Autocast):
        self.scorer, self.autocast = scorer, autocast

    def backward(self, inputs: Inputs, terms: Terms, factor: float, step: int) -> tuple[Losses, Tensor]:
        with self.autocast():
            images = self.scorer.encode_images(inputs.images)
            losses = terms(images, self.scorer.encode_texts(inputs.texts))
        total = summed(losses, factor)
        total.backward()
        return losses, total.detach()

    def even_out(self) -> None:
        """Nothing is apart."""


def summed(losses: Losses, factor: float) -> Tensor:
    """What is minimised: the sum of the terms, a float32 scalar, times a factor.

    >>> summed({"matching": torch.tensor(2.0), "prior": torch.tensor(1.0)}, 0.5)
    tensor(1.5000)
    """
    return torch.stack([loss.float() for loss in losses.values()]).sum() * factor
