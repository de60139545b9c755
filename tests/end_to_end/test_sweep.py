"""`itm sweep` from outside: two workers, one killed, resumed, in MLflow, on PostgreSQL, and in the leaderboard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sweeping import one_line, study_of, two_scorers

from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.records.study import StudySummary
from harness.spec import load_experiment
from harness.sweeps.storage import open_storage


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    return two_scorers(tiny, tmp_path)


def test_a_sweep_its_report_its_mirror_and_the_tuned_leaderboard(itm, experiment, tmp_path):
    code, _, err = itm("sweep", experiment, "--scorer", "chan", "--trials", 3)
    assert code == 0, err
    assert "3 trials: 0 already recorded, 3 to run" in err
    folder = tmp_path / "results" / "sweeps" / "tiny.chan"
    files = {path.name for path in folder.iterdir()}
    assert {"study.json", "best.yaml", "sweep.md", "sweep.html", "sweep.json", "sweep-history.svg"} <= files
    summary = study_of(tmp_path)
    assert summary.budget.trials == 3
    assert summary.trials[0].source == "default"

    # Resumed: --trials is a total.
    code, _, err = itm("sweep", experiment, "--scorer", "chan", "--trials", 3)
    assert "3 trials: 3 already recorded, 0 to run" in err
    code, _, err = itm("sweep", experiment, "--scorer", "chan", "--trials", 4)
    assert (code, study_of(tmp_path).budget.trials) == (0, 4)

    _check_mirror(tmp_path, study_of(tmp_path))
    _check_best_is_ready(experiment, folder, tmp_path)

    # The other scorer is not tuned, then tuned less, then equally.
    code, _, err = itm("leaderboard", experiment, "--tuned", "--no-mlflow")
    assert code == 2
    assert "scan 0 trials, chan 4 trials" in one_line(err)
    assert itm("sweep", experiment, "--scorer", "scan", "--trials", 2, "--no-mlflow")[0] == 0
    code, _, err = itm("leaderboard", experiment, "--tuned", "--no-mlflow")
    assert code == 2
    assert "scan 2 trials (" in one_line(err)
    assert "--allow-unequal-tuning" in one_line(err)
    assert not list((tmp_path / "results" / "runs").glob("[!.]*"))
    code, _, err = itm("leaderboard", experiment, "--tuned", "--allow-unequal-tuning", "--no-mlflow")
    assert code == 0, err
    assert itm("sweep", experiment, "--scorer", "scan", "--trials", 4, "--no-mlflow")[0] == 0
    code, _, err = itm("leaderboard", experiment, "--tuned", "--no-mlflow")
    assert code == 0, err
    board = json.loads((tmp_path / "results" / "leaderboards" / "tiny-tuned" / "leaderboard.json").read_text())
    methods = board["data"]["boards"][0]["methods"]
    assert {method["scorer"]: method["tuning_trials"] for method in methods} == {"scan": 4, "chan": 4}
    records = {r.scorer: r for r in RunStore(tmp_path / "results").records() if r.run_id in board["data"]["run_ids"]}
    for name, record in records.items():
        study = study_of(tmp_path, f"tiny.{name}")
        assert record.tuning.budget == study.budget
        best = study.trial(study.best_trial)
        assert record.spec["training"]["learning_rate"] == best.params["training.learning_rate"]
        # Same settings, same seed, same data: what the sweep saw on the validation split is what the run sees.
        assert record.validation["rsum"] == pytest.approx(best.rsum)

    # An experiment that changed since the sweep is not quietly given its settings.
    code, _, err = itm("leaderboard", experiment, "--tuned", "--set", "text.width=8", "--set", "image.width=8")
    assert code == 2
    assert "tuned another version of entry 'scan'" in one_line(err)


def _check_mirror(tmp_path: Path, summary: StudySummary) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}")
    (found,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([found.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["trial"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert parent.data.tags["itm.study"] == "tiny.chan"
    assert sorted(children) == ["0", "1", "2", "3"]  # three calls of the command, and each trial once
    for trial in summary.trials:
        run = children[str(trial.number)]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["state"] == trial.state
        assert run.data.metrics["validation/rsum"] == pytest.approx(trial.rsum)
        assert run.data.metrics["training/steps"] == trial.steps
        assert float(run.data.params["sampled.training.learning_rate"]) == trial.params["training.learning_rate"]
        curve = client.get_metric_history(run.info.run_id, "epoch/seed0/validation/rsum")
        assert [point.value for point in curve] == trial.curves[0]


def _check_best_is_ready(experiment: Path, folder: Path, tmp_path: Path) -> None:
    """best.yaml, put into an experiment file, is the best trial's configuration."""
    values = strict_yaml.parse(experiment.read_text(), "text") | strict_yaml.parse(
        (folder / "best.yaml").read_text(), "text"
    )
    (entry,) = load_experiment(values).scorers
    best = study_of(tmp_path).trial(study_of(tmp_path).best_trial)
    for path, value in best.params.items():
        part, _, name = path.partition(".")
        assert getattr(entry, part)[name] == value
    assert entry.tuning["trials"] == 4


