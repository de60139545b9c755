"""`itm profile` from outside: what it measures, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.runs.ensemble import record_ensemble
from harness.runs.experiment import run_experiment
from harness.spec import load_experiment

QUICK = (
    "--seconds",
    "120",
    "--rounds",
    "2",
    "--samples",
    "4",
    "--galleries",
    "15,40",
    "--gallery",
    "40",
    "--no-mlflow",
)


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    scorers = [{"name": "chan", "training": {"epochs": 1}}, {"name": "vsepp", "training": {"epochs": 1}}]
    path.write_text(strict_yaml.dump({**tiny, "scorers": scorers, "seeds": 2}))
    return path


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def test_a_profile_trains_the_first_seed_measures_and_reports(itm, experiment, tmp_path):
    code, out, err = itm("profile", experiment, *QUICK, "--budget", "latency<=10s")
    assert code == 0, err
    assert "2 runs: 0 already recorded, 2 to run" in err  # the first of the two seeds
    answer = " ".join(out.split())  # on a busy machine the honest answer is that nothing is known
    assert "Within latency <= 10,000 ms" in answer or "satisfies latency <= 10,000 ms is unknown" in answer
    folder = tmp_path / "results" / "profiles" / "tiny"
    points = pd.read_csv(folder / "profile.csv").set_index("label")
    assert {
        "chan",
        "chan bf16",
        "chan int8 index",
        "chan int8, exact",
        "chan 1/2 patches",
        "chan 1/2 words",
        "vsepp",
    } <= set(points.index)
    assert "vsepp 1/2 patches" not in points.index  # one vector: nothing to prune
    assert points.loc["cascade(vsepp, chan, all)", "rsum"] == points.loc["chan", "rsum"]
    assert points.loc["chan bf16", "index_bytes_per_image"] < 0.6 * points.loc["chan", "index_bytes_per_image"]
    assert points.loc["chan int8 index", "index_bytes_per_image"] < points.loc["chan bf16", "index_bytes_per_image"]
    assert points.loc["chan 1/2 patches", "pair_kflops"] < 0.7 * points.loc["chan", "pair_kflops"]

    (path,) = folder.glob("*/profile.json")
    record = json.loads(path.read_text())
    base = next(point for point in record["points"] if point["key"] == "chan")
    assert {"training step", "offline", "score pairs", "query t2i 15", "query t2i 40", "query i2t 40"} <= set(
        base["scenarios"]
    )
    assert set(base["scenarios"]["query t2i 40"]["parts"]) == {"encode", "search"}
    assert set(base["index_build_ms"]) == {"t2i 15", "t2i 40", "i2t 15", "i2t 40"}
    assert points.loc["chan int8, exact", "rsum"] == pytest.approx(points.loc["chan", "rsum"])
    assert base["metrics"]["rsum"] == pytest.approx(recorded_rsum(tmp_path / "results", "chan"))


def recorded_rsum(results: Path, scorer: str) -> float:
    return next(r.metrics["full"]["rsum"] for r in RunStore(results).records() if r.scorer == scorer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "nowhere"), "unknown experiment 'nowhere'"),
        (("profile", "quickstart", "--budget", "latncy<=2ms"), "did you mean 'latency'"),
        (("profile", "quickstart", "--galleries", "1k"), "whole numbers"),
        (("profile", "quickstart", "--galleries", "1"), "at least 2"),
        (("profile", "quickstart", "--cascade", "clip"), "COARSE,FINE"),
        (("profile", "quickstart", "--cascade", "a,b", "--no-cascades"), "exclude each other"),
        (("profile", "quickstart", "--rounds", "1"), "--rounds"),
        (("profile", "quickstart", "--report-only", "--no-mlflow"), "no profile below"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(itm, arguments, message):
    code, _, err = itm(*arguments)
    assert code == 2
    assert message in one_line(err)


def test_a_folder_without_runs_and_a_cascade_that_cannot_be(itm, experiment, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = itm("profile", tmp_path / "empty")
    assert (code, "no finished run" in one_line(err)) == (2, True)
    for pair, message in [("vsep,chan", "did you mean 'vsepp'"), ("chan,vsepp", "one vector per item")]:
        code, _, err = itm("profile", experiment, *QUICK, "--cascade", pair)
        assert code == 2
        assert message in one_line(err)


def test_a_results_folder_is_profiled_as_it_is_and_mirrored_to_mlflow(itm, tiny, tmp_path):
    import mlflow

    results = tmp_path / "results"
    outcome = run_experiment(load_experiment({**tiny, "scorers": ["vsepp"], "seeds": [3, 5]}), RunStore(results))
    code, _, err = itm("profile", results, *(part for part in QUICK if part != "--no-mlflow"))
    assert code == 0, err
    points = pd.read_csv(results / "profiles" / "all-scenes-test-full" / "profile.csv").set_index("label")
    assert list(points.index) == ["vsepp", "vsepp bf16", "vsepp int8 index", "vsepp int8, exact"]
    assert points.loc["vsepp", "run_ids"] == outcome.records[0].run_id  # the lowest seed
    client = mlflow.MlflowClient(f"sqlite:///{results / 'mlflow.db'}")
    (found,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = {run.info.run_name: run for run in client.search_runs([found.experiment_id])}
    assert runs["vsepp"].data.metrics["profile/t2i_ms"] == pytest.approx(points.loc["vsepp", "t2i_ms"])
    names = {artifact.path for artifact in client.list_artifacts(runs["report"].info.run_id)}
    assert {"profile.html", "profile.csv", "profile-pareto-latency.svg"} <= names


def test_an_ensemble_of_a_results_folder_has_no_model_and_is_left_out(itm, tiny, tmp_path):
    path, results = tmp_path / "tiny.yaml", tmp_path / "results"
    keep = {"evaluation": {"save_scores": True}}
    path.write_text(strict_yaml.dump({**tiny, **keep, "scorers": ["chan", "vsepp"], "seeds": 1}))
    outcome = run_experiment(load_experiment(path), RunStore(results))
    record_ensemble(RunStore(results), [record.run_id for record in outcome.records])
    code, _, err = itm("profile", results, *QUICK, "--seconds", "3", "--no-cascades")
    assert code == 0, err
    (table,) = results.glob("profiles/*/profile.csv")
    assert set(pd.read_csv(table)["label"].str.split().str[0]) == {"chan", "vsepp"}
