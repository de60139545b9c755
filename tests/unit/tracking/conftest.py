"""Results folders with a migrated database, and the files of a run."""

import logging
import os
import shutil

import pytest

from harness.tracking import mirror as mirroring
from harness.tracking import store as tracking_store
from harness.tracking.tracker import MlflowTracker


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory, migrating):
    """A migrated database without runs, made once because that takes seconds; and what MLflow said meanwhile."""
    results = tmp_path_factory.mktemp("store")
    heard = []

    class Ear(logging.Handler):
        def emit(self, log):
            heard.append(log.getMessage())

    ear = Ear()
    loggers = [logging.getLogger("mlflow"), logging.getLogger("alembic")]
    before = dict(os.environ)
    tracker = MlflowTracker(results)
    for talker in loggers:
        talker.addHandler(ear)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tracking_store, "_create", migrating)
            tracker._attempt(lambda: tracking_store.prepare_database(results / "mlflow.db", results / "mlartifacts"))
        tracker._attempt(lambda: _touch(tracker.uri))
    finally:
        for talker in loggers:
            talker.removeHandler(ear)
    assert dict(os.environ) == before
    return results / "mlflow.db", heard


def _touch(uri):
    from mlflow.tracking import MlflowClient

    MlflowClient(uri).search_experiments()


@pytest.fixture
def results(empty_store, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store[0], tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def folder(results):
    """The files of a run."""
    folder = results / "runs" / "0"
    folder.mkdir(parents=True)
    for name in mirroring.ARTIFACTS:
        (folder / name).write_bytes(name.encode() * 10)
    (folder / "model.safetensors").write_bytes(b"large")
    return folder
