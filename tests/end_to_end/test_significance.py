"""`itm significance` from outside: what it writes and prints, and every refusal as one line and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document import figures
from harness.reports.statistics.hits import METRICS, image_columns
from harness.reports.statistics.runs import MethodRuns
from tests.studies.calibration import HUBS
from tests.studies.simulation import World

SEEDS = 3


def record(store: RunStore, runs: MethodRuns, seed: int, *, dataset: str = "scenes") -> str:
    """Write one seed of a made-up method as a run of the harness."""
    run_id = f"{runs.name}-{dataset}-{seed}".replace(" ", "")
    image_ids, owner = runs.image_ids, runs.caption_image
    first = np.searchsorted(owner, np.arange(len(image_ids)))
    table = RankTable(
        i2t_rank=runs.i2t_ranks[seed].astype(int),
        i2t_ties=np.zeros(len(image_ids), dtype=int),
        i2t_image_id=image_ids,
        i2t_caption_id=runs.caption_ids[first],
        t2i_rank=runs.t2i_ranks[seed].astype(int),
        t2i_ties=np.zeros(len(owner), dtype=int),
        t2i_caption_id=runs.caption_ids,
        t2i_image_id=image_ids[owner],
        i2t_fold=np.zeros(len(image_ids), dtype=int),
        t2i_fold=np.zeros(len(owner), dtype=int),
    )
    scores = image_columns([runs], METRICS).seed_scores[0][seed]
    store.write_ranks(run_id, {"full": table})
    store.write(
        RunRecord(
            run_id=run_id,
            scorer=runs.name,
            backbone="regions+bigru",
            dataset=dataset,
            protocols=("full",),
            seed=seed,
            metrics={"full": dict(zip(METRICS, scores.tolist(), strict=True))},
            data_sha256=dataset[0] * 64,
            spec={"scorer": runs.name, "seed": seed},
            status="finished",
            started="2026-01-01T00:00:00+00:00",
        )
    )
    return run_id


def world(store: RunStore, *, seeds: int = SEEDS, dataset: str = "scenes", **settings) -> list[str]:
    """Methods with a known truth: the first is worse when `offset` is positive, the others are equal."""
    drawn = World(**{"images": 200, "captions": 2, "methods": 3, "seeds": seeds, "offset": 0.5, **settings})
    methods = drawn.draw(np.random.default_rng(1))
    return [record(store, runs, seed, dataset=dataset) for runs in methods for seed in range(seeds)]


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "results")


@pytest.fixture
def significance(itm):
    """Run `itm significance ARGUMENTS`: (exit code, stdout, stderr)."""
    return lambda *arguments: itm("significance", *arguments)


def refusal(answer: tuple[int, str, str]) -> str:
    """The one line of a refusal."""
    code, out, err = answer
    assert code == 2, out + err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("itm: error: ")
    return line


def test_a_results_folder_becomes_a_report(significance, store):
    world(store)
    code, out, err = significance(store.results)
    assert code == 0, err
    assert out.index("beats method 0 by") < out.index("Corrected p")
    folder = store.results / "significance" / "scenes-full"
    stem = {path.suffix for path in folder.glob("significance.*")}
    assert stem == {".md", ".html", ".csv", ".json", ".tex"}
    data = json.loads((folder / "significance.json").read_text())["data"]
    assert data["settings"]["claim"] == "method"
    truth = World(images=200, methods=3, offset=0.5)
    for pair in data["pairs"]:
        if pair["metric"] == "rsum" and "method 0" in (pair["a"], pair["b"]):
            assert pair["significant"]
            gap = truth.true_rsum(1) - truth.true_rsum(0)
            low, high = sorted((pair["simultaneous_low"], pair["simultaneous_high"]))
            assert low < (gap if pair["b"] == "method 0" else -gap) < high
    frame = pd.read_csv(folder / "significance.csv")
    assert len(frame) == 3 * 7
    page = (folder / "significance.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg width=") == 3


def test_options_reach_the_comparison(significance, store, tmp_path):
    ids = world(store)
    code, _, err = significance(
        *ids, "--pairs", "method 1:method 2", "--metric", "t2i_r1", "--metric", "i2t_r5", "--claim", "checkpoint",
        "--equivalence", "30", "--equivalence", "i2t_r5=40", "--alpha", "0.1", "--correction", "maxt",
        "--resamples", "499", "--seed", "7", "--out", tmp_path / "here",
    )  # fmt: skip
    assert code == 0, err
    data = json.loads((tmp_path / "here" / "significance.json").read_text())["data"]
    settings = {key: data["settings"][key] for key in ("claim", "alpha", "resamples", "seed", "metrics")}
    assert settings == {
        "claim": "checkpoint", "alpha": 0.1, "resamples": 499, "seed": 7, "metrics": ["t2i_r1", "i2t_r5"]
    }  # fmt: skip
    assert [(p["correction"], p["equivalence_delta"]) for p in data["pairs"]] == [("maxt", 30.0), ("maxt", 40.0)]
    assert {frozenset((p["a"], p["b"])) for p in data["pairs"]} == {frozenset(("method 1", "method 2"))}


def keep_scores(store: RunStore, world, draw: int = 0) -> list[Path]:
    """Record all methods and seeds of a made-up gallery with their scores, as evaluation.save_scores=true does."""
    matrices = world.similarities(np.random.default_rng(draw))
    paths = []
    for runs, own in zip(world.draw(np.random.default_rng(draw)), matrices, strict=True):
        for seed, scores in enumerate(own):
            paths.append(store.folder(record(store, runs, seed)) / "scores.npy")
            np.save(paths[-1], scores)
    return paths


def test_kept_scores_tell_of_hubs(significance, store):
    """The warning comes with the scores of both methods, and the numbers are the same with and without."""
    paths = keep_scores(store, replace(HUBS, hub_sd=0.2, seeds=2, seed_sd=0.1))
    page = store.results / "significance" / "scenes-full" / "significance.json"
    found = []
    for _ in range(2):
        code, _, err = significance(store.results, "--metric", "rsum")
        assert code == 0, err
        found.append(json.loads(page.read_text())["data"])
        warned = "Some images take so many places from other queries" in page.with_suffix(".md").read_text()
        assert warned == paths[1].is_file()
        paths[1].unlink(missing_ok=True)
    assert found[0]["pairs"] == found[1]["pairs"]


def test_kept_scores_that_are_damaged_or_of_another_protocol(significance, store):
    paths = keep_scores(store, replace(HUBS, hub_sd=0.2))
    scores = np.load(paths[0])
    np.save(paths[0], -scores)  # ranks by other positives or another tie rule do not follow from the scores
    code, _, err = significance(store.results, "--metric", "rsum")
    assert code == 0, err
    assert "Some images take" not in (store.results / "significance/scenes-full/significance.md").read_text()
    paths[0].write_bytes(b"no array")
    assert f"{paths[0]} is a text; expected a NumPy array" in refusal(significance(store.results))


def test_several_datasets_get_a_page_each_and_one_across(significance, store):
    world(store)
    world(store, dataset="flickr8k")
    code, _, err = significance(store.results, "--metric", "rsum")
    assert code == 0, err
    folders = sorted(path.name for path in (store.results / "significance").iterdir())
    assert folders == ["across-datasets", "flickr8k-full", "scenes-full"]
    across = json.loads((store.results / "significance" / "across-datasets" / "significance.json").read_text())
    assert [row["datasets"] for row in across["data"]["win_counts"]] == [2, 2, 2]


def test_a_gallery_that_cannot_be_tested_does_not_take_the_others_along(significance, store):
    world(store)
    world(store, dataset="flickr8k", images=20)
    code, _, err = significance(store.results, "--metric", "rsum")
    assert code == 2
    assert "itm: error: flickr8k test, full: 20 images are too few" in err
    assert (store.results / "significance" / "scenes-full" / "significance.md").is_file()


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"seeds": 1}, ["--claim", "method"], "a claim about methods needs 3 seeds"),
        ({"images": 20}, [], "20 images are too few for a test, at least 30"),
        ({"seeds": 1}, ["--metric", "t2i_r"], "unknown metric 't2i_r'; did you mean"),
        ({"seeds": 1}, ["--reference", "method 9"], "unknown method 'method 9'; did you mean"),
        ({"seeds": 1}, ["--pairs", "method 0:nobody"], "unknown method 'nobody'"),
        ({"seeds": 1}, ["--dataset", "flickr8k"], "unknown dataset 'flickr8k'; valid: scenes"),
        ({"seeds": 1}, ["--protocol", "coco_1k"], "unknown protocol 'coco_1k'; valid: full"),
        ({"seeds": 1}, ["--equivalence", "-3"], "needs a margin in points, got -3.0"),
        ({"seeds": 1}, ["--equivalence", "much"], "must be a number of points or METRIC=POINTS, got 'much'"),
        ({"seeds": 1}, ["--alpha", "2"], "alpha must be a number above 0 and below 0.5"),
        ({"methods": 1}, [], "a comparison needs 2 methods, there is only 'method 0'"),
    ],
)
def test_refusals(significance, store, settings, arguments, message):
    world(store, **settings)
    assert message in refusal(significance(store.results, *arguments))
    assert not (store.results / "significance").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--alpha", "0"), "alpha must be a number above 0 and below 0.5, got 0.0"),
        (("--alpha", "1"), "alpha must be a number above 0 and below 0.5, got 1.0"),
        (("--alpha", "nan"), "alpha must be a number above 0 and below 0.5, got nan"),
        (("--resamples", "0"), "resamples must be a whole number from 1 to 1,000,000, got 0"),
        (("--resamples", "1000000000000"), "resamples must be a whole number from 1 to 1,000,000, got 1000000000000"),
        (("--resamples", "1e12"), "'1e12' is not a valid integer"),
        (("--seed", "-1"), "the seed of the resampling must be a whole number of at least 0, got -1"),
        (("--equivalence", "nan"), "equivalence on rsum needs a margin in points, got nan"),
        (("--equivalence", "-1"), "equivalence on rsum needs a margin in points, got -1.0"),
        (("--equivalence", "5", "--equivalence", "6"), "--equivalence is given twice for the primary metric"),
        (
            ("--equivalence", "5", "--equivalence", "rsum=6"),
            "rsum is the primary metric and has two equivalence margins",
        ),
        (("--metric", "t2i_r" + "9" * 30), "unknown metric"),
        (("--metric", "rsum", "--metric", "rsum"), "each once"),
    ],
)
def test_options_are_refused_before_any_file_is_read(significance, arguments, message):
    assert message in refusal(significance("nowhere", *arguments))


def test_runs_on_other_queries_are_refused(significance, store):
    methods = World(images=60, captions=2, methods=2).draw(np.random.default_rng(0))
    record(store, methods[0], 0)
    (fewer, _) = World(images=59, captions=2, methods=2).draw(np.random.default_rng(0))
    record(store, MethodRuns(**{**vars(fewer), "name": "method 1"}), 0)
    assert "'method 1' lacks image queries 1 (59)" in refusal(significance(store.results))


def test_nan_ranks_are_refused(significance, store, tmp_path):
    world(store, seeds=1)
    rows = []
    for n in range(200):
        rows.append((f"{n}", "i2t", "nan" if n == 7 else 0, f"{n}", "", 0, "theirs"))
        rows += [(f"{2 * n + c}", "t2i", 0, f"{n}", f"{2 * n + c}", 0, "theirs") for c in range(2)]
    columns = ["query_id", "direction", "rank", "image_id", "caption_id", "seed", "method"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "theirs.csv", index=False)
    assert "NaN, infinite or negative for queries 1 (7)" in refusal(
        significance(store.results, tmp_path / "theirs.csv")
    )


def test_published_figures_are_refused_with_the_reason(significance):
    published = Path(__file__).parents[2] / "reports" / "published" / "data" / "published.csv"
    line = refusal(significance(published))
    assert "without per-query ranks: published averages cannot be tested" in line


def test_what_is_no_result_is_refused(significance, tmp_path):
    assert "no file, folder or run 'nothing'" in refusal(significance("nothing"))
    (tmp_path / "empty").mkdir()
    assert "is no results folder" in refusal(significance(tmp_path / "empty"))


def test_the_same_seed_gives_the_same_bytes_on_one_and_two_threads(store, tmp_path, itm, true_type, monkeypatch):
    """In this process, and in one whose environment names another number of threads."""
    world(store)
    for key, value in true_type.items():
        monkeypatch.setitem(figures._STYLE, key, value)
    threads = "1" if os.environ.get("OMP_NUM_THREADS") == "2" else "2"
    # Another hash seed too: no order may come from a set.
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": "12"}
    words = ["significance", str(store.results), "--out"]
    command = [sys.executable, "-m", "harness.cli.main", *words, str(tmp_path / "2")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert itm(*words, tmp_path / "1")[0] == 0
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert "significance-critical-difference.png" in names
    assert names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
