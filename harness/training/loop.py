"""Training: a scorer, a train split and a validation split in, the best epoch by validation rSum out.

The test split is not an argument of anything here; `watch` may look at it, and nothing is chosen by what it sees. Every
epoch has its own random stream, derived from the seed and the epoch's number, so a run that is resumed from its checkpoint
ends in the same weights as one that was never stopped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path

import numpy as np
import torch

from harness.datasets.base import Split
from harness.measure.energy.meter import energy_of
from harness.measure.quiet import working, working_time
from harness.measure.system import other_load
from harness.metrics import retrieval_metrics
from harness.scorer import Scorer
from harness.scoring import encode_sides, scores_of
from harness.spec import FeedingSpec, TrainingSpec
from harness.training.checkpoint import Checkpoint
from harness.training.feeding.waiting import Waiting, told_waiting
from harness.training.products import choice
from harness.training.ranks import ALONE, Ranks
from harness.training.schedule import objective_of_epoch, pair_batches
from harness.training.state import Epoch, TrainingResult
from harness.training.steps import AUTOMATIC, Steps
from harness.training.towers import training_towers


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
    watch: Callable[[], dict[str, float]] | None = None,
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
        watch: called after the validation of each epoch; what it returns is kept beside the epoch, and nothing is chosen
            by it.

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
    steps = Steps(scorer, train, spec, seed, ranks, feeding)
    kept = Checkpoint(checkpoint, steps)
    result = kept.resume()
    if result.history and on_resume is not None:
        on_resume(result.history)
    if spec.product == choice.TUNE and not result.history:
        steps.product = choice.tuned(steps.device, lambda product: _step_of_a_copy(scorer, train, spec, seed, product))
    result.product = steps.product.described if steps.device.type == "cpu" else {}
    helped = lambda: steps.feed.cpu_seconds  # noqa: E731
    with (
        training_towers(scorer, spec),
        working(steps.device, ranks.leads),
        other_load(helped) as load,
        closing(steps.feed),
        steps.feed.watched(),
    ):
        for number in range(len(result.history), spec.epochs):
            started = working_time()
            # Of several processes each would measure one GPU, and the sum would pass for the whole of the machine.
            measuring: AbstractContextManager[dict[str, float]] = (
                energy_of(steps.device) if ranks.count == 1 else nullcontext({})
            )
            with measuring as spent:
                losses = steps.run_epoch(number)
                metrics = validate(scorer, validation, batch_size_eval) if ranks.leads else {}
            if not ranks.leads:
                continue
            epoch = Epoch(
                epoch=number,
                losses=losses,
                validation=metrics,
                learning_rate=steps.learning_rate,
                seconds=working_time() - started,
                watched=watch() if watch is not None else {},
                energy_wh=spent,
            )
            result.history.append(epoch)
            if number == 0 or metrics["rsum"] > result.best["rsum"]:
                result.best_epoch = number
                kept.keep_best()
            result.steps = steps.step
            kept.save(result)
            if on_epoch is not None:
                on_epoch(epoch)
    if not ranks.leads:
        return result
    scorer.load_state_dict(kept.best)
    scorer.eval()
    result.step_ms = steps.timer.summary()
    if result.step_ms:  # so that a step that was timed beside other processes can be told
        result.step_ms |= {f"train_{key}": value for key, value in load.items()}
        result.step_ms |= told_waiting(title, Waiting(steps.wait_timer.samples, steps.timer.samples), steps.feed)
    return result


def _step_of_a_copy(
    scorer: Scorer, train: Split, spec: TrainingSpec, seed: int, product: str
) -> Callable[[int], object]:
    return training_step(copy.deepcopy(scorer), train, spec.model_copy(update={"product": product}), seed)


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

    Where `spec.product` asks for timing, torch's product is taken.

    Returns:
        A function of the number of a batch, taken modulo the batches of an epoch.

    Raises:
        CannotEncode: the scorer has no encoders.
    """
    steps = Steps(scorer, train, spec, seed)
    held = ExitStack()
    held.enter_context(training_towers(scorer, spec))  # as long as there is the function that is returned
    scorer.train()
    scorer.objective = objective_of_epoch(spec.epochs, spec)
    batches = list(pair_batches(train, spec, np.random.default_rng(seed)))
    noise = torch.Generator().manual_seed(seed)

    def step(number: int, held: ExitStack = held) -> object:
        return steps.run_step(steps.reader.read(batches[number % len(batches)], 0), noise)

    return step
