"""Which runs belong together, what they are called, and that seeds are put on the same queries."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from harness.errors import InvalidRecord
from harness.records.ranks import RankTable
from harness.reports.runs.groups import groups
from harness.reports.runs.loading import finished_records, method_runs, runs_of_table
from harness.reports.statistics.errors import InvalidComparison


@pytest.fixture
def small(table):
    return table([0, 3, 4], [1, 0, 2, 2, 1, 0], [0, 0, 1, 1, 2, 2])


def grouped(runs):
    (members,) = groups(finished_records(runs.store, runs.ids)).values()
    return members


def spec(**config):
    return {"config": config, "seed": 0, "evaluation": {"ties": "pessimistic"}}


def test_runs_that_differ_in_what_decides_no_number_belong_together(runs, small):
    for seed in range(3):
        changed = {"root": f"/data/{seed}", "name": "scenes"}
        evaluation = {"ties": "pessimistic", "batch_size": 8 + seed, "cost_repeats": 30, "save_scores": bool(seed)}
        runs.add(
            small, seed=seed, spec={"seed": seed, "protocols": [seed], "dataset": changed, "evaluation": evaluation}
        )
    (group,) = grouped(runs)
    assert group.seeds == (0, 1, 2)
    assert group.label == "scan"


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        (
            [{"spec": spec(pooling="lse")}, {"spec": spec(pooling="mean")}],
            ["scan (pooling=lse)", "scan (pooling=mean)"],
        ),
        ([{"variant": ""}, {"variant": "i2t"}], ["scan", "scan.i2t"]),
        ([{}, {"backbone": "patches+bigru"}], ["scan [regions+bigru]", "scan [patches+bigru]"]),
        (
            [{"spec": {"evaluation": {"ties": rule}}} for rule in ("pessimistic", "optimistic")],
            ["scan (ties=pessimistic)", "scan (ties=optimistic)"],
        ),
        (
            [{"spec": spec(pooling="lse")}, {"spec": spec(pooling="lse", width=64)}],
            ["scan (width=none)", "scan (width=64)"],
        ),
    ],
)
def test_labels_are_unique_and_as_short_as_they_can_be(runs, small, changes, labels):
    for change in changes:
        runs.add(small, **change)
    assert [group.label for group in grouped(runs)] == labels


def test_a_variant_is_a_name_and_its_settings_are_the_method(runs, small):
    runs.add(small, seed=0, variant="t2i", spec=spec(direction="t2i") | {"variant": "t2i"})
    runs.add(small, seed=1, spec=spec(direction="t2i") | {"variant": ""})
    (group,) = grouped(runs)
    assert group.seeds == (0, 1)


def test_labels_stay_unique_when_many_keys_differ(runs, small):
    for a in range(2):
        for b in range(2):
            runs.add(small, spec=spec(k1=a + b, k2=a + b, k3=a + b, k4=a, k5=b))
    labels = [group.label for group in grouped(runs)]
    assert len(set(labels)) == 4


def test_a_repeated_seed_is_shown_once_by_its_latest_run(runs, small):
    old = runs.add(small, started="2026-01-01T00:00:00+00:00")
    new = runs.add(small, started="2026-02-01T00:00:00+00:00")
    (group,) = grouped(runs)
    assert group.run_ids == (new,)
    assert group.replaced == (old,)


def test_seeds_are_put_on_the_same_queries_whatever_the_order_of_their_files(runs, small):
    runs.add(small, seed=0)
    turned = {f.name: getattr(small, f.name)[::-1] for f in fields(RankTable)}
    runs.add(RankTable(**turned), seed=1)
    (group,) = grouped(runs)
    merged = method_runs(runs.store, group)
    assert merged.seeds == (0, 1)
    np.testing.assert_array_equal(merged.i2t_ranks[0], merged.i2t_ranks[1])
    np.testing.assert_array_equal(merged.t2i_ranks[0], merged.t2i_ranks[1])
    by_caption = dict(zip(merged.caption_ids.tolist(), merged.t2i_ranks[0].tolist(), strict=True))
    assert by_caption == dict(zip(small.t2i_caption_id.tolist(), small.t2i_rank.tolist(), strict=True))


def test_seeds_on_different_queries_are_refused(runs, small):
    runs.add(small, seed=0)
    other = replace(
        small,
        t2i_caption_id=np.array([f"other{i}" for i in range(6)]),
        i2t_caption_id=np.array(["other0", "other2", "other4"]),
    )
    runs.add(other, seed=1)
    (group,) = grouped(runs)
    with pytest.raises(InvalidComparison, match="different caption queries"):
        method_runs(runs.store, group)


def test_an_image_that_only_captions_are_about_is_a_unit_without_a_query(runs, small):
    asked = slice(0, 2)
    subset = replace(
        small, **{f.name: getattr(small, f.name)[asked] for f in fields(RankTable) if f.name.startswith("i2t")}
    )
    runs.add(small)
    (group,) = grouped(runs)
    made = runs_of_table(subset, name="scan", seed=0, gallery=group.gallery)
    assert made.image_ids.tolist() == ["image0", "image1", "image2"]
    assert made.image_queried.tolist() == [True, True, False]
    assert made.caption_image.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("status", "message"), [("failed", "status 'failed'"), ("running", "status 'running'")])
def test_unfinished_runs_are_refused(runs, small, status, message):
    run_id = runs.add(small, status=status)
    with pytest.raises(InvalidRecord, match=message):
        finished_records(runs.store, [run_id])


def test_missing_runs_and_protocols_are_refused(runs, small):
    with pytest.raises(InvalidRecord, match="no record"):
        finished_records(runs.store, ["nothing"])
    run_id = runs.add(small)
    runs.store.write_ranks(run_id, {"other": small})
    (group,) = grouped(runs)
    with pytest.raises(InvalidRecord, match="lack the protocol 'full'"):
        method_runs(runs.store, group)
