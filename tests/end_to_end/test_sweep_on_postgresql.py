"""`itm sweep` on a PostgreSQL server: two commands that know nothing of each other share a study."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import optuna
import pytest
from sweeping import command, study_of, two_scorers

from harness.sweeps.storage import open_storage


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    return two_scorers(tiny, tmp_path)


@pytest.fixture
def postgresql(tmp_path_factory):
    """The URL of a PostgreSQL server of its own, on a free port, as an unprivileged user."""
    pytest.importorskip("psycopg", reason="the driver is missing: pip install -e '.[postgresql]'")
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
