"""`itm show` and `itm ls runs` on a trained, an added and a failed run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.records.store import RunStore
from harness.reports.runs.intervals import intervals_of


@pytest.fixture
def store(itm, experiment, tmp_path):
    assert itm("leaderboard", experiment)[0] == 0
    return RunStore(tmp_path / "results")


def test_a_trained_run_shows_its_numbers_with_intervals_and_what_it_rests_on(itm, store, tmp_path):
    record = store.records()[0]
    code, out, _ = itm("show", record.run_id[:10], "--json", tmp_path / "x.json")
    assert code == 0
    shown = json.loads((tmp_path / "x.json").read_text())
    (protocol,) = record.protocols
    found = intervals_of(store.ranks(record.run_id)[protocol], record.metrics[protocol], record.ties)
    by_metric = {row["metric"]: row for row in shown["numbers"]}
    assert set(by_metric) == set(found)
    for metric, interval in found.items():
        assert by_metric[metric]["value"] == pytest.approx(record.metrics[protocol][metric])
        assert (by_metric[metric]["value_low"], by_metric[metric]["value_high"]) == (interval.low, interval.high)
    for text in ("Recalls in percent", "the weights of epoch", "Cost in use", "ranks.npz", "itm significance"):
        assert text in out
    assert "levels" not in out  # `itm diagnose` has them


def test_an_added_run_names_its_files_and_what_is_not_known(itm, store, experiment, tmp_path):
    subject = store.records()[0]
    table = store.ranks(subject.run_id)["full"]
    images, captions = len(table.i2t_rank), len(table.t2i_rank)
    owner = table.caption_image
    scores = np.random.default_rng(0).standard_normal((images, captions)) + 3 * (owner == np.arange(images)[:, None])
    np.save(tmp_path / "their scores.npy", scores)
    code, out, err = itm("add", tmp_path / "their scores.npy", "--dataset", experiment, "--name", "theirs")
    assert code == 0, err
    (added,) = [record for record in store.records() if record.origin == "foreign"]
    code, out, _ = itm("show", added.run_id)
    assert code == 0
    assert "Its ranks come from their scores.npy: a score matrix (float64)" in out
    assert "Its author does not say what the checkpoint was chosen on" in out
    assert added.source.files[0].sha256[:20] in out.replace("\n", "")
    code, out, err = itm("ls", "runs", "--origin", "foreign")
    assert code == 0
    assert added.run_id in out
    assert subject.run_id not in out


def test_a_failed_run_shows_why(itm, store):
    record = store.records()[0]
    store.write(record.model_copy(update={"status": "failed", "error": "out of memory in step 3", "metrics": {}}))
    (store.folder(record.run_id) / "traceback.txt").write_text("Traceback: here\n")
    code, out, _ = itm("show", record.run_id)
    assert code == 0
    assert "failed: out of memory in step 3" in " ".join(out.split())
    assert "traceback.txt" in out
    code, out, _ = itm("ls", "runs", "--status", "failed")
    assert "out of memory in step 3" in out


def test_a_folder_without_runs_says_so_and_several_runs_of_one_beginning_are_named(itm, store, tmp_path):
    code, out, err = itm("ls", "runs", "--results", tmp_path / "none")
    assert (code, out.strip()) == (0, "")
    assert f"no runs below {tmp_path / 'none'}/runs" in err
    first = store.records()[0]
    for last in "ab":
        store.write(first.model_copy(update={"run_id": f"00000000{last * 8}"}))
    code, _, err = itm("show", "00000000")
    assert code == 2
    assert "2 runs begin with '00000000' (00000000aaaaaaaa, 00000000bbbbbbbb)" in err
