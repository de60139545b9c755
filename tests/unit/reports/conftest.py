"""Made-up runs: records and rank files as the harness writes them, from ranks that a test chooses or draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rank_tables import rank_table

from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore


def naive_metrics(table: RankTable) -> dict[str, float]:
    """The metrics of a record, query by query: the mean over folds of the share of hits."""
    metrics: dict[str, float] = {}
    for direction in ("i2t", "t2i"):
        ranks = getattr(table, f"{direction}_rank").tolist()
        folds = getattr(table, f"{direction}_fold").tolist()
        for k in (1, 5, 10):
            shares = []
            for fold in sorted(set(folds)):
                hits = [rank < k for rank, of in zip(ranks, folds, strict=True) if of == fold]
                shares.append(100.0 * sum(hits) / len(hits))
            metrics[f"{direction}_r{k}"] = sum(shares) / len(shares)
    metrics["rsum"] = sum(metrics.values())
    return metrics | {f"{d}_{m}": 1.0 for d in ("i2t", "t2i") for m in ("medr", "meanr")} | {"tie_rate": 0.0}


class Runs:
    """Writes runs below a folder and remembers their ids."""

    def __init__(self, folder):
        self.store = RunStore(folder)
        self.ids: list[str] = []

    def add(self, table: RankTable, *, scorer: str = "scan", seed: int = 0, protocol: str = "full", **changes) -> str:
        run_id = changes.pop("run_id", f"{len(self.ids):016x}")
        values = {
            "run_id": run_id,
            "scorer": scorer,
            "backbone": "regions+bigru",
            "dataset": "scenes",
            "protocols": (protocol,),
            "seed": seed,
            "metrics": {protocol: naive_metrics(table)},
            "cost": {
                "pairs_per_second": 1000.0,
                "encode_image_ms_p50": 1.5,
                "peak_rss_mib": 800.0,
                "params_millions": 2.0,
            },
            "data_sha256": "a" * 64,
            "environment": {"processor": "Test CPU", "threads": 2, "gpu": None},
            "spec": {"scorer": scorer, "seed": seed, "evaluation": {"ties": "pessimistic"}},
            "status": "finished",
            "started": "2026-01-01T00:00:00+00:00",
        }
        self.store.write_ranks(run_id, {protocol: table})
        self.store.write(RunRecord(**{**values, **changes}))
        self.ids.append(run_id)
        return run_id

    def add_drawn(
        self, skill: float, *, scorer: str, seeds: int = 3, images: int = 60, captions: int = 2, **changes
    ) -> None:
        """Add runs whose ranks are drawn: `skill` 0..1 is the chance of rank 0, hard images are hard for all methods."""
        owner = np.repeat(np.arange(images), captions)
        hard = np.random.default_rng(99).random(images)
        for seed in range(seeds):
            draw = np.random.default_rng([seed, *scorer.encode()])
            i2t = np.where(draw.random(images) * (0.5 + hard) < skill, 0, draw.integers(1, min(20, len(owner)), images))
            t2i = np.where(
                draw.random(len(owner)) * (0.5 + hard[owner]) < skill, 0, draw.integers(1, min(20, images), len(owner))
            )
            self.add(rank_table(i2t, t2i, owner), scorer=scorer, seed=seed, **changes)


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(tmp_path / "results")


@pytest.fixture
def three_scorers(runs: Runs) -> Runs:
    """Three scorers x three seeds, far enough apart for `chan` and `clip` to be told apart."""
    for scorer, skill in (("scan", 0.5), ("chan", 0.8), ("clip", 0.1)):
        runs.add_drawn(skill, scorer=scorer)
    return runs


@pytest.fixture
def table() -> Callable[..., RankTable]:
    return rank_table
