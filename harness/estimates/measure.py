"""Timing a model within a budget: batches that double until the next one would take too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from harness.estimates.bench import Bench
from harness.records.plan import Measurement

Clock = Callable[[], float]

SMALLEST_BATCH = 2
#: Shares of the budget for training steps, the loss alone, and evaluation.
STEPS, LOSS, EVALUATION = 0.6, 0.2, 0.2
#: Scoring is timed on at most this many images and captions.
LARGEST_BLOCK = (512, 2560)
REPEATS = 3


def measure(
    bench: Bench, batch_size: int, *, train: bool, seconds: float, data: str, clock: Clock = time.perf_counter
) -> Measurement:
    """Time a model.

    Args:
        bench: does the work.
        batch_size: of the training; larger batches than this are not tried.
        train: whether the model is trained at all.
        seconds: that the whole may take, about: a call that has begun is ended.
        data: what it is measured on, in words.
        clock: seconds.
    """
    steps: dict[int, float] = {}
    losses: dict[int, float] = {}
    saved: dict[int, int] = {}
    loss_saved: dict[int, int] = {}
    if train:
        few = min(SMALLEST_BATCH, batch_size)
        saved[few] = bench.saved(lambda: bench.step(few))  # also allocates and compiles
        steps = _ladder(bench.step, batch_size, STEPS * seconds, clock)
        # The loss grows with the square of the batch, which small batches do not show.
        loss_saved[few] = bench.saved(lambda: bench.loss(few))
        losses = _ladder(bench.loss, batch_size, LOSS * seconds, clock)
        for size in sorted(losses)[-2:]:
            loss_saved[size] = bench.saved(lambda: bench.loss(size))  # noqa: B023 - called at once
    each = EVALUATION * seconds / 3
    batch = min(batch_size, max(steps, default=SMALLEST_BATCH))
    images = _rate(bench.images, batch, each, clock)
    captions = _rate(bench.captions, batch, each, clock)
    pairs = _pairs(bench, each, clock)
    image_bytes, caption_bytes = bench.item_bytes()
    return Measurement(
        steps=steps,
        pairwise=losses,
        images_per_second=images,
        captions_per_second=captions,
        pairs_per_second=pairs,
        saved_bytes=saved,
        pairwise_bytes=loss_saved,
        image_bytes=image_bytes,
        caption_bytes=caption_bytes,
        data=data,
    )


def _ladder(work: Callable[[int], None], largest: int, seconds: float, clock: Clock) -> dict[int, float]:
    """Seconds by batch size, for doubling batches while there is time for the next; two at least, since one does not
    tell what is fixed and what grows."""
    times: dict[int, float] = {}
    size, end = min(SMALLEST_BATCH, largest), clock() + seconds
    while True:
        times[size] = _typical(lambda: work(size), end, clock)  # noqa: B023 - called at once
        following = min(2 * size, largest)
        late = clock() + times[size] * following / size > end
        if size == largest or (late and len(times) > 1):
            return times
        size = following


def _rate(work: Callable[[int], None], count: int, seconds: float, clock: Clock) -> float:
    """Items per second, in batches of `count`."""
    work(count)
    return count / _typical(lambda: work(count), clock() + seconds, clock)


def _pairs(bench: Bench, seconds: float, clock: Clock) -> float:
    """Pairs scored per second, in the largest of some doubling blocks that there is time for."""
    images, captions = 8, 40
    bench.pairs(images, captions)
    end = clock() + seconds
    while True:
        took = _typical(lambda: bench.pairs(images, captions), end, clock)  # noqa: B023 - called at once
        larger = (2 * images, 2 * captions)
        if larger[0] > LARGEST_BLOCK[0] or clock() + 4 * took > end:
            return images * captions / took
        images, captions = larger


def _typical(work: Callable[[], None], end: float, clock: Clock) -> float:
    """Median seconds of up to `REPEATS` calls, at least one, that begin before `end`."""
    samples: list[float] = []
    while len(samples) < REPEATS and (not samples or clock() + samples[-1] < end):
        start = clock()
        work()
        samples.append(clock() - start)
    return max(median(samples), 1e-9)
