"""Where a run stands in MLflow: read from the local database of a results folder, which is MLflow's own."""

from __future__ import annotations

import logging
import shlex
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

DATABASE = "mlflow.db"
#: Seconds that reading may take, and steps of SQLite's machine between two looks at the clock. A schema from somebody else
#: may hold views that never end.
_PATIENCE, _STEPS = 2.0, 100_000
_QUERY = """
SELECT own.value, runs.run_uuid, runs.experiment_id, COALESCE(parent.name, '')
FROM tags AS own
JOIN runs ON runs.run_uuid = own.run_uuid AND runs.lifecycle_stage = 'active'
LEFT JOIN tags AS above ON above.run_uuid = own.run_uuid AND above.key = 'mlflow.parentRunId'
LEFT JOIN runs AS parent ON parent.run_uuid = above.value
WHERE own.key = 'itm.run_id'
ORDER BY runs.start_time, runs.run_uuid
"""


@dataclass(frozen=True)
class Mirrored:
    """A run as MLflow has it."""

    mlflow_id: str
    experiment_id: str
    experiment: str  # of the harness, that asked for the run; empty if unknown

    @property
    def place(self) -> str:
        """Its page below the address of an MLflow server."""
        return f"#/experiments/{self.experiment_id}/runs/{self.mlflow_id}"


def mirrored_runs(results: Path) -> dict[str, list[Mirrored]]:
    """The runs of a results folder in its local MLflow database, by the harness's id; empty where it has none.

    The database is only read. One that cannot be read is left to MLflow: it is a mirror, and nothing is lost without it.
    """
    path = (results / DATABASE).resolve()
    if not path.is_file():
        return {}
    found: dict[str, list[Mirrored]] = {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
            end = time.monotonic() + _PATIENCE
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            for run_id, mlflow_id, experiment_id, experiment in connection.execute(_QUERY):
                found.setdefault(str(run_id), []).append(Mirrored(str(mlflow_id), str(experiment_id), str(experiment)))
    except sqlite3.Error as error:
        logger.info("pages of runs name no run of MLflow: %s cannot be read (%s)", path.name, error)
        return {}
    return found


def server_command(results: Path) -> str:
    """The command that shows the local database in a browser, at http://127.0.0.1:5000."""
    return shlex.join(["mlflow", "ui", "--backend-store-uri", f"sqlite:///{(results / DATABASE).as_posix()}"])


def experiments(mirrored: Mapping[str, list[Mirrored]], run_id: str) -> list[str]:
    """The experiments that asked for a run, as far as MLflow knows."""
    return list(dict.fromkeys(one.experiment for one in mirrored.get(run_id, ()) if one.experiment))
