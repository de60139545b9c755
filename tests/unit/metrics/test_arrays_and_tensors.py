"""An array is counted by NumPy and the same tensor by torch: every count, rank and list is the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from harness.metrics import BestRanks, EveryPositive, Positives, TopItems, count, sources
from harness.metrics.operations import arrays, tensors

OWNER = np.arange(60) % 12


def questions():
    random = np.random.default_rng(5)
    few = Positives.from_pairs(random.integers(0, 12, 30), random.integers(0, 60, 30))
    many = Positives.from_pairs(np.repeat(np.arange(60), 8), random.integers(0, 12, 480))
    dense = Positives.from_pairs(np.repeat(np.arange(12), 40), random.integers(0, 60, 480))
    folds = BestRanks(OWNER, np.arange(12) // 4)
    return [
        BestRanks(OWNER),
        folds,
        TopItems(3),
        TopItems(50),
        EveryPositive(few, "i2t"),
        EveryPositive(many, "t2i"),
        EveryPositive(dense, "i2t"),
    ]


def plain(answer):
    return answer._asdict() if hasattr(answer, "_asdict") else dataclasses.asdict(answer)


@pytest.mark.parametrize("block", [1, 100, 10_000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("levels", [3, 1000])
def test_both_count_the_same(monkeypatch, block, dtype, levels):
    monkeypatch.setattr(sources, "TILE_ELEMENTS", block)
    monkeypatch.setattr(sources, "SORTED_ELEMENTS", block)
    scores = np.random.default_rng(levels).integers(-levels, levels, (12, 60)).astype(dtype)  # few levels: many ties
    ours, theirs = (count(given, questions()) for given in (scores, torch.from_numpy(scores)))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_equal(plain(one), plain(other))


def test_both_have_the_same_operations():
    """Whatever counting asks of one module the other has too."""
    own = [{name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
           for module in (arrays, tensors)]  # fmt: skip
    assert own[0] == own[1]
