"""What `itm sweep` refuses: one line, before any data are read, and nothing is begun."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sweeping import one_line, two_scorers

from harness.spec import load_experiment
from harness.sweeps.plan import draft_study, with_data
from harness.sweeps.study import open_study


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    return two_scorers(tiny, tmp_path)


def setting(text: str) -> list[str]:
    return ["--set", f"sweep.{text}"]


BAD = [
    (setting("space={training.learnin_rate: [1]}"), "did you mean 'training.learning_rate'"),
    (setting("space={nonsense: [1]}"), "unknown setting 'nonsense'"),
    (setting("space=[1]"), "should be a valid dictionary"),
    (setting("replace=true"), "at least one setting must vary"),
    (setting("space={training.learning_rate: {low: 2, high: 1}}"), "is empty"),
    (setting("space={training.learning_rate: {low: .nan, high: 1}}"), "finite"),
    (setting("space={training.learning_rate: {low: 1, high: .inf}}"), "finite"),
    (setting("space={training.learning_rate: {low: 0, high: 1, log: true}}"), "must begin above 0"),
    (setting("space={training.learning_rate: {low: .1, high: 1, log: true, step: .1}}"), "not both"),
    (setting("space={training.learning_rate: {low: .1, high: .2, log: false, step: -1}}"), "greater than 0"),
    (setting("space={training.batch_size: {low: 1.5, high: 3}}"), "whole number"),
    (setting("space={training.batch_size: []}"), "no choices are given"),
    (setting("space={image.width: {low: 8, high: 1.0e30}}"), "less than 9007199254740992"),
    (setting("scorers.chan={config.pooling: [lse, medium]}"), "'medium' conflicts with the config"),
    (setting("scorers={nobody: {}}"), "unknown scorer entry in sweep.scorers 'nobody'"),
    (setting("sampler={name: TPESampler, n_startup_trials: abc}"), "check their options"),
    (setting("sampler={name: TPESampler, gamma: 3}"), "check their options"),
    (setting("sampler={name: NSGAIISampler, population_size: abc}"), "sampler NSGAIISampler"),
    (setting("sampler=GridSampler"), "range without a step"),
    (setting("sampler=BruteForceSampler"), "range without a step"),
    (
        [
            "--set",
            "sweep={sampler: GridSampler, replace: true, space: {training.margin: {low: .1, high: 1, step: 1.0e-9}}}",
        ],
        "more than 100,000",
    ),
    (setting("pruner={name: HyperbandPruner, reduction_factor: 0}"), "check their options"),
    (setting("pruner={name: PatientPruner, patience: 1, wrapped_pruner: [1]}"), "wrapped_pruner must be"),
    (setting("sampler_seed=99999999999999999999"), "less than 4294967296"),
    (setting("seeds=2"), "has 1 seeds"),
    (setting("at_most={latency: .nan}"), "not a finite number"),
    (setting("foo=1"), "unknown key 'sweep.foo'"),
    (["--objective", "speed"], "unknown objective 'speed'"),
    (["--at-most", "latency"], "--at-most takes COST=VALUE"),
    (["--at-most", "latency=inf"], "finite number"),
    (["--sampler", "TPE"], "unknown sampler of Optuna 'TPE'"),
    (["--pruner", "x"], "unknown pruner of Optuna 'x'"),
    (["--scorer", "scam"], "unknown scorer 'scam'"),
    (["--trials", "0"], "--trials"),
    (["--trials", "-1"], "--trials"),
    (["--trials", "9999999999999"], "--trials"),
    (["--workers", "100000"], "--workers"),
    (["--grace", "nan"], "nan is not a finite number"),
    (["--grace", "inf"], "--grace"),
    (["--study", "../../x"], "is a path"),
    (["--study", ".hidden"], "is a path"),
    (["--study", "x" * 300], "300 characters"),
    (["--study", "a\x1b[31m"], "cannot be printed"),
    (["--study", ""], "is empty"),
    (["--storage", ""], "cannot use the storage"),
    (["--storage", "sqlite:////proc/nowhere/a.db"], "cannot use the storage"),
    (["--storage", "sqlite:///:memory:"], "every trial would be lost"),
    (["--storage", "sqlite://"], "every trial would be lost"),
    (["--storage", "journal:"], "no path is given"),
    (["--storage", "sqlite:///{folder}/mlflow.db"], "the database of another program (tables runs)"),
    (["--storage", "sqlite:///{folder}/later.db"], "no longer compatible with the table schema"),
    (["--storage", "sqlite:///{folder}/cut.db"], "malformed"),
    (["--storage", "journal:{folder}/damaged.log"], "cannot use the storage"),
    (["--storage", "journal:{folder}"], "Is a directory"),
]


@pytest.fixture(scope="module")
def storages(tmp_path_factory) -> Path:
    """Storages that cannot be used: another program's, another version's, a truncated one, a damaged journal."""
    folder = tmp_path_factory.mktemp("storages")
    for name, change in {
        "mlflow.db": "CREATE TABLE runs (id INTEGER)",
        "later.db": "UPDATE alembic_version SET version_num = 'v99'",
    }.items():
        if name == "later.db":
            optuna.storages.RDBStorage(f"sqlite:///{folder}/{name}")
        with closing(sqlite3.connect(folder / name)) as database, database:
            database.execute(change)
    (folder / "cut.db").write_bytes((folder / "later.db").read_bytes()[:9000])
    (folder / "damaged.log").write_text('{"op_code": 77, "worker_id": 1}\n')
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments)[:60] for arguments, _ in BAD])
def test_bad_input_is_one_line_and_exit_2_before_any_data_are_read(
    itm, experiment, arguments, message, monkeypatch, tmp_path, storages
):
    monkeypatch.setattr("harness.datasets.scenes.dataset.Scenes.split", lambda *_: pytest.fail("data were read"))
    arguments = [argument.replace("{folder}", str(storages)) for argument in arguments]
    code, _, err = itm("sweep", experiment, "--scorer", "chan", "--trials", 2, "--no-mlflow", *arguments)
    assert code == 2, err
    assert message in one_line(err)
    assert len(err.splitlines()) == 1
    assert not list((tmp_path / "results").glob("sweeps/*/study.json"))


def test_tuned_without_a_sweep_says_what_to_run(itm, experiment):
    code, _, err = itm("leaderboard", experiment, "--tuned", "--no-mlflow")
    assert code == 2
    assert "--tuned needs a sweep of each scorer" in one_line(err)
    assert "itm sweep EXP --scorer scan --trials 20" in one_line(err)


def test_a_study_that_was_begun_with_other_settings_is_refused_before_any_data_are_read(
    itm, experiment, monkeypatch, tmp_path
):
    started = ["sweep", experiment, "--scorer", "chan", "--trials", 1, "--no-mlflow"]
    open_study(with_data(draft_study(load_experiment(experiment), "chan", tmp_path / "results")))
    monkeypatch.setattr("harness.datasets.scenes.dataset.Scenes.split", lambda *_: pytest.fail("data were read"))
    code, _, err = itm(*started, "--set", "sweep.space={training.batch_size: [32]}")
    assert code == 2
    assert "was begun with space.training.batch_size.choices" in one_line(err)
