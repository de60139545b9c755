"""No failure of the mirror in MLflow costs a run, or time."""

import re
import shutil
import socket
import sqlite3
import threading
from contextlib import closing

import pytest
from mirrored import Store, mirror, record, warnings_of

from harness.records.parts import Epoch, Training
from harness.tracking import guard
from harness.tracking import store as tracking_store
from harness.tracking import tracker as tracking
from harness.tracking.mirror import mirror_record
from harness.tracking.tracker import MlflowTracker, create_tracker

# Failures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def silent_server():
    """Accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def closed_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def attempts(monkeypatch):
    """The calls of MLflow that are begun: one that fails is the last."""
    begun, within = [], tracking.within
    monkeypatch.setattr(tracking, "within", lambda seconds, call: (begun.append(seconds), within(seconds, call)))
    return begun


#: The import of MLflow, then what fails: preparing the local database, or opening the experiment on a server.
SECOND = 2


def expect_one_failure(results, folder, caplog, attempts, last):
    mirror(results, folder, *[record(seed) for seed in range(20)])
    assert len(attempts) == last, "nothing is tried after a failure"
    (warning,) = warnings_of(caplog)
    assert "the results are complete without it" in warning
    assert "\n" not in warning
    return warning


def test_a_server_that_is_down(results, folder, monkeypatch, caplog, attempts):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{closed_port()}")
    warning = expect_one_failure(results, folder, caplog, attempts, SECOND)
    assert "127.0.0.1" in warning
    assert "secret" not in warning


def test_a_server_that_never_answers(results, folder, monkeypatch, caplog, attempts, silent_server):
    monkeypatch.setitem(guard.SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    warning = expect_one_failure(results, folder, caplog, attempts, SECOND)
    assert "no answer within" not in warning, "MLflow's own time limit ends it, before that of the tracker"


def test_what_no_request_timeout_covers(results, folder, monkeypatch, caplog):
    """A name server or a cloud store that hangs."""
    released = threading.Event()
    tracker = MlflowTracker(results, "http://somewhere.invalid")
    tracker._deadline = 0.2
    monkeypatch.setattr(tracker, "_open", lambda name, tags: released.wait(30))
    tracker.start_experiment("e")
    mirror_record(tracker, record(), folder)
    assert not released.is_set(), "what hangs is left behind"
    released.set()
    assert "no answer within 0.2 s" in warnings_of(caplog)[0]


def test_a_results_folder_that_cannot_hold_the_store(tmp_path, monkeypatch, caplog, attempts):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "file").write_text("not a folder")
    expect_one_failure(tmp_path / "file", tmp_path, caplog, attempts, 0)


# The database -------------------------------------------------------------------------------------------------------


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "no database": (lambda path: path.write_bytes(b"no database " * 1000), "not a database"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "cut in half": (half, "malformed|page"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "it is no file"),
    "no version": (lambda path: sql(path, "DELETE FROM alembic_version"), "first migration was cut off"),
    "no tables": (lambda path: sql(path, "DROP TABLE runs"), "lacks the tables runs"),
    "a migration cut off": (
        # of an early version by its own word, with tables of a late one
        lambda path: sql(path, "UPDATE alembic_version SET version_num = '451aebb31d03'"),
        "migration from version 451aebb31d03 was cut off",
    ),
}


@pytest.mark.parametrize(("break_it", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_database_is_kept_aside_and_the_mirror_made_again(
    results, folder, empty_store, monkeypatch, caplog, break_it, reason
):
    monkeypatch.setattr(tracking_store, "_create", lambda path, artifacts: shutil.copy(empty_store[0], path))
    break_it(results / "mlflow.db")
    (results / "mlflow.db-journal").write_bytes(b"of the broken one")
    mirror(results, folder, record(0))
    lines = [log.getMessage() for log in caplog.records]
    assert len(lines) == 2, lines
    assert re.search(f"mlflow.db is damaged and is kept as mlflow.db.damaged: .*({reason})", lines[0])
    assert "made again from the records" in lines[1]
    assert [run.data.tags["seed"] for run in Store(results).children()] == ["0"]
    assert sorted(path.name for path in results.glob(".*")) == []


def test_a_database_of_a_later_mlflow_is_left_as_it_is(results, folder, caplog, attempts):
    sql(results / "mlflow.db", "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = (results / "mlflow.db").read_bytes()
    expect_one_failure(results, folder, caplog, attempts, SECOND)
    assert (results / "mlflow.db").read_bytes() == before


def test_a_first_migration_that_is_cut_off_leaves_no_database(tmp_path, folder, monkeypatch, caplog, attempts):
    def cut_off(path, artifacts):
        sql(path, "CREATE TABLE half (x)")
        raise OSError(28, "No space left on device")

    (tmp_path / "mlflow.db").unlink()
    monkeypatch.setattr(tracking_store, "_create", cut_off)
    expect_one_failure(tmp_path, folder, caplog, attempts, SECOND)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_a_record_that_is_odd_inside_costs_only_its_own_mirror(results, folder, caplog):
    odd = record(0).model_copy(update={"training": Training(history=(Epoch.model_construct(epoch="lost"),))})
    mirror(results, folder, odd, record(1))
    (warning,) = warnings_of(caplog)
    assert f"run {0:016x} is not mirrored" in warning
    assert [(run.data.tags["seed"], run.info.status) for run in Store(results).children()] == [("1", "FINISHED")]


@pytest.mark.parametrize("method", ["create_run", "log_batch", "log_artifact", "set_terminated"])
def test_a_store_that_fails_in_the_middle(results, folder, monkeypatch, caplog, method):
    tracker = create_tracker(results)
    tracker.start_experiment("e")
    calls = []

    def fail(*args, **kwargs):
        calls.append(method)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._client, method, fail)
    for seed in range(3):
        mirror_record(tracker, record(seed), folder)
    tracker.close()
    assert calls == [method], "it is not tried again"
    (warning,) = warnings_of(caplog)
    assert "No space left on device" in warning
