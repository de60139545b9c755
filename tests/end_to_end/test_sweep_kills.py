"""A sweep that is killed, wherever that is: it ends like one that never was.

Each call of the command is a fork of its own (`forks.py`), which is killed (SIGKILL) at a named point.
`ITM_KILLS=30` adds as many kills at moments drawn from all at which something changes on the disk, with MLflow.
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import yaml

from harness.records.study import StudySummary, read_summary
from harness.sweeps.storage import open_storage

TRIALS = 4
#: Where the command is killed: the function, the number of its call, and whether before or after it.
POINTS = {
    "study begun, first trial queued": ("optuna.study.Study.enqueue_trial", 1, "after"),
    "trial begun, without a worker": ("optuna.study.Study.ask", 1, "after"),
    "in the middle of an epoch": ("harness.training.steps.Steps.run_step", 3, "before"),
    "half of a checkpoint written": ("torch.save", 1, "after"),
    "epoch kept, not reported": ("harness.training.checkpoint.Checkpoint.save", 1, "after"),
    "trial measured, not told": ("optuna.study.Study.tell", 1, "before"),
    "trial told, its files still there": ("optuna.study.Study.tell", 1, "after"),
    "between two settings": ("optuna.trial.Trial.suggest_categorical", 1, "before"),
    "all trials ended": ("harness.sweeps.run.write_summary", 1, "before"),
}


@pytest.fixture(scope="module")
def calls(forks, tmp_path_factory):
    """Call the command in a process of its own: `calls(results, point=..., moment=...)` gives its exit code."""
    folder = tmp_path_factory.mktemp("kills")
    experiment = folder / "tiny.yaml"
    experiment.write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "dataset": {
                    "name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32,
                },
                "seeds": 1,
                "image": {"name": "regions", "width": 16},
                "text": {"name": "bigru", "width": 16},
                "training": {"epochs": 4, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
                "evaluation": {"cost_repeats": 3},
                "scorers": ["chan"],
                "sweep": {
                    "sampler": {"name": "TPESampler", "n_startup_trials": 2},
                    "pruner": {"name": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1},
                },
            }
        )
    )  # fmt: skip

    def call(results: Path, *more: object, trials: int = TRIALS, point: tuple = (), moment: tuple = ()) -> int:
        before = [("moments", name, *how) for name, how in (("kill_around", point), ("kill_at", moment)) if how]
        arguments = ["sweep", experiment, "--scorer", "chan", "--trials", trials, "--results", results, *more]
        process = forks.start(*arguments, log=results.parent / "log", before=before)
        process.communicate()
        return process.returncode

    return call


def study_of(results: Path) -> StudySummary:
    summary = read_summary(results / "sweeps" / "tiny.chan")
    assert summary is not None
    return summary


def what_counts(results: Path) -> dict:
    """All of a study that does not depend on the clock."""
    summary = study_of(results).model_dump(
        mode="json", exclude={"storage": True, "trials": {"__all__": {"cost", "seconds", "started", "finished"}}}
    )
    summary["best_entry"]["tuning"]["budget"].pop("seconds")
    # A training too short for the system's clock ticks cannot tell how busy the machine was; its last sitting may be.
    costs = [sorted({*trial.cost.figures} - {"train_other_cpu_percent"}) for trial in study_of(results).trials]
    return {**summary, "costs": costs}


def optuna_trials(results: Path) -> list:
    study = optuna.load_study(study_name="tiny.chan", storage=open_storage(f"sqlite:///{results}/sweeps/optuna.db"))
    return [(t.number, t.state.name, t.params, t.values, t.intermediate_values) for t in study.get_trials()]


def files(results: Path) -> list[str]:
    found = sorted(str(path.relative_to(results)) for path in results.rglob("*") if path.is_file())
    return [path for path in found if not path.startswith("mlruns")]


def mirrored(results: Path) -> list:
    with closing(sqlite3.connect(results / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        runs = "SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY name"
        return database.execute(runs).fetchall()


def check_same(results: Path, undisturbed: Path) -> None:
    assert what_counts(results) == what_counts(undisturbed)
    assert optuna_trials(results) == optuna_trials(undisturbed)
    assert files(results) == files(undisturbed)
    assert all(
        trial.seconds > 0 and trial.cost.figures for trial in study_of(results).trials if trial.state == "complete"
    )


@pytest.fixture(scope="module")
def undisturbed(calls, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    assert calls(results, "--no-mlflow") == 0
    return results


def test_a_sweep_that_is_killed_at_every_point_ends_like_one_that_never_was(calls, undisturbed, tmp_path):
    results = tmp_path / "results"
    for name, point in POINTS.items():
        assert calls(results, "--no-mlflow", point=point) == -9, (
            f"not killed at: {name}\n{(tmp_path / 'log').read_text()}"
        )
    assert calls(results, "--no-mlflow") == 0, (tmp_path / "log").read_text()
    check_same(results, undisturbed)


@pytest.mark.skipif("ITM_KILLS" not in os.environ, reason="takes minutes; set ITM_KILLS=30")
def test_a_sweep_that_is_killed_at_random_ends_like_one_that_never_was(calls, tmp_path):
    trials, kills, draw = 8, int(os.environ.get("ITM_KILLS", "30")), random.Random(0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed, results = tmp_path / "a" / "results", tmp_path / "b" / "results"
    assert calls(undisturbed, trials=trials, moment=(-1, str(undisturbed))) == 0
    moments = int((tmp_path / "a" / "log").read_text().rpartition("moments: ")[2])
    done = 0
    while done < kills:
        # a quarter of them, so that a call gets some of its work done and leaves some to the next
        code = calls(results, trials=trials, moment=(draw.randint(1, moments // 4), str(results)))
        assert code in (-9, 0), (tmp_path / "b" / "log").read_text()
        if code == 0 and (results / "sweeps" / "tiny.chan" / "study.json").is_file():
            break
        done += 1
    print(f"{done} kills")
    assert calls(results, trials=trials) == 0, (tmp_path / "b" / "log").read_text()
    check_same(results, undisturbed)
    assert mirrored(results) == mirrored(undisturbed)
