"""From a few timed steps to a whole run, and to an evaluation of any size. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.records.plan import Estimate, EvaluationCost, Measurement, Split, StoreCost, StoredTower
from harness.scoring.memory import LARGEST_DEFAULT, SHARE, SHARE_OF_MATRIX, SMALL_MATRIX
from harness.scoring.spilled import SHARE_OF_SIDE
from harness.spec import TrainingSpec

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Work:
    """What one run does.

    Args:
        training: how it is trained.
        steps_per_epoch: optimiser steps.
        validation, test: splits that are encoded and scored, after each epoch and at the end.
        saves_scores: whether the matrix of the test split is kept.
        train: the split that it learns from; None = nothing.
        free: bytes of main memory that are free; what does not fit is streamed. None = without a limit.
    """

    training: TrainingSpec
    steps_per_epoch: int
    validation: Split | None
    test: Split
    saves_scores: bool = False
    train: Split | None = None
    free: int | None = None


def steps_of(train: Split, training: TrainingSpec) -> int:
    """Optimiser steps of an epoch, as `harness.training.schedule.steps_per_epoch`.

    >>> steps_of(Split(images=29_000, captions=145_000), TrainingSpec(batch_size=128))
    1133
    """
    full, rest = divmod(train.captions if training.pairs == "all" else train.images, training.batch_size)
    return full + (rest > 1)


def full_batch(times: Mapping[int, float], losses: Mapping[int, float], batch: int) -> float:
    """What a full batch takes, from smaller ones: a fixed part, a part per pair, and a part per pair of pairs.

    The last is measured by itself, because it does not show in small batches. What was measured at the full batch is
    returned as it is.

    Args:
        times: seconds (or bytes) by batch size.
        losses: of the loss alone, by batch size; empty if `times` has the full batch.
        batch: the full batch.

    >>> full_batch({2: 14.0, 4: 18.0}, {}, 64)  # 10 + 2 per pair
    138.0
    >>> full_batch({2: 14.04, 4: 18.16}, {4: 1.16, 8: 1.64}, 64)  # and 0.01 per pair of pairs
    178.96
    """
    if batch in times:
        return times[batch]
    square = _growth(losses)
    linear = {size: value - square * size**2 for size, value in times.items()}
    large = max(linear)
    small = max((size for size in linear if size < large), default=0)
    each = (linear[large] - linear[small]) / (large - small) if small else linear[large] / large
    each = max(each, 0.0)
    return max(linear[large], 0.0) + each * (batch - large) + square * batch**2


def _growth(values: Mapping[int, float]) -> float:
    """What the two largest of some sizes give for each unit of the square; 0 where there are no two."""
    if len(values) < 2:
        return 0.0
    small, large = sorted(values)[-2:]
    return max(0.0, (values[large] - values[small]) / (large**2 - small**2))


def estimate(measured: Measurement, work: Work) -> Estimate:
    """What one run costs.

    Args:
        measured: of its model, without a problem.
        work: what it does.
    """
    training, parameters = work.training, measured.parameters or 0
    step = full_batch(measured.steps, measured.pairwise, training.batch_size) if training.epochs else None
    validation = evaluation_at(measured, work.validation).seconds if work.validation else 0.0
    scores = work.test.images * work.test.captions * FLOAT_BYTES if work.saves_scores else 0
    return Estimate(
        step_seconds=step,
        measured_batch=max(measured.steps, default=None),
        training_seconds=training.epochs * work.steps_per_epoch * (step or 0.0),
        validation_seconds=training.epochs * validation,
        test_seconds=evaluation_at(measured, work.test).seconds,
        stores=tuple(_store(tower, work) for tower in measured.towers),
        memory_bytes=_memory(measured, work),
        kept_bytes=FLOAT_BYTES * parameters + scores,
        # The weights, the best ones, and two moments of what is trained.
        working_bytes=FLOAT_BYTES * 2 * (parameters + (measured.trainable or 0)) if training.epochs else 0,
    )


def _store(tower: StoredTower, work: Work) -> StoreCost:
    """Of all splits that are read from the store; items that repeat another one are not left out."""
    splits = [work.train if tower.training else None, work.validation, work.test]
    items = sum((split.images if tower.side == "images" else split.captions) for split in splits if split)
    seconds = items / tower.items_per_second
    return StoreCost(tower=tower.tower, seconds=seconds, bytes=round(items * tower.item_bytes))


def evaluation_at(measured: Measurement, split: Split, free: int | None = None) -> EvaluationCost:
    """What one evaluation costs at any size, by the rules of `harness.scoring`.

    Args:
        measured: of the model, without a problem.
        split: how many images and captions; what equal ones save is left out.
        free: bytes of main memory that are free; None = without a limit.

    >>> measured = Measurement(images_per_second=10, pairs_per_second=1e6, image_bytes=10**5, caption_bytes=10**4)
    >>> cost = evaluation_at(measured, Split(images=100_000, captions=10**6), free=16 * 2**30)
    >>> cost.streamed, cost.encoding_seconds, cost.scoring_seconds, cost.disk_bytes
    (True, 10000.0, 100000.0, 20000000000)
    """
    items = ((split.images, measured.images_per_second), (split.captions, measured.captions_per_second))
    sizes = (split.images * measured.image_bytes, split.captions * measured.caption_bytes)
    matrix, left, held, spilled = FLOAT_BYTES * split.images * split.captions, free, 0, 0
    for size in sizes:
        if left is not None and size > left // SHARE_OF_SIDE:
            spilled += size
        else:
            held, left = held + size, None if left is None else left - size
    streamed = spilled > 0 or (left is not None and matrix > max(SMALL_MATRIX, left // SHARE_OF_MATRIX))
    tiles = 2 * min(LARGEST_DEFAULT, (left or 0) // SHARE)
    return EvaluationCost(
        encoding_seconds=sum(count / rate for count, rate in items if rate),
        scoring_seconds=split.images * split.captions / measured.pairs_per_second if measured.pairs_per_second else 0.0,
        streamed=streamed,
        memory_bytes=measured.base_bytes
        + FLOAT_BYTES * (measured.parameters or 0)
        + held
        + (tiles if streamed else matrix),
        disk_bytes=spilled,
        matrix_bytes=matrix,
    )


def _memory(measured: Measurement, work: Work) -> int:
    """Peak of a run: the process, the model, and the larger of a training step and of the test split in its fragments."""
    training, parameters, trainable = work.training, measured.parameters or 0, measured.trainable or 0
    evaluating, model = evaluation_at(measured, work.test, work.free).memory_bytes, FLOAT_BYTES * parameters
    if not training.epochs:
        return evaluating
    # Gradients and two moments of what is trained, and a copy of the best weights.
    kept = 3 * FLOAT_BYTES * trainable + FLOAT_BYTES * parameters
    return kept + max(measured.base_bytes + model + _saved(measured, training.batch_size), evaluating)


def _saved(measured: Measurement, batch: int) -> int:
    """What a step at the full batch keeps for its backward pass: the encoders in proportion to the batch, the loss as it
    grew."""
    if not measured.saved_bytes:
        return 0
    few = min(measured.saved_bytes)
    losses = {size: float(value) for size, value in measured.pairwise_bytes.items()}
    each = (measured.saved_bytes[few] - losses.get(few, 0.0)) / few
    largest = max(losses, default=0)
    loss = losses.get(batch, losses.get(largest, 0.0) + _growth(losses) * (batch**2 - largest**2))
    return round(max(each, 0.0) * batch + loss)
