"""Gradients of a loss over a batch that is encoded in parts: in chunks one after the other, on several ranks, or both.

A contrastive loss needs all images and captions of a batch at once, and their encoders need the memory. The loss is
therefore taken on the fragments alone, cut off from the encoders; its gradients with regard to the fragments are what
each part of the batch passes on through the encoders. A side that is encoded in several chunks is encoded twice: once
for its fragments, without a graph, and once more, chunk by chunk, to pass the gradients on.

Source:
    Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (GradCache), RepL4NLP 2021.
    Differs: the random state is per chunk, fragments are ragged, and the loss may have parameters and noise of its own.

A batch normalisation sees one chunk, or one rank's part, at a time: what it computes depends on how the batch is cut, as
in every accumulation of gradients. One line says so. Its running statistics take in each chunk once, and are averaged
over the ranks at the end of an epoch.

Shape letters: U distinct images, B pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import counted
from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.spec import TrainingSpec
from harness.training.gradients import Autocast, Gradients, Inputs, Losses, OnePass, Side, Terms, summed
from harness.training.ranks import Ranks

logger = logging.getLogger(__name__)


class Towers(nn.Module):
    """Both sides of a batch, or one of them, as one module: images and captions to the tensors of their fragments."""

    def __init__(self, scorer: Scorer):
        super().__init__()
        self.scorer = scorer

    def forward(self, images: Side | None, texts: Side | None) -> tuple[Fragments | None, Fragments | None]:
        return (
            None if images is None else self.scorer.encode_images(images),
            None if texts is None else self.scorer.encode_texts(texts),
        )


def gradients_of(scorer: Scorer, spec: TrainingSpec, seed: int, ranks: Ranks, autocast: Autocast) -> Gradients:
    """The way to a batch's gradients: in one pass unless the batch is encoded in parts."""
    if ranks.count == 1 and spec.micro_batch is None:
        return OnePass(scorer, autocast)
    if spec.micro_batch is not None and ranks.count == 1 and spec.micro_batch >= spec.batch_size:
        logger.warning(
            "training.micro_batch=%d is not smaller than training.batch_size=%d: each batch is one chunk, which is "
            "encoded twice and saves no memory; leave micro_batch out",
            spec.micro_batch,
            spec.batch_size,
        )
    return WholeBatch(scorer, ranks, spec.micro_batch, autocast, seed)


@dataclass(frozen=True)
class Chunk:
    """What is encoded at once of both sides; None where one has no more."""

    images: Side | None
    texts: Side | None


def chunks(images: Side, texts: Side, size: int | None) -> list[Chunk]:
    """A batch in chunks of at most `size` images and `size` captions; None = one chunk.

    >>> [len(chunk.images) for chunk in chunks(torch.zeros(5, 2), torch.zeros(5, 2), 2)]
    [2, 2, 1]
    """
    return [Chunk(*pair) for pair in zip_longest(_cut(images, size), _cut(texts, size))]


def _cut(side: Side, size: int | None) -> list[Side]:
    size = size or max(1, len(side))
    return [side[start : start + size] for start in range(0, len(side), size)]


