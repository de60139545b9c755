"""The steps of a training: a batch in, changed weights out. What decides them is the seed, the epoch and the batch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.errors import TrainingDiverged
from harness.fragments import Fragments, Tokens
from harness.measure.quiet import pass_by
from harness.measure.timing import StepTimer
from harness.scorer import Scorer
from harness.spec import FeedingSpec, TrainingSpec
from harness.training import augmentation
from harness.training.feeding.batches import Batch, Reader, on_device
from harness.training.feeding.feed import Course, Feed
from harness.training.gradients import Inputs
from harness.training.optimizer import optimizer_of
from harness.training.products import choice
from harness.training.ranks import ALONE, Ranks
from harness.training.schedule import (
    learning_rate_factor,
    loss_factor,
    objective_of_epoch,
    pair_batches,
    steps_per_epoch,
)
from harness.training.whole_batch import gradients_of

AUTOMATIC = FeedingSpec()


class Steps:
    """A training in progress: its feed, its optimiser and its random streams.

    Args:
        scorer: with both encoders, on the device to train on.
        train: pairs to learn from.
        spec: how to train.
        seed: of the order of pairs and of all noise.
        ranks: the processes that train together.
        feeding: how batches are read; no number depends on it.
    """

    def __init__(
        self,
        scorer: Scorer,
        train: Split,
        spec: TrainingSpec,
        seed: int,
        ranks: Ranks = ALONE,
        feeding: FeedingSpec = AUTOMATIC,
    ):
        self.scorer, self.train, self.spec, self.seed, self.ranks = scorer, train, spec, seed, ranks
        self.device = scorer.device
        self.image_encoder, text_encoder = scorer.encoders
        self.tokenizer = text_encoder.tokenizer
        self.tokens = self.tokenizer(train.captions) if train.stored_texts is None else None
        self.reader = Reader(train, self.image_encoder, spec.image_augmentation, seed, ranks.part)
        self.steps_per_epoch = steps_per_epoch(train, spec)
        course = Course(self.order, self.steps_per_epoch, spec.epochs)
        self.feed = Feed(self.reader, course, feeding, self.device)
        self.product = choice.named(spec, self.device, ranks.count)
        self.optimizer = optimizer_of(scorer, spec)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.bfloat16 = spec.precision == "bfloat16" or (spec.precision == "auto" and self.device.type == "cuda")
        self.gradients = gradients_of(scorer, spec, seed, ranks, self.autocast)
        self.step = 0
        self.timer, self.wait_timer = StepTimer(self.device), StepTimer()

    @property
    def learning_rate(self) -> float:
        """Of the first group, as the schedule has it now."""
        return self.optimizer.param_groups[0]["lr"]

    def run_epoch(self, number: int) -> dict[str, float]:
        """All steps of an epoch (0-based): the mean of each loss term."""
        self.scorer.train()
        self.scorer.objective = objective_of_epoch(number, self.spec)
        noise = torch.Generator().manual_seed(self.stream(number, 1))
        totals: dict[str, Tensor] = {}
        count = 0
        devices = [self.device] if self.device.type == "cuda" else []
        # Dropout and sampled gates draw from torch's global stream: seed it for this epoch and give it back afterwards.
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.stream(number, 2))
            self.feed.begin(number)
            for _ in range(self.steps_per_epoch):
                pass_by()
                with self.timer:
                    with self.wait_timer:
                        batch = self.feed.batch()
                    losses = self.run_step(batch, noise)
                for name, value in losses.items():
                    totals[name] = totals.get(name, torch.zeros((), device=self.device)) + value
                count += 1
        self.gradients.even_out()
        return {name: float(total) / max(count, 1) for name, total in totals.items()}

    def order(self, epoch: int) -> Iterator[np.ndarray]:
        """The captions of the batches of an epoch."""
        return pair_batches(self.train, self.spec, np.random.default_rng([self.seed, epoch]))

    def stream(self, epoch: int, purpose: int) -> int:
        """The seed of a random stream of this process in an epoch."""
        rank = [self.ranks.number] if self.ranks.number else []  # the first has the streams of a process that is alone
        return int(np.random.SeedSequence([self.seed, epoch, purpose, *rank]).generate_state(1)[0])

    def autocast(self) -> torch.autocast:
        """The precision of the encoders and of the loss."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def run_step(self, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
        """One step on a batch that was read: its inputs, both encoders and the loss, the update."""
        self.optimizer.zero_grad(set_to_none=True)
        part = batch.part
        inputs = Inputs(
            self.image_inputs(batch, noise),
            self.text_inputs(batch, noise),
            (part.real(batch.distinct), part.real(len(batch.captions))),
        )

        def terms(images: Fragments, texts: Fragments) -> dict[str, Tensor]:
            each = images[on_device(batch.places, self.device)]
            return self.scorer.losses(each, texts, on_device(batch.image_rows, self.device))

        factor = loss_factor(self.step, self.steps_per_epoch, self.spec)
        with self.product.multiplying():
            losses, total = self.gradients.backward(inputs, terms, factor, self.step)
        self.update(total)
        return {name: loss.detach().float() for name, loss in losses.items()}

    def update(self, total: Tensor) -> None:
        """Change the weights by their gradients; refused where these or the loss are not finite."""
        spec = self.spec
        factor = learning_rate_factor(self.step, self.steps_per_epoch, spec)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        norm = nn.utils.clip_grad_norm_(self.scorer.parameters(), spec.gradient_clip)
        if not bool(torch.isfinite(total + norm)):  # before the weights take it in
            raise TrainingDiverged(
                f"step {self.step + 1} of the training has loss {float(total):g} and gradient norm {float(norm):g}; "
                f"lower training.learning_rate (now {spec.learning_rate:g}) or training.gradient_clip (now "
                f"{spec.gradient_clip:g})"
            )
        self.optimizer.step()
        self.step += 1

    def image_inputs(self, batch: Batch, noise: torch.Generator) -> Tensor | Fragments:
        """What the image encoder takes, on the device: pixels, or region features or a frozen tower's outputs, some dropped."""
        encoder, images = self.image_encoder, batch.images
        images = images.to(self.device, non_blocking=True)
        if not isinstance(images, Fragments):
            if not encoder.frozen:
                return images
            images = encoder.raw(images)
        return augmentation.drop_regions(images, self.spec.region_drop, noise, kept=encoder.class_tokens)

    def text_inputs(self, batch: Batch, noise: torch.Generator) -> Tokens | Fragments:
        """What the text encoder takes, on the device: tokens, some masked, or a frozen tower's outputs, which read no noise."""
        if batch.texts is not None:
            return batch.texts.to(self.device, non_blocking=True)
        assert self.tokens is not None
        tokens = self.tokens[torch.from_numpy(batch.own_captions)]
        return augmentation.mask_words(tokens, self.spec.word_masking, self.tokenizer, noise).to(self.device)
