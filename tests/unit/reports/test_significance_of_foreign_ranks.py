"""Ranks of other people beside ours: the same numbers, and refused where they contradict each other."""

from __future__ import annotations

import pytest
from compared import QUICK, only

from harness.errors import InvalidRecord
from harness.reports.runs.sources import read_sources
from harness.reports.significance.examine import Request, examine
from harness.reports.statistics.errors import (
    BestSeedRuns,
    DuplicateQueries,
    InvalidComparison,
)


def foreign_csv(runs, run_id, path, method="theirs", **extra):
    """A recorded run as somebody else's CSV."""
    import pandas as pd

    (table,) = runs.store.ranks(run_id).values()
    sides = (
        ("i2t", table.i2t_image_id, table.i2t_image_id, table.i2t_caption_id, table.i2t_rank),
        ("t2i", table.t2i_caption_id, table.t2i_image_id, table.t2i_caption_id, table.t2i_rank),
    )
    frames = [
        pd.DataFrame({"query_id": q, "direction": d, "rank": r, "image_id": i, "caption_id": c})
        for d, q, i, c, r in sides
    ]
    pd.concat(frames).assign(seed=0, method=method, **extra).to_csv(path, index=False)
    return str(path)


def test_foreign_ranks_compare_with_ours_to_the_same_numbers(runs, tmp_path):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.7, scorer="chan", seeds=1)
    results = runs.store.results
    path = foreign_csv(runs, runs.ids[1], tmp_path / "theirs.csv")
    both = examine(only(runs), Request(**QUICK)).comparison
    (subject,) = read_sources([runs.ids[0], path], results)
    mixed = examine(subject, Request(**QUICK)).comparison
    assert mixed.methods == ("theirs", "scan")
    assert [row.difference for row in mixed.rows] == [row.difference for row in both.rows]
    assert [row.p_adjusted for row in mixed.rows] == [row.p_adjusted for row in both.rows]
    assert {item.file for item in subject.evidence} == {"ranks.npz", "theirs.csv"}


def test_foreign_ranks_compare_with_each_other(runs, tmp_path):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.7, scorer="chan", seeds=1)
    paths = [foreign_csv(runs, run_id, tmp_path / f"{run_id}.csv", method=run_id) for run_id in runs.ids]
    (subject,) = read_sources(paths, tmp_path)
    assert (subject.dataset, subject.protocol) == ("foreign", "ranks")
    assert len(examine(subject, Request(**QUICK)).comparison.rows) == 7
    (named,) = read_sources(paths, tmp_path, datasets=["flickr8k"], protocols=["full"])
    assert named.slug == "flickr8k-full"


def test_a_foreign_file_must_say_which_of_two_galleries_it_is_about(runs, tmp_path):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.5, scorer="scan", seeds=1, dataset="flickr8k", data_sha256="f" * 64)
    sources = [str(runs.store.results), foreign_csv(runs, runs.ids[0], tmp_path / "theirs.csv")]
    with pytest.raises(InvalidRecord, match="--dataset and --protocol"):
        read_sources(sources, tmp_path)
    (chosen,) = read_sources(sources, tmp_path, datasets=["scenes"])
    assert [run.name for run in chosen.methods] == ["scan", "theirs"]
    stated = foreign_csv(runs, runs.ids[0], tmp_path / "stated.csv", dataset="flickr8k", protocol="full")
    by_dataset = {s.dataset: s for s in read_sources([sources[0], stated], tmp_path)}
    assert [run.name for run in by_dataset["flickr8k"].methods] == ["scan", "theirs"]
    assert [run.name for run in by_dataset["scenes"].methods] == ["scan"]


def test_foreign_files_that_contradict_ours_are_refused(runs, tmp_path):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.5, scorer="other", seeds=1, images=61)
    for run_id, method, error in ((0, "scan", DuplicateQueries), (1, "theirs", InvalidComparison)):
        path = foreign_csv(runs, runs.ids[run_id], tmp_path / f"{method}.csv", method=method)
        (subject,) = read_sources([runs.ids[0], path], runs.store.results)
        with pytest.raises(error):
            examine(subject, Request(**QUICK))


def test_the_best_of_several_seeds_is_refused(runs, tmp_path):
    import pandas as pd

    runs.add_drawn(0.5, scorer="scan", seeds=1)
    path = foreign_csv(runs, runs.ids[0], tmp_path / "best.csv")
    pd.read_csv(path, dtype=str).assign(seed="best").to_csv(path, index=False)
    (subject,) = read_sources([runs.ids[0], path], runs.store.results)
    with pytest.raises(BestSeedRuns):
        examine(subject, Request(**QUICK))