class WholeBatch:
    """Passes the gradients of a loss over a whole batch back through the encoders.

    Args:
        scorer: in training mode.
        ranks: that share a batch.
        size: most images and captions that are encoded at once; None = a rank's whole part.
        autocast: makes the context of encoding and of the loss.
        seed: of the noise in the loss where several ranks take it, each for itself.
    """

    def __init__(self, scorer: Scorer, ranks: Ranks, size: int | None, autocast: Autocast, seed: int = 0):
        self.scorer, self.ranks, self.size, self.autocast, self.seed = scorer, ranks, size, autocast, seed
        self.devices = [scorer.device] if scorer.device.type == "cuda" else []
        self.towers = Towers(scorer)
        _report_batch_normalisation(scorer, ranks, size)
        self.reducing = ranks.wrapped(self.towers)

    def backward(self, inputs: Inputs, terms: Terms, factor: float, step: int) -> tuple[Losses, Tensor]:
        """Add the gradients of a loss to those of the parameters.

        Args:
            inputs: this rank's part of the batch.
            terms: of the loss, from the fragments of all images (U, R, D) and all captions (B, W, D) of the batch.
            factor: that their sum is multiplied by.
            step: 0-based number of the step.

        Returns:
            The terms, and the loss, a scalar.
        """
        parts = chunks(inputs.images, inputs.texts, self.size)
        passes = [_Pass(self, part, keep=len(parts) == 1) for part in parts]
        wholes = []
        for side, real in enumerate(inputs.real):
            encoded = [one.fragments[side] for one in passes]
            own = Fragments.cat([part for part in encoded if part is not None])[: len(real)]
            wholes.append(_as_leaves(self.ranks.gathered(own)))
        losses, total = self._loss(wholes, terms, factor, step)
        parameters = [parameter for parameter in self.scorer.parameters() if parameter.requires_grad]
        leaves = [tensor for side in wholes for tensor in _floats(side).values()]
        # Not `backward`, whose hooks would have the ranks add up what is no sum yet.
        found = torch.autograd.grad(total, [*leaves, *parameters], allow_unused=True)
        for leaf, gradient in zip(leaves, found, strict=False):
            leaf.grad = gradient
        for number, one in enumerate(passes):
            several = number < len(passes) - 1
            with self.ranks.unsynchronized(self.reducing) if several else nullcontext():
                one.pass_back(wholes, inputs, number * (self.size or 0))
        self._add(parameters, found[len(leaves) :])
        return losses, total.detach()

    def even_out(self) -> None:
        """Give all ranks the mean of their statistics of batch normalisations."""
        statistics = [
            buffer
            for layer in batch_normalisations(self.scorer)
            for buffer in (layer.running_mean, layer.running_var)
            if buffer is not None
        ]
        for buffer, mean in zip(statistics, self.ranks.averaged(statistics), strict=True):
            buffer.copy_(mean)

    def _loss(self, wholes: Sequence[Fragments], terms: Terms, factor: float, step: int) -> tuple[Losses, Tensor]:
        """The loss with its own noise, which must be the same on all ranks."""
        with torch.random.fork_rng(self.devices, enabled=self.ranks.count > 1):
            if self.ranks.count > 1:
                torch.manual_seed(int(np.random.SeedSequence([self.seed, step, 3]).generate_state(1)[0]))
            with self.autocast():
                losses = terms(wholes[0], wholes[1])
        return losses, summed(losses, factor)

    def _add(self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
        """Gradients that reach parameters past the encoders: a temperature, layers that compare."""
        reached = [(parameter, one) for parameter, one in zip(parameters, gradients, strict=True) if one is not None]
        # Each rank has computed the same; averaged, their last bits are the same too, on any device.
        means = self.ranks.averaged([gradient for _, gradient in reached])
        for (parameter, _), gradient in zip(reached, means, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class _Pass:
    """A chunk on its way through the encoders.

    Args:
        batch: what it is a part of.
        chunk: the inputs.
        keep: whether to keep the graph; else the chunk is encoded again when its gradients are known.
    """

    def __init__(self, batch: WholeBatch, chunk: Chunk, keep: bool):
        self.batch, self.chunk = batch, chunk
        self.kept = self._tracked() if keep else None
        if self.kept is None:
            self.random = _random_state(batch.devices)
            with torch.no_grad(), _same_buffers(batch.scorer), batch.autocast():
                outputs = batch.towers(chunk.images, chunk.texts)
        else:
            outputs = self.kept
        self.fragments = [None if side is None else side.detach() for side in outputs]

    def _tracked(self) -> tuple[Fragments | None, Fragments | None]:
        with self.batch.autocast():
            return self.batch.reducing(self.chunk.images, self.chunk.texts)

    def _again(self) -> tuple[Fragments | None, Fragments | None]:
        """The same fragments once more, with their graph: the same noise, whatever was drawn since."""
        with torch.random.fork_rng(self.batch.devices):
            _set_random_state(self.random, self.batch.devices)
            return self._tracked()

    def pass_back(self, wholes: Sequence[Fragments], inputs: Inputs, start: int) -> None:
        """Pass the gradients of a loss on.

        Args:
            wholes: the fragments of the whole batch, whose `grad` is known.
            inputs: what the chunk is cut from.
            start: its first item in them.
        """
        outputs = self.kept if self.kept is not None else self._again()
        self.kept = None
        tensors, gradients = [], []
        for own, whole, real in zip(outputs, wholes, inputs.real, strict=True):
            if own is None:
                continue
            count = max(0, min(len(own), len(real) - start))
            for name, tensor in _floats(own).items():
                if tensor.requires_grad:
                    tensors.append(tensor)
                    gradients.append(_cut_out(_floats(whole)[name].grad, real.start + start, count, tensor))
        torch.autograd.backward(tensors, gradients)


def _cut_out(gradient: Tensor | None, first: int, count: int, like: Tensor) -> Tensor:
    """The gradient of one chunk: its `count` items from `first` on, without what the whole batch was padded with."""
    out = torch.zeros_like(like)
    if gradient is not None and count:
        rows = gradient[first : first + count]
        out[:count] = rows[:, : like.shape[1]] if like.ndim > 1 else rows
    return out


def _floats(side: Fragments) -> dict[str, Tensor]:
    """What of fragments can have a gradient, by name; "" is the features."""
    return {"": side.features} | {name: extra for name, extra in side.extras.items() if extra.is_floating_point()}


def _as_leaves(side: Fragments) -> Fragments:
    """The same fragments, cut off from what made them, whose gradients are wanted."""
    extras = {name: extra.detach().requires_grad_(extra.is_floating_point()) for name, extra in side.extras.items()}
    return Fragments.unchecked(side.features.detach().requires_grad_(), side.mask, extras)


def batch_normalisations(module: nn.Module) -> list[Any]:
    """Layers that compute with statistics of the batch, as the module is now."""
    kinds = nn.modules.batchnorm._BatchNorm
    return [layer for layer in module.modules() if isinstance(layer, kinds) and layer.training]


def _report_batch_normalisation(scorer: Scorer, ranks: Ranks, size: int | None) -> None:
    layers = len(batch_normalisations(scorer.train()))
    if layers and ranks.leads:
        where = "each chunk (training.micro_batch)" if size else "what each process encodes (devices)"
        logger.warning(
            "%s %s: the statistics are those of %s, not of the whole batch, so gradients differ from those of one step over it",
            type(scorer).__name__,
            f"has {counted(layers, 'batch normalisation')}",
            where,
        )


@contextmanager
def _same_buffers(scorer: Scorer) -> Iterator[None]:
    """Afterwards the buffers are as before: a chunk that is encoded twice counts once in the statistics of a batch
    normalisation."""
    before = [(buffer, buffer.clone()) for buffer in scorer.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _random_state(devices: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _set_random_state(state: Sequence[Tensor], devices: Sequence[torch.device]) -> None:
    torch.set_rng_state(state[0])
    for device, value in zip(devices, state[1:], strict=True):
        torch.cuda.set_rng_state(value, device)
