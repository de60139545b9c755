"""`itm sweep` from outside: two workers, one killed, resumed, in MLflow, on PostgreSQL, and in the leaderboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from harness.cli.main import main
from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.records.study import StudySummary, read_summary
from harness.spec import load_experiment
from harness.sweeps.plan import draft_study, with_data
from harness.sweeps.storage import open_storage
from harness.sweeps.study import open_study


@pytest.fixture
def itm(capsys, monkeypatch, tmp_path):
    """Run `itm ARGUMENTS` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("ITM_RESULTS", str(tmp_path / "results"))

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(strict_yaml.dump({**tiny, "scorers": ["scan", "chan"]}))
    return path


def study_of(tmp_path: Path, name: str = "tiny.chan") -> StudySummary:
    summary = read_summary(tmp_path / "results" / "sweeps" / name)
    assert summary is not None
    return summary


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def command(experiment: Path, tmp_path: Path, *more: object) -> list[str]:
    start = [sys.executable, "-m", "harness.cli.main", "sweep", experiment, "--scorer", "chan", "--no-mlflow"]
    return [str(part) for part in [*start, "--results", tmp_path / "results", *more]]


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


def test_a_worker_that_is_killed_and_settings_that_end_their_workers(experiment, tmp_path):
    """Of two workers one is killed: its trial resumes in the other. Settings that crash three workers are given up."""
    plugin = tmp_path / "fatal.py"
    plugin.write_text(FATAL)
    space = (
        "sweep={replace: true, sampler: GridSampler, space: {image.width: [8, 16], text.width: {tied: image.width}}}"
    )
    arguments = [str(part) for part in [
        sys.executable, "-m", "harness.cli.main", "sweep", experiment, "--scorer", "fatal", "--plugin", plugin,
        "--trials", 2, "--workers", 2, "--no-mlflow", "--results", tmp_path / "results", "--set", space,
    ]]  # fmt: skip
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
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
        from harness import registry

        registry._plugins.pop("broken", None)
        sys.modules.pop("itm_plugin_broken", None)
    assert code == 1
    assert "none of the 2 trials" in one_line(err)
    assert "ZeroDivisionError: by design" in one_line(err)
    assert study_of(tmp_path, "tiny.broken").count("failed") == 2


@pytest.fixture
def postgresql(tmp_path_factory):
    """The URL of a PostgreSQL server of its own, on a free port, as an unprivileged user."""
    pytest.importorskip("psycopg", reason="the driver is missing: pip install 'itm-harness[postgresql]'")
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    user = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if not shutil.which("runuser"):
            pytest.skip("PostgreSQL does not run as root, and runuser is missing")
        user = ["runuser", "-u", "nobody", "--"]
    folder = Path("/tmp") / f"itm-postgresql-{os.getpid()}"  # a path that another user can reach
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if user:
        shutil.chown(folder, "nobody")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, log = str(folder / "data"), str(folder / "log")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"

    def run(*arguments: str) -> None:
        subprocess.run([*user, *arguments], check=True, capture_output=True, cwd=folder, timeout=120)

    try:
        run("initdb", "-D", data, "-U", "itm", "--auth=trust", "--no-sync")
        run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        yield f"postgresql+psycopg://itm@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*user, "pg_ctl", "-D", data, "-m", "immediate", "stop"], capture_output=True, check=False, cwd="/"
        )
        shutil.rmtree(folder, ignore_errors=True)


def test_two_commands_share_a_study_on_postgresql(experiment, tmp_path, postgresql):
    """As on two machines: two processes that know nothing of each other but the storage."""
    machines = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        arguments = command(experiment, folder, "--trials", 4, "--storage", postgresql)
        machines.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
    for process in machines:
        _, err = process.communicate(timeout=150)
        assert process.returncode == 0, err
    one, two = (study_of(tmp_path / name) for name in ("one", "two"))
    assert one.budget.trials == two.budget.trials == 4
    assert [trial.model_dump() for trial in one.trials] == [trial.model_dump() for trial in two.trials]
    study = optuna.load_study(study_name="tiny.chan", storage=open_storage(postgresql))
    assert len({trial.user_attrs["worker"]["pid"] for trial in study.get_trials()}) == 2
    assert sum(trial.source == "default" for trial in one.trials) == 1
