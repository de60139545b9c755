"""The tracker that writes to MLflow, through a client with explicit run ids, never through MLflow's global "active run".

The files are the source of truth: nothing here may lose a run. Whatever goes wrong costs one warning line and a few
seconds, and turns the tracker off; the next command tells what is missing.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import posixpath
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import one_line
from harness.files import extras
from harness.files.locks import claim, is_claimed
from harness.files.names import safe_name
from harness.files.owners import this_machine
from harness.settings.values import flatten
from harness.spec import sha256_json
from harness.tracking.base import Status, TrackedRun, Tracker
from harness.tracking.guard import considerate, within, without_password
from harness.tracking.store import prepare_database

logger = logging.getLogger(__name__)

MLFLOW_EXPERIMENT = "itm-harness"
#: Makes MLflow's page open on its table of runs instead of on traces.
MLFLOW_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
#: MLflow's own limit on the length of a name. Long values it cuts itself.
LONGEST_KEY = 250
#: Seconds until an operation counts as stuck (a name server that does not answer, a locked file): over the network, and
#: on the local store, where a first call migrates a new database.
REMOTE_DEADLINE, LOCAL_DEADLINE = 30.0, 120.0
#: Seconds for the last word of an interrupted command.
INTERRUPT_DEADLINE = 0.5
#: Tags: the claim that the owner of an experiment holds while it lives, and the results folder that a run comes from.
SESSION, ROOM = "itm.session", "itm.room"
PARENT = "mlflow.parentRunId"


def create_tracker(results: str | Path, enabled: bool = True) -> Tracker:
    """The tracker of a results folder: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the folder; no-op if not enabled.

    Without MLflow it is a no-op too, which one line says.

    Raises:
        MissingPackage: `MLFLOW_TRACKING_URI` asks for MLflow, which is not installed.
    """
    if not enabled:
        return Tracker()
    if extras.is_installed("mlflow"):
        return MlflowTracker(results)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        raise extras.missing("mlflow", "MLFLOW_TRACKING_URI")
    _say_missing()
    return Tracker()


@functools.cache
def _say_missing() -> None:
    """Once per process; the records are complete without their mirror."""
    logger.info(
        "MLflow is not installed, so the runs are not mirrored to it; to have the mirror, run in the clone: %s",
        extras.install_extra("mlflow"),
    )


class MlflowTracker(Tracker):
    """Writes to MLflow: the experiment is a parent run, each cell a run nested in it.

    An experiment that is started again finds its parent by its tag. Commands on one results folder take turns, call by
    call, so a nested run that is still open when it is a command's turn was left half-told by a killed one.

    Args:
        results: the results folder; holds the SQLite store and the artifacts unless a server is named.
        uri: where to track; default `MLFLOW_TRACKING_URI`, else `mlflow.db` in the results folder.
    """

    def __init__(self, results: str | Path, uri: str | None = None):
        self._results = Path(results).resolve()
        named = uri or os.environ.get("MLFLOW_TRACKING_URI")
        self.uri = named or f"sqlite:///{(self._results / 'mlflow.db').as_posix()}"
        self._default = not named
        self._room = sha256_json([this_machine(), str(self._results)])[:12]
        self._patience = LOCAL_DEADLINE  # seconds to wait for our turn
        self._deadline = LOCAL_DEADLINE if self.uri.startswith(("sqlite:", "file:")) else REMOTE_DEADLINE
        self._alive = ExitStack()  # holds the claim by which others see that the owner of our parent run lives
        self._client: Any = None
        self._experiment = ""  # MLflow's id of the experiment that holds all of ours
        self._parent = ""  # MLflow's id of the parent run
        self._known: dict[str, Mapping[str, str]] = {}  # tags of the runs below the parent by the harness's id
        self._off = False

    def start_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> None:
        self.close()  # one that was left open
        tags = dict(tags or {})
        tags.setdefault("itm.experiment_hash", sha256_json({"name": name, **tags}))
        # apart from what follows, since importing MLflow sets up its logging, and takes long on a busy machine
        self._attempt(_import_mlflow, LOCAL_DEADLINE)
        if self._default:
            folder = self._results
            self._attempt(lambda: prepare_database(folder / "mlflow.db", folder / "mlartifacts"), LOCAL_DEADLINE)
        self._attempt(lambda: self._open(name, tags))

    def tell(self, run: TrackedRun) -> None:
        if self._parent:
            self._attempt(lambda: self._write(run))

    def close(self, status: Status = "finished") -> None:
        if status == "killed":
            self._deadline = self._patience = INTERRUPT_DEADLINE  # the next call closes what we do not get done
        if self._parent:
            self._attempt(lambda: self._client.set_terminated(self._parent, status.upper()))
        self._parent, self._known = "", {}
        self._alive.close()

    # What each of them asks of MLflow; `_attempt` runs it.

    def _open(self, name: str, tags: dict[str, str]) -> None:
        from mlflow.tracking import MlflowClient

        session = uuid.uuid4().hex
        self._alive.enter_context(claim(self._results, _owner(session)))
        self._client = client = MlflowClient(self.uri)
        found = client.get_experiment_by_name(MLFLOW_EXPERIMENT)
        location = (self._results / "mlartifacts").as_uri() if self._default else None  # None: as the server has it
        self._experiment = (
            found.experiment_id
            if found
            else client.create_experiment(MLFLOW_EXPERIMENT, location, tags=MLFLOW_EXPERIMENT_TAGS)
        )
        parent = next(self._runs(f"tags.`itm.experiment_hash` = '{tags['itm.experiment_hash']}'"), None)
        if parent is None:
            parent = client.create_run(self._experiment, run_name=name, tags=tags)
        client.update_run(parent.info.run_id, status="RUNNING")
        client.set_tag(parent.info.run_id, SESSION, session)
        client.set_tag(parent.info.run_id, ROOM, self._room)
        self._remove_abandoned()
        self._parent = parent.info.run_id
        self._known = {
            run.data.tags.get("itm.run_id", ""): run.data.tags
            for run in self._runs(f"tags.`{PARENT}` = '{self._parent}'")
            if run.info.status != "RUNNING"
        }

    def _runs(self, condition: str) -> Iterator[Any]:
        """Every run that meets a condition, oldest first."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, order_by=["attributes.start_time"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _remove_abandoned(self) -> None:
        """Remove the runs that killed commands on this results folder left half-told, and close their parents."""
        for run in list(self._runs("attributes.status = 'RUNNING'")):
            if not self._default and run.data.tags.get(ROOM) != self._room:
                continue
            if PARENT in run.data.tags:
                self._remove(run)
            elif not is_claimed(self._results, _owner(run.data.tags.get(SESSION, ""))):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _remove(self, run: Any) -> None:
        self._client.delete_run(run.info.run_id)
        if self._default:  # MLflow itself would keep its files
            shutil.rmtree(self._results / "mlartifacts" / safe_name(run.info.run_id), ignore_errors=True)

    def _write(self, run: TrackedRun) -> None:
        from mlflow.entities import Metric, Param

        tags = {_legal(key): str(value) for key, value in run.tags.items() if str(value)} | {"itm.run_id": run.run_id}
        if self._has(run.run_id, tags):
            return
        all_tags = {**tags, PARENT: self._parent, ROOM: self._room}
        mlflow_id = self._client.create_run(self._experiment, _ms(run.started), all_tags, run.name).info.run_id
        self._client.log_batch(
            mlflow_id,
            metrics=[
                Metric(_legal(key), float(value), _ms(None), step)
                for step, values in run.metrics.items()
                for key, value in flatten(values, "/").items()
                if isinstance(value, (int, float)) and not isinstance(value, bool)
            ],
            params=[Param(_legal(key), _text(value)) for key, value in flatten(run.params).items()],
        )
        for path in run.artifacts:
            self._client.log_artifact(mlflow_id, str(path))
        self._client.set_terminated(mlflow_id, run.status.upper(), _ms(run.finished))
        self._known[run.run_id] = tags

    def _has(self, run_id: str, tags: Mapping[str, str]) -> bool:
        """Whether a run is stored with these tags, perhaps by another command; its copies with other tags are removed."""
        if run_id in self._known and tags.items() <= self._known[run_id].items():
            return True
        for there in list(self._runs(f"tags.`itm.run_id` = '{run_id}' and tags.`{PARENT}` = '{self._parent}'")):
            if there.info.status != "RUNNING" and tags.items() <= there.data.tags.items():
                return True
            self._remove(there)
        return False

    def _attempt(self, call: Callable[[], object], deadline: float | None = None) -> None:
        """Run a call; on any failure say so once and be silent from then on."""
        if self._off:
            return
        try:
            with considerate(), claim(self._results, "mlflow", self._patience) as ours:
                if not ours:
                    raise TimeoutError(f"another command has been writing for {self._patience:g} s")
                within(deadline or self._deadline, call)
        except Exception as error:  # whatever it is, the run's own files are complete
            self._off, self._parent = True, ""
            self._alive.close()
            if self._patience != INTERRUPT_DEADLINE:
                logger.warning(
                    "MLflow at %s failed and is left alone from here on; the results are complete without it: %s",
                    without_password(self.uri),
                    without_password(f"{type(error).__name__}: {one_line(error)}"),
                )


def _import_mlflow() -> None:
    import mlflow.tracking  # noqa: F401  here, not above: it takes seconds


def _owner(session: str) -> str:
    """What a tracker claims while an experiment of its is open."""
    return f"mlflow-session-{session}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _legal(key: str) -> str:
    """A name that MLflow accepts: its characters only, no path that leads elsewhere, not too long."""
    legal = posixpath.normpath(re.sub(r"[^\w.\-/ ]", "_", key)).lstrip("./") or "_"
    return legal[:LONGEST_KEY]


def _ms(moment: datetime | None) -> int:
    """Milliseconds since 1970, of now by default."""
    return int((moment.timestamp() if moment else time.time()) * 1000)
