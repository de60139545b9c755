"""The test split, watched during a training: what choosing the epoch on it would have bought, and never what is reported.

LAPS, AVSE, HREM and D2S-VSE choose their epoch on the test split in their public code. A run that watches says how much
that is worth on its own data; its weights and numbers are those of the run that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.datasets.base import Split
from harness.runs.building import TEST_SPLIT
from harness.scorer import Scorer
from harness.spec import RunSpec
from harness.training.loop import validate


def watched_splits(spec: RunSpec) -> tuple[str, ...]:
    """The splits that a training of this cell looks at beside those it learns from."""
    return (TEST_SPLIT,) if spec.evaluation.watch_test else ()


def watcher(scorer: Scorer, splits: Mapping[str, Split], spec: RunSpec) -> Callable[[], dict[str, float]] | None:
    """What `harness.training.loop.fit` calls after each epoch; None where nothing is watched."""
    if not spec.evaluation.watch_test:
        return None
    return lambda: validate(scorer, splits[TEST_SPLIT], spec.evaluation.batch_size)