FATAL = """
import os, signal
from pathlib import Path
from harness.scorer import Scorer

class Fatal(Scorer):
    def score(self, images, texts):
        try:
            Path(__file__).with_name("killed").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)  # as a user would, once
        if images.features.shape[-1] == 16:
            os.kill(os.getpid(), signal.SIGSEGV)
        return images.features.mean(1) @ texts.features.mean(1).T
"""


def test_a_worker_that_is_killed_and_settings_that_end_their_workers(forks, experiment, tmp_path):
    """Of two workers one is killed: its trial resumes in the other. Settings that crash three workers are given up."""
    plugin = tmp_path / "fatal.py"
    plugin.write_text(FATAL)
    space = (
        "sweep={replace: true, sampler: GridSampler, space: {image.width: [8, 16], text.width: {tied: image.width}}}"
    )
    ended = forks.start(
        "sweep", experiment, "--scorer", "fatal", "--plugin", plugin, "--trials", 2, "--workers", 2, "--no-mlflow",
        "--results", tmp_path / "results", "--set", space, log=tmp_path / "log",
    )  # fmt: skip
    text, _ = ended.communicate(timeout=300)
    assert ended.returncode == 0, text
    assert (tmp_path / "killed").exists()
    study = optuna.load_study(
        study_name="tiny.fatal", storage=open_storage(f"sqlite:///{tmp_path}/results/sweeps/optuna.db")
    )
    whole, fatal = sorted(study.get_trials(), key=lambda trial: trial.params["image.width"])
    assert whole.state == TrialState.COMPLETE
    assert whole.user_attrs.get("deaths", []) == []
    assert fatal.state == TrialState.FAIL
    assert fatal.user_attrs["error"] == "these settings ended their worker 3 times: invalid memory access (SIGSEGV)"
    assert study_of(tmp_path, "tiny.fatal").budget.trials == 2
    assert {path.name for path in (tmp_path / "results" / "sweeps").iterdir()} == {"optuna.db", "tiny.fatal"}
    assert not list((tmp_path / "results" / "sweeps" / "tiny.fatal").glob(".*"))


def test_two_objectives_with_a_pareto_figure(itm, experiment, tmp_path):
    settings = ["sweep.replace=true", "sweep.space={image.width: [8, 16, 24], text.width: {tied: image.width}}"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    code, _, err = itm(
        "sweep", experiment, "--scorer", "chan", "--trials", 4, "--objective", "rsum,params", "--sampler", "NSGAIISampler",
        "--at-most", "memory=100000", "--study", "front", "--storage", f"journal:{tmp_path}/shared.log", "--no-mlflow",
        *arguments,
    )  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "results" / "sweeps" / "front"
    assert (folder / "sweep-pareto-params-millions.svg").is_file()
    assert "Pareto" in (folder / "sweep.md").read_text()
    assert not (tmp_path / "results" / "sweeps" / "optuna.db").exists()
    summary = study_of(tmp_path, "front")
    front = [(summary.trial(n).values["rsum"], summary.trial(n).values["params_millions"]) for n in summary.pareto]
    for rsum, size in front:
        assert not any(r >= rsum and s <= size and (r, s) != (rsum, size) for r, s in front)


def test_all_trials_failing_is_one_line_and_exit_1(itm, experiment, tmp_path):
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "from harness.scorer import Scorer\n"
        "class Broken(Scorer):\n"
        "    def score(self, images, texts): raise ZeroDivisionError('by design')\n"
    )
    try:
        code, _, err = itm(
            "sweep", experiment, "--scorer", "broken", "--plugin", plugin, "--trials", 2, "--no-mlflow", "--storage",
            f"journal:{tmp_path}/log",
        )  # fmt: skip
    finally:
        from harness.plugins.registered import registered

        registered.pop(("scorer", "broken"), None)
        sys.modules.pop("itm_plugin_broken", None)
    assert code == 1
    assert "none of the 2 trials" in one_line(err)
    assert "ZeroDivisionError: by design" in one_line(err)
    assert study_of(tmp_path, "tiny.broken").count("failed") == 2
