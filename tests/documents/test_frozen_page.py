"""The lines of docs/frozen.md that read a frozen leaderboard without the harness give its numbers."""

from __future__ import annotations

import numpy as np
from test_documents import blocks

from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.frozen.contents import About, frozen_files
from harness.reports.frozen.writing import write_frozen
from harness.reports.runs.stores import join


def test_pandas_reads_the_ranks(tmp_path, monkeypatch):
    store = RunStore(tmp_path / "results")
    images, captions = np.array([f"0{i}" for i in range(4)]), np.array([f"0{i}" for i in range(4)])
    zeros, ones = np.zeros(4, int), np.ones(4, int)
    for seed, t2i in enumerate(([0, 0, 1, 0], [0, 2, 1, 3])):
        hits = [100 * float(np.mean(np.array(t2i) < k)) for k in (1, 5, 10)]
        metrics = dict(zip(("t2i_r1", "t2i_r5", "t2i_r10"), hits, strict=True)) | {
            f"i2t_r{k}": 100.0 for k in (1, 5, 10)
        }
        table = RankTable(
            zeros, zeros, images, captions, np.array(t2i), zeros, captions, images, zeros, zeros, ones, ones
        )
        store.write_ranks(f"run{seed}", {"full": table})
        store.write(
            RunRecord(
                run_id=f"run{seed}",
                scorer="scan",
                backbone="b",
                dataset="flickr8k",
                protocols=("full",),
                seed=seed,
                metrics={"full": metrics | {"rsum": sum(metrics.values())}},
                data_sha256="a" * 64,
                status="finished",
                started="2026-01-01T00:00:00+00:00",
            )
        )
    _, files = frozen_files(join([str(store.results)], store.results), About("flickr8k", "1.0", "x"))
    write_frozen(files, tmp_path / "flickr8k-1.0")
    monkeypatch.chdir(tmp_path)
    (lines,) = blocks("docs/frozen.md", "python")
    assert len(lines.strip().splitlines()) == 7  # the import, a blank line, and the five that the page promises
    names: dict = {}
    exec(lines, names)
    assert names["t2i_r1"].to_dict() == {"scan seed 0": 75.0, "scan seed 1": 25.0}
