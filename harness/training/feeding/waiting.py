"""How much of its time a training waits for its batches, and what helps."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from harness.training.feeding.feed import Feed
from harness.training.feeding.processes import spare_cores

logger = logging.getLogger(__name__)

#: Above this share there is a line, where it is a second or more in all: less is of no use to anybody.
MOST_PERCENT, LEAST_SECONDS = 5.0, 1.0


@dataclass(frozen=True)
class Waiting:
    """Times of steps, ms.

    >>> Waiting([1.0, 2.0], [10.0, 20.0]).percent
    10.0

    Args:
        waits: until the batch was there.
        steps: from the wish for a batch to the end of the step. There may be more of them, in a training that began before
            waits were measured.
    """

    waits: Sequence[float]
    steps: Sequence[float]

    @property
    def percent(self) -> float | None:
        """Of the time of the steps; None where no wait was measured."""
        total = sum(self.steps[len(self.steps) - len(self.waits) :])
        return 100 * sum(self.waits) / total if self.waits and total else None


def told_waiting(title: str, waiting: Waiting, feed: Feed) -> dict[str, float]:
    """`train_waiting_percent`, absent where it was not measured; a line says what helps where it is high."""
    percent = waiting.percent
    if percent is None:
        return {}
    seconds = sum(waiting.waits) / 1000
    if percent > MOST_PERCENT and seconds >= LEAST_SECONDS:
        logger.info("%s waited for data %.0f %% of its time (%.0f s): %s", title, percent, seconds, advice(feed))
    return {"train_waiting_percent": percent}


def advice(feed: Feed) -> str:
    """What makes a training wait less."""
    work, reader = feed.reader.work, feed.reader
    spare = spare_cores(feed.device) - feed.workers
    steps = []
    if spare > 0:
        more = feed.workers + min(spare, 4)
        steps.append(f"set feeding.workers={more} (now {feed.workers})")
    else:
        steps.append("compute threads and loader processes take all cores: give the run more of them")
    if work == "squares":
        steps.append(
            f"give the cache room for the decoded images: ITM_CACHE_GIB={int(reader.needed_gib) + 1} (now "
            f"{os.environ.get('ITM_CACHE_GIB') or 8})"
        )
    if work == "originals":
        steps.append("training.image_augmentation=flip reads images that are decoded once, and is another recipe")
    return "; or ".join(steps)
