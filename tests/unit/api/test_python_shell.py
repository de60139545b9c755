"""The Python shell has the numbers of the commands: the same runs, ranks, ids, tests and refusals."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import harness as itm
from harness.cli.main import main
from harness.errors import CannotEncode, InvalidIndex, InvalidSimilarity, InvalidSpec, RunFailed, UnknownName
from harness.records.ranks import NAMES
from harness.records.store import RunStore
from harness.reports.runs.sources import read_sources
from harness.reports.significance.examine import Request, examine

SMALL = {"train_images": 40, "val_images": 10, "test_images": 40, "image_size": 32}
SHORT = {"epochs": 1, "batch_size": 16}


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words])
    assert not stop.value.code


@pytest.fixture(scope="module")
def data():
    return itm.load_dataset("scenes", max_objects=3, **SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data) -> Path:
    """A results folder with two scorers that the command trained."""
    results = tmp_path_factory.mktemp("commands") / "results"
    settings = [*(f"dataset.{key}={value}" for key, value in SMALL.items()), "seeds=1", "scorers=[scan, chan]"]
    settings += [*(f"training.{key}={value}" for key, value in SHORT.items()), "scorers.scan.config.direction=t2i"]
    command(
        "leaderboard",
        "quickstart",
        "--results",
        str(results),
        "--no-mlflow",
        *(w for s in settings for w in ("--set", s)),
    )
    return results


@pytest.fixture(scope="module")
def scan(data):
    return itm.create("scan", direction="t2i").fit(data, seed=0, **SHORT)


def same_ranks(a: itm.Result, b: itm.Result) -> bool:
    assert a.tables.keys() == b.tables.keys()
    return all(np.array_equal(getattr(a.tables[p], n), getattr(b.tables[p], n)) for p in a.tables for n in NAMES)


def test_a_fit_is_the_run_of_the_command(folder, scan):
    recorded = itm.load_run(scan.run_id, results=folder)  # under the same id
    assert recorded.path.read_bytes() == scan.path.read_bytes()
    mine, theirs = itm.evaluate(scan), itm.evaluate(recorded)
    assert mine.metrics == theirs.metrics
    assert same_ranks(mine, theirs)


def test_a_seed_decides_all_and_the_caller_keeps_his_randomness(data, scan):
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002 - that of a caller
    torch.manual_seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    again = itm.create("scan", direction="t2i").fit(data, seed=0, **SHORT)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after
    assert again.path != scan.path
    assert again.path.read_bytes() == scan.path.read_bytes()
    assert same_ranks(itm.evaluate(again), itm.evaluate(scan))
    other = itm.create("scan", direction="t2i").fit(data, seed=1, **SHORT)
    assert other.path.read_bytes() != scan.path.read_bytes()


def test_a_recorded_run_is_not_trained_again(folder, data):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/model.safetensors")}
    itm.create("scan", direction="t2i").fit(data, seed=0, results=folder, **SHORT)
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/model.safetensors")}


def test_scores_become_the_run_that_the_command_adds(folder, data, scan, tmp_path):
    scores = np.random.default_rng(0).normal(size=(40, 200)).astype(np.float32)
    scores += 3 * (np.arange(40)[:, None] == data.split("test").caption_image)
    np.save(tmp_path / "x.npy", scores)
    settings = [w for key, value in {"max_objects": 3, **SMALL}.items() for w in ("--set", f"{key}={value}")]
    command(
        "add",
        str(tmp_path / "x.npy"),
        "--dataset",
        "scenes",
        *settings,
        "--name",
        "mine",
        "--results",
        str(tmp_path / "r"),
    )
    (added,) = RunStore(tmp_path / "r").records()
    mine = itm.evaluate(scores=torch.from_numpy(scores), dataset=data, name="mine")
    assert mine.run_id == added.run_id
    assert mine.metrics == added.metrics
    assert same_ranks(mine, itm.evaluate(scores=scores, dataset=data, name="mine", results=tmp_path / "s"))
    assert [record.run_id for record in RunStore(tmp_path / "s").records()] == [added.run_id]


def test_a_model_scores_other_data(data, scan):
    assert same_ranks(
        itm.evaluate(scores=scan.scores(data), dataset=data, protocols=["full"], name="x"), itm.evaluate(scan)
    )
    other = itm.load_dataset("scenes", max_objects=3, **{**SMALL, "test_images": 30})
    found = itm.evaluate(scan, other, protocols=["full"])
    assert (found.name, found.record.origin, len(found.tables["full"].i2t_rank)) == ("scan", "foreign", 30)
    by_scorer = itm.evaluate(scan.scorer, other, protocols=["full"], name="net")
    assert same_ranks(found, by_scorer)


def test_comparisons_are_those_of_the_command(folder):
    (subject,) = read_sources([str(folder)], folder)
    theirs = examine(subject, Request()).comparison
    mine = itm.compare([itm.load_run(record.run_id, folder) for record in RunStore(folder).records()])
    assert mine.examined.comparison.rows == theirs.rows
    assert len(mine.to_frame()) == len(theirs.rows)
    assert mine.plot().axes


def test_names_are_escaped_where_a_notebook_shows_them(data, scan):
    evil = "<img src=x onerror=alert(1)>"
    result = itm.evaluate(scores=scan.scores(data), dataset=data, name=evil)
    for shown in (result, itm.compare([result, scan])):
        html = shown._repr_html_()
        assert "<img" not in html
        assert "&lt;img" in html


def test_frames_hold_every_run_and_query(folder):
    runs, ranks = itm.results_df(folder), itm.ranks_df(folder)
    records = RunStore(folder).records()
    assert runs["run_id"].tolist() == [record.run_id for record in records]
    for column, metric in (
        ("full.t2i_r1_percent", "t2i_r1"),
        ("full.rsum", "rsum"),
        ("full.i2t_medr_rank", "i2t_medr"),
    ):
        assert runs[column].tolist() == [record.metrics["full"][metric] for record in records]
    assert {str(kind) for kind in runs.dtypes} == {"string", "int64", "float64", "datetime64[us, UTC]"}
    counted = ranks.groupby(["run_id", "direction"], observed=True)["rank_from_0"]
    recalls = {key: 100 * float(np.mean(np.asarray(own) < 5)) for key, own in counted}
    for record in records:
        for way in ("i2t", "t2i"):
            assert recalls[record.run_id, way] == pytest.approx(record.metrics["full"][f"{way}_r5"])
    assert not ranks.duplicated(["run_id", "protocol", "direction", "query_id"]).any()


def test_tables_and_tests_of_records_load_no_torch(folder):
    code = (
        "import sys, harness as itm; runs = itm.results_df(sys.argv[1]); itm.ranks_df(sys.argv[1]); "
        "found = [itm.load_run(run, sys.argv[1]) for run in runs.run_id]; print(len(itm.compare(found).to_frame())); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("7\n", "")


REFUSED = {
    "neither": (lambda data, scan: itm.evaluate(), InvalidSpec, "neither"),
    "both": (lambda data, scan: itm.evaluate(scan, data, scores=np.eye(2)), InvalidSpec, "both"),
    "no dataset": (lambda data, scan: itm.evaluate(scores=np.eye(2)), InvalidSpec, "need the dataset"),
    "no name": (lambda data, scan: itm.evaluate(scores=np.eye(2), dataset=data), InvalidSpec, "need a name"),
    "name of a run": (lambda data, scan: itm.evaluate(scan, name="x"), InvalidSpec, "leave out name="),
    "folder of a run": (lambda data, scan: itm.evaluate(scan, data, results="r"), InvalidSpec, "leave out name="),
    "seed of a run": (lambda data, scan: itm.evaluate(scan, seed=3), InvalidSpec, "leave out seed="),
    "shape": (lambda data, scan: itm.evaluate(scores=np.eye(2), dataset=data, name="x"), InvalidSimilarity, "expected (40, 200)"),
    "text": (
        lambda data, scan: itm.evaluate(scores=[["a"]], dataset=data, name="x"), InvalidSimilarity, "matrix of numbers",
    ),
    "not finite": (
        lambda data, scan: itm.evaluate(scores=np.full((40, 200), np.nan), dataset=data, name="x"),
        InvalidSimilarity, "the array of scores holds nan at image 0, caption 0",
    ),
    "scorer": (lambda data, scan: itm.create("scna"), UnknownName, "did you mean 'scan'"),
    "option": (lambda data, scan: itm.create("scan", directon="t2i"), InvalidSpec, "directon"),
    "training": (lambda data, scan: itm.fit("scan", data, epoch=1), InvalidSpec, "epochs"),
    "seed": (lambda data, scan: itm.fit("scan", data, seed=-1), InvalidSpec, "seed"),
    "dataset": (lambda data, scan: itm.load_dataset("scnes"), UnknownName, "did you mean 'scenes'"),
    "no folder": (lambda data, scan: itm.load_dataset("no/such"), itm.ItmError, "no/such does not exist"),
    "one result": (lambda data, scan: itm.compare([scan]), itm.ItmError, "2 methods"),
    "none": (lambda data, scan: itm.compare([]), InvalidSpec, "two results"),
    "setting": (lambda data, scan: itm.compare([scan, scan], alhpa=1), InvalidSpec, "did you mean 'alpha'"),
    "metric": (lambda data, scan: itm.evaluate(scan)["t2i_r2"], UnknownName, "t2i_r1"),
    "folder": (lambda data, scan: itm.results_df("no/such"), itm.ItmError, "no run below no/such/runs"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(data, scan, case):
    call, kind, said = REFUSED[case]
    with pytest.raises(kind) as refusal:
        call(data, scan)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1000


def test_two_results_of_one_name_are_not_taken_for_one(data, scan):
    scores = scan.scores(data)
    twins = [itm.evaluate(scores=one, dataset=data, name="x") for one in (scores, -scores)]
    with pytest.raises(InvalidSpec, match="two results of one seed"):
        itm.compare([*twins, scan])


def test_results_of_different_data_are_not_compared(data, scan):
    other = itm.load_dataset("scenes", **{**SMALL, "test_images": 30})
    with pytest.raises(InvalidSpec, match="one dataset"):
        itm.compare([scan, itm.evaluate(scan, other, protocols=["full"])])


def test_a_training_that_fails_is_an_error(data, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("out of luck")

    monkeypatch.setattr("harness.runs.cell.fit", broken)
    with pytest.raises(RunFailed, match="out of luck"):
        itm.fit("scan", data, **SHORT)


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_search_ranks_images_as_the_matrix_of_scores_does(scan, data, dtype):
    search, split = scan.search(data, dtype=dtype), data.split("test")
    assert len(search) == len(split.image_ids) == 40
    some = [3, 77, 150]
    found = search([split.captions[caption] for caption in some], k=5)
    scores = scan.scores(data)
    for (_, rows), caption in zip(found.groupby("sentence", sort=False), some, strict=True):
        best = np.argsort(-scores[:, caption], kind="stable")[:5]
        assert rows["image"].tolist() == [split.image_ids[image] for image in best]
        np.testing.assert_allclose(rows["score"], scores[best, caption], atol=1e-5)
        assert rows["rank_from_1"].tolist() == [1, 2, 3, 4, 5]
    assert search(split.captions[3], k=99).shape == (40, 4)


def test_a_sentence_that_says_nothing_to_the_model_is_refused(scan, data):
    search = scan.search(data)
    with pytest.raises(CannotEncode, match="'zzyzx qwrtp' holds no word that the model knows"):
        search(["a red circle", "zzyzx qwrtp"])
    with pytest.raises(CannotEncode, match=r"more than \d+ tokens"):
        search("red " * 500)
    with pytest.raises(InvalidSpec, match="a text with words, got '  '"):
        search("  ")


def test_a_search_that_is_kept_is_read_again(scan, data, tmp_path):
    made = scan.search(data, dtype="int8", path=tmp_path / "gallery")
    read = scan.search(data, path=tmp_path / "gallery")
    assert read("a red circle").equals(made("a red circle"))
    with pytest.raises(InvalidIndex, match="keeps int8, not bfloat16"):
        scan.search(data, dtype="bfloat16", path=tmp_path / "gallery")
    with pytest.raises(InvalidIndex, match="other items than the 10 images"):
        scan.search(data, "val", path=tmp_path / "gallery")
    assert not list(tmp_path.glob(".*"))
