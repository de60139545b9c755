"""A model as something to be timed: one training step at any batch, its loss alone, encoding and scoring."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Collection
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments, Tokens
from harness.measure.cost import index_bytes
from harness.measure.system import MIB, peak_memory
from harness.measure.timing import synchronize
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix
from harness.scoring.inputs import image_batch
from harness.spec import TrainingSpec
from harness.training.loop import training_step

#: Items that are encoded once and repeated where only their shape counts.
FEW_IMAGES, FEW_CAPTIONS = 4, 16


class Bench(Protocol):
    """Work of known size. Each call does it once, to its end on the device."""

    def step(self, batch: int) -> None:
        """One step of the training on a batch of that many pairs."""
        ...

    def loss(self, batch: int) -> None:
        """The loss of that many encoded pairs alone, forward and backward."""
        ...

    def images(self, count: int) -> None:
        """Encode that many images."""
        ...

    def captions(self, count: int) -> None:
        """Encode that many captions."""
        ...

    def pairs(self, images: int, captions: int) -> None:
        """Score that many images against that many captions."""
        ...

    def saved(self, work: Callable[[], None]) -> int:
        """Do some work, and count the bytes that it keeps for its backward pass, parameters aside."""
        ...

    def item_bytes(self) -> tuple[int, int]:
        """Bytes of an encoded image and of an encoded caption."""
        ...


class ModelBench:
    """A scorer on a split.

    Args:
        scorer: with its encoders, on the device; its weights change.
        split: pairs to train on; at least one batch.
        training: how to train.
        evaluated: the same pairs as an evaluation reads them, if that is otherwise: from a store.
    """

    def __init__(self, scorer: Scorer, split: Split, training: TrainingSpec, evaluated: Split | None = None):
        self.scorer, self.split, self.evaluated = scorer, split, evaluated or split
        # Every batch size would be compiled anew, which takes longer than all that is timed.
        self.training = training.model_copy(update={"compile": False})
        self.device = scorer.device
        self._step_of: dict[int, Callable[[int], object]] = {}
        self._fragments: tuple[Fragments, Fragments] | None = None

    def step(self, batch: int) -> None:
        if batch not in self._step_of:
            # The optimiser's moments are those of the training: one optimiser at a time.
            micro = self.training.micro_batch
            if (
                micro is not None
            ):  # the same number of chunks at any size, since each is encoded twice if there are several
                micro = max(1, micro * batch // self.training.batch_size)
            spec = self.training.model_copy(update={"batch_size": batch, "micro_batch": micro})
            self._step_of = {batch: training_step(self.scorer, self.split, spec)}
        self._step_of[batch](0)
        synchronize(self.device)

    def loss(self, batch: int) -> None:
        images, texts = (_repeated(side, batch) for side in self._encoded())
        self.scorer.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16()):
            losses = self.scorer.losses(images, texts, torch.arange(batch, device=self.device))
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        self.scorer.zero_grad(set_to_none=True)
        synchronize(self.device)

    def images(self, count: int) -> None:
        batch = image_batch(self.evaluated, self.scorer.encoders[0], list(range(count)))
        with evaluating(self.scorer):
            self.scorer.encode_images(batch.to(self.device))
        synchronize(self.device)

    def captions(self, count: int) -> None:
        batch = self._texts(count)
        with evaluating(self.scorer):
            self.scorer.encode_texts(batch)
        synchronize(self.device)

    def pairs(self, images: int, captions: int) -> None:
        left, right = self._encoded()
        # Equal items are scored once and copied: what is repeated has to be made different.
        similarity_matrix(self.scorer, _distinct(_repeated(left, images)), _distinct(_repeated(right, captions)))
        synchronize(self.device)

    def saved(self, work: Callable[[], None]) -> int:
        kept = _Kept({parameter.untyped_storage().data_ptr() for parameter in self.scorer.parameters()})
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda held: held.tensor):
            work()
        return kept.most

    def item_bytes(self) -> tuple[int, int]:
        images, texts = self._encoded()
        return round(index_bytes(images)), round(index_bytes(texts))

    def _encoded(self) -> tuple[Fragments, Fragments]:
        """A few pairs, encoded once."""
        if self._fragments is None:
            few = min(FEW_IMAGES, len(self.split.image_ids))
            with evaluating(self.scorer):
                batch = image_batch(self.evaluated, self.scorer.encoders[0], list(range(few)))
                images = self.scorer.encode_images(batch.to(self.device))
                self._fragments = images, self.scorer.encode_texts(self._texts(FEW_CAPTIONS))
        return self._fragments

    def _texts(self, count: int) -> Tokens | Fragments:
        """What the text encoder takes of the first captions: tokens, or what its tower made of them."""
        count = min(count, len(self.evaluated.captions))
        if self.evaluated.stored_texts is not None:
            return self.evaluated.stored_texts.read(np.arange(count)).to(self.device)
        return self.scorer.encoders[1].tokenizer(self.evaluated.captions[:count]).to(self.device)

    def _bfloat16(self) -> bool:
        precision = self.training.precision
        return precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda")


class _Kept:
    """Counts the bytes that graphs keep, each storage once, and the most at any time: chunks keep theirs in turn.

    Args:
        known: addresses that do not count.
    """

    def __init__(self, known: Collection[int]):
        self._known = known
        self._holders: dict[int, int] = {}
        self._now = self.most = 0

    def pack(self, tensor: Tensor) -> _Held:
        """Called with a tensor that a graph keeps."""
        storage, held = tensor.untyped_storage(), _Held(tensor)
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._known:
            if address not in self._holders:
                self._now += size
                self.most = max(self.most, self._now)
            self._holders[address] = self._holders.get(address, 0) + 1
            weakref.finalize(held, self._free, address, size)
        return held

    def _free(self, address: int, size: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            del self._holders[address]
            self._now -= size


class _Held:
    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def process_bytes(device: torch.device) -> int:
    """Memory that this process (its tensors on a GPU) takes now; 0 where the system does not tell."""
    with peak_memory(device) as found:
        pass
    return round(found.get("peak_memory_mib", 0) * MIB)


def _repeated(side: Fragments, count: int) -> Fragments:
    """That many items, the given ones over and over, as leaves of a graph."""
    rows = torch.arange(count, device=side.device) % len(side)
    chosen = side[rows]
    return dataclasses.replace(chosen, features=chosen.features.detach().clone().requires_grad_(True))


def _distinct(side: Fragments) -> Fragments:
    """Items that differ in a trifle each."""
    trifle = 1 + 1e-4 * torch.arange(len(side), device=side.device, dtype=side.features.dtype)[:, None, None]
    return dataclasses.replace(side, features=side.features.detach() * trifle)
