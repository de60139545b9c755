"""Training: a scorer, a train split and a validation split in, the best epoch by validation rSum out.

The test split is not an argument of anything here. Every epoch has its own random stream, derived from the seed and the
epoch's number, so a run that is resumed from its checkpoint ends in the same weights as one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.datasets.base import Split
from harness.errors import RankFailed, TrainingDiverged
from harness.files.writing import atomic_path
from harness.fragments import Fragments, Tokens
from harness.measure.quiet import pass_by, working, working_time
from harness.measure.system import other_load
from harness.measure.timing import StepTimer
from harness.metrics import retrieval_metrics
from harness.scorer import Scorer
from harness.scoring import encode_sides, scores_of
from harness.spec import FeedingSpec, TrainingSpec, canonical_json
from harness.training import augmentation
from harness.training.feeding.batches import Batch, Reader, on_device
from harness.training.feeding.feed import Course, Feed
from harness.training.feeding.waiting import Waiting, told_waiting
from harness.training.gradients import Inputs
from harness.training.optimizer import optimizer_of
from harness.training.ranks import ALONE, Ranks
from harness.training.schedule import (
    learning_rate_factor,
    loss_factor,
    objective_of_epoch,
    pair_batches,
    steps_per_epoch,
)
from harness.training.state import Epoch, Expected, TrainingResult, read_state
from harness.training.towers import training_towers
from harness.training.whole_batch import gradients_of

AUTOMATIC = FeedingSpec()


def fit(
    scorer: Scorer,
    train: Split,
    validation: Split,
    spec: TrainingSpec,
    *,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_resume: Callable[[list[Epoch]], None] | None = None,
    batch_size_eval: int = 256,
    ranks: Ranks = ALONE,
    feeding: FeedingSpec = AUTOMATIC,
    title: str = "this training",
) -> TrainingResult:
    """Train a scorer in place and leave it with the weights of its best validation epoch.

    Args:
        scorer: with both encoders, on the device to train on.
        train: pairs to learn from.
        validation: split by whose rSum the best epoch is chosen.
        spec: how to train.
        seed: of the order of pairs and of all noise.
        checkpoint: file to write after each epoch and to resume from if it is there; None = neither.
        on_epoch: called after each epoch; an exception it raises ends the training (the checkpoint is kept).
        on_resume: called with the epochs of the checkpoint that the training resumes from; not called without one.
        batch_size_eval: items encoded at once for validation.
        ranks: the processes that train together, each of which calls this; the first one validates, writes and tells.
        feeding: how batches are read; no number depends on it.
        title: what a log line calls it.

    Returns:
        The course of the training; of the first process only.

    Raises:
        CannotEncode: the scorer has no encoders.
        TrainingDiverged: a loss became non-finite.
        FeedingFailed: a process that reads batches died.
    """
    scorer.encoders  # noqa: B018 - refuses a scorer that has none before anything is spent
    if not spec.epochs:
        return TrainingResult()
    loop = _Loop(scorer, train, spec, seed, ranks, feeding)
    result = loop.resume(checkpoint)
    if result.history and on_resume is not None:
        on_resume(result.history)
    helped = lambda: loop.feed.cpu_seconds  # noqa: E731
    with (
        training_towers(scorer, spec),
        working(loop.device, ranks.leads),
        other_load(helped) as load,
        closing(loop.feed),
    ):
        for number in range(len(result.history), spec.epochs):
            started = working_time()
            losses = loop.run_epoch(number)
            if not ranks.leads:
                continue
            metrics = validate(scorer, validation, batch_size_eval)
            epoch = Epoch(
                epoch=number,
                losses=losses,
                validation=metrics,
                learning_rate=loop.learning_rate,
                seconds=working_time() - started,
            )
            result.history.append(epoch)
            if number == 0 or metrics["rsum"] > result.best["rsum"]:
                result.best_epoch = number
                loop.keep_best()
            result.steps = loop.step
            loop.save(checkpoint, result)
            if on_epoch is not None:
                on_epoch(epoch)
    if not ranks.leads:
        return result
    scorer.load_state_dict(loop.best)
    scorer.eval()
    result.step_ms = loop.timer.summary()
    if result.step_ms:  # so that a step that was timed beside other processes can be told
        result.step_ms |= {f"train_{key}": value for key, value in load.items()}
        result.step_ms |= told_waiting(title, Waiting(loop.wait_timer.samples, loop.timer.samples), loop.feed)
    return result


def validate(scorer: Scorer, split: Split, batch_size: int = 256) -> dict[str, float]:
    """Retrieval metrics of a split, encoded and scored now."""
    images, texts = encode_sides(scorer, split, batch_size)
    return retrieval_metrics(scores_of(scorer, images, texts), split.caption_image)


def training_step(scorer: Scorer, train: Split, spec: TrainingSpec, seed: int = 0) -> Callable[[int], object]:
    """One step of a training as a call, for a stopwatch: batch, augmentation, both passes, optimiser.

    Args:
        scorer: with both encoders; each call changes its weights, so hand in a copy.
        train: pairs to learn from.
        spec: how to train.
        seed: of the order of pairs and of all noise.

    Returns:
        A function of the number of a batch, taken modulo the batches of an epoch.

    Raises:
        CannotEncode: the scorer has no encoders.
    """
    loop = _Loop(scorer, train, spec, seed)
    held = ExitStack()
    held.enter_context(training_towers(scorer, spec))  # as long as there is the function that is returned
    scorer.train()
    scorer.objective = objective_of_epoch(spec.epochs, spec)
    batches = list(pair_batches(train, spec, np.random.default_rng(seed)))
    noise = torch.Generator().manual_seed(seed)

    def step(number: int, held: ExitStack = held) -> object:
        return loop.run_step(loop.reader.read(batches[number % len(batches)], 0), noise)

    return step


class _Loop:
    """One training in progress: the optimiser, the random streams and the best weights so far."""

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
        self.optimizer = optimizer_of(scorer, spec)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.bfloat16 = spec.precision == "bfloat16" or (spec.precision == "auto" and self.device.type == "cuda")
        self.gradients = gradients_of(scorer, spec, seed, ranks, self.autocast)
        self.step = 0
        self.timer, self.wait_timer = StepTimer(self.device), StepTimer()
        self.best: dict[str, Tensor] = {}

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def run_epoch(self, number: int) -> dict[str, float]:
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

    def keep_best(self) -> None:
        self.best = {name: value.detach().cpu().clone() for name, value in self.scorer.state_dict().items()}

    def save(self, path: Path | None, result: TrainingResult) -> None:
        if path is None:
            return
        state = {
            "training": self.identity,
            "scorer": self.scorer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": result.best_epoch,
            "step": self.step,
            "history": [epoch.model_dump() for epoch in result.history],
            "step_samples": self.timer.samples,
            "wait_samples": self.wait_timer.samples,
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path | None) -> TrainingResult:
        """Take up the checkpoint if there is a whole one of this training; else start anew, which costs time only."""
        state = read_state(path, self.expected, self.device) if path is not None else None
        if not self.ranks.agreed(len(state.history) if state is not None else 0):
            raise RankFailed("the processes of the run do not read the same checkpoint; call the command again")
        if state is None:
            return TrainingResult()
        self.scorer.load_state_dict(state.scorer)
        self.optimizer.load_state_dict(state.optimizer)
        self.best, self.step = state.best, state.step
        self.timer.samples, self.wait_timer.samples = state.step_samples, state.wait_samples
        return TrainingResult(state.history, state.best_epoch, self.step)

    @property
    def identity(self) -> str:
        """Settings and seed of this training, which its checkpoint must be of."""
        return canonical_json({**self.spec.identity, "seed": self.seed})

    @property
    def expected(self) -> Expected:
        """What a checkpoint of this training must agree with."""
        return Expected(
            self.identity,
            self.scorer.state_dict(),
            self.optimizer.state_dict(),
            [parameter.shape for group in self.optimizer.param_groups for parameter in group["params"]],
            self.spec.epochs,
            self.steps_per_epoch,
        )
