"""The resampling leaves out statistics that single precision shows to be small: no bit of any result may depend on that."""

from dataclasses import replace

import numpy as np
import pytest

from harness.reports.statistics import joint
from harness.reports.statistics.comparison import compare
from tests.studies.simulation import World


def _runs(seeds: int, images: int, folds: int):
    """Six methods: one copy of the first, one that differs on one image, one at the end of every ranking, two others."""
    world = World(images=images, methods=6, seeds=seeds, seed_sd=0.05, seed_query_sd=0.3)
    first, *others = world.draw(np.random.default_rng(1))
    near = first.i2t_ranks.copy()
    near[0, 0] += 20
    last = {"i2t_ranks": np.full_like(first.i2t_ranks, 99), "t2i_ranks": np.full_like(first.t2i_ranks, 99)}
    alike = [
        replace(first, name="copy"),
        replace(first, name="near", i2t_ranks=near),
        replace(first, name="last", **last),
    ]
    return [replace(run, fold=np.arange(images) % folds) for run in (first, *alike, *others[3:])]


@pytest.mark.parametrize(("seeds", "images", "folds"), [(3, 300, 1), (1, 300, 1), (3, 60, 3), (1, 60, 2), (1, 30, 1)])
def test_leaving_out_small_statistics_changes_no_bit(seeds, images, folds, monkeypatch):
    runs = _runs(seeds, images, folds)
    claim = "method" if seeds > 1 else "checkpoint"
    left_out = []
    above = joint._Rough.above

    def counted(self, h, floor):
        found = above(self, h, floor)
        left_out.append(len(floor) - len(found))
        return found

    monkeypatch.setattr(joint._Rough, "above", counted)
    fast = compare(runs, claim=claim, correction="maxt", resamples=3000)
    monkeypatch.setattr(joint._Rough, "above", lambda self, h, floor: np.arange(len(floor)))
    assert repr(compare(runs, claim=claim, correction="maxt", resamples=3000).rows) == repr(fast.rows)
    assert sum(left_out) > 0
