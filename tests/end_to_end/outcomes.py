"""What a command leaves behind: all that must be the same, whoever was killed on the way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from forks import Fork

from harness.records.store import RunStore


def finish(process: Fork) -> str:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert "MLflow at" not in text, text
    return text


def state(results: Path) -> dict[str, object]:
    """All that must not depend on kills: numbers, ranks, first items and weights of each run."""
    store = RunStore(results)
    return {
        record.run_id: (
            json.dumps([record.metrics, record.validation, record.status], sort_keys=True),
            (store.folder(record.run_id) / "ranks.npz").read_bytes(),
            (store.folder(record.run_id) / "top.npz").read_bytes(),
            (store.folder(record.run_id) / "model.safetensors").read_bytes(),
        )
        for record in store.records()
    }


def files(results: Path) -> set[str]:
    """Names of all files but the mirror's copies."""
    return {
        path.relative_to(results).as_posix()
        for path in results.rglob("*")
        if path.is_file() and "mlartifacts" not in path.parts
    }


def mirrored(results: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(results / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return sorted(connection.execute("SELECT name, status FROM runs WHERE lifecycle_stage = 'active'").fetchall())
