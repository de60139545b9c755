"""Tracking: a mirror of the records that people browse. The files are the source of truth: nothing here may lose a run.

`Tracker` does nothing; `MlflowTracker` writes to MLflow through a client with explicit run ids, never through MLflow's
global "active run". Whatever goes wrong there costs one warning line and a few seconds, and turns the tracker off.
"""

from __future__ import annotations

import json
import logging
import os
import posixpath
import queue
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.files.locks import claim, is_claimed
from harness.files.names import safe_name
from harness.files.owners import this_machine
from harness.spec import sha256_json
from harness.tracking.store import prepare_database

Status = Literal["finished", "failed", "killed"]
Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

MLFLOW_EXPERIMENT = "itm-harness"
#: Makes MLflow's page open on its table of runs instead of on traces.
MLFLOW_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
#: MLflow's own limits on the length of a name and of a parameter, and on the entries of one batch.
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
PARAMS_A_BATCH, METRICS_A_BATCH = 100, 900
#: One attempt of a few seconds, where MLflow would try for minutes, and no talk. What a user has set stays.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: Seconds until an operation counts as stuck (a name server that does not answer, a locked file): over the network, and
#: on the local store, where a first call migrates a new database.
REMOTE_DEADLINE, LOCAL_DEADLINE = 8.0, 120.0
#: Seconds for the last word of an interrupted command.
INTERRUPT_DEADLINE = 0.5
#: Tags of a run: the claim that its owner holds while it lives, and the results folder that it comes from.
SESSION, ROOM = "itm.session", "itm.room"
#: Tag of a run that nobody told to its end.
CUT_OFF = "itm.cut_off"


class Tracker:
    """What can be told to a tracker; this base listens to nothing.

    The order is `start_experiment`, then for each run `start_run`, any number of parameters, metrics and artifacts, and
    `end_run`, then `close`. No method raises.
    """

    def start_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> None:
        """Open the parent under which the runs are kept.

        Args:
            name: of the experiment.
            tags: of the parent; `itm.experiment_hash` says which experiment it is, by default name and tags do.
        """

    def start_run(
        self,
        name: str,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        started: datetime | None = None,
    ) -> bool:
        """Open a run.

        Args:
            name: for people.
            run_id: the harness's id of the run.
            params: its settings, nested as they are.
            tags: labels to search by.
            started: when it began; default now.

        Returns:
            Whether the tracker wants to hear of it: not if it is off, or has that run with the same tags already.
        """
        return False

    def metric(self, key: str, value: float, step: int = 0) -> None:
        """One figure of the open run."""
        self.metrics({key: value}, step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Several figures of the open run at one step."""

    def artifact(self, path: Path) -> None:
        """A file of the open run."""

    def end_run(self, status: Status = "finished", finished: datetime | None = None) -> None:
        """Close the open run.

        Args:
            status: how it ended.
            finished: when; default now.
        """

    def close(self, status: Status = "finished") -> None:
        """Close what is open; the tracker hears nothing more until another experiment is started.

        Args:
            status: of the experiment; "killed" if it was interrupted, which is told within a second or not at all.
        """


def create_tracker(results: str | Path, enabled: bool = True) -> Tracker:
    """The tracker of a results folder.

    Args:
        results: the folder; without `MLFLOW_TRACKING_URI` in the environment its `mlflow.db` is the store.
        enabled: False gives the tracker that does nothing.
    """
    return MlflowTracker(results) if enabled else Tracker()


class MlflowTracker(Tracker):
    """Writes to MLflow: the experiment is a parent run, each cell a run nested in it.

    An experiment that is started again finds its parent by its tag. A run that is there already with the same tags is
    not written twice; one that differs, or that was cut off, is replaced. Commands on one results folder take turns, call
    by call, and what a killed one left running is closed by the next.

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
        self._session = uuid.uuid4().hex  # of this tracker, on all runs that it opens
        self._alive = ExitStack()  # the claim of that name, by which others see that their owner lives
        self._client: Any = None
        self._experiment = ""  # MLflow's id of the experiment that holds all of ours
        self._parent = ""  # MLflow's id of the parent run
        self._known: dict[str, Any] = {}  # runs below the parent by the harness's id
        self._run = ""  # MLflow's id of the open run
        self._waiting: list[tuple[str, float, int, int]] = []  # metrics: key, value, ms since 1970, step
        self._off = False

    def start_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> None:
        self.close()  # one that was left open
        tags = dict(tags or {})
        tags.setdefault("itm.experiment_hash", sha256_json({"name": name, **tags}))
        # apart from what follows, since importing MLflow sets up its logging, and takes long on a busy machine
        self._attempt(self._import, LOCAL_DEADLINE)
        self._attempt(self._connect, LOCAL_DEADLINE)
        self._attempt(lambda: self._open(name, tags))
        self._attempt(self._close_abandoned)

    def start_run(
        self,
        name: str,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        started: datetime | None = None,
    ) -> bool:
        if not self._parent:
            return False
        self._cut_off()
        all_tags = {_legal(k): str(v)[:LONGEST_TAG] for k, v in (tags or {}).items() if str(v)} | {"itm.run_id": run_id}
        self._attempt(lambda: self._begin(name, run_id, _flat(params or {}), all_tags, started))
        return bool(self._run)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        if not self._run:
            return
        now = _ms(None)
        self._waiting += [(_legal(key), float(value), now, step) for key, value in values.items()]
        if len(self._waiting) >= METRICS_A_BATCH:
            self._attempt(lambda: self._flush({}))

    def artifact(self, path: Path) -> None:
        if self._run:
            self._attempt(lambda: self._client.log_artifact(self._run, str(path)))

    def end_run(self, status: Status = "finished", finished: datetime | None = None) -> None:
        if self._run:
            self._attempt(lambda: self._end(status, finished))
        self._run, self._waiting = "", []

    def close(self, status: Status = "finished") -> None:
        if status == "killed":
            self._deadline = self._patience = INTERRUPT_DEADLINE  # the next call closes what we do not get done
        self._cut_off()
        if self._parent:
            self._attempt(lambda: self._client.set_terminated(self._parent, status.upper()))
        self._parent, self._known = "", {}
        self._alive.close()

    def _cut_off(self) -> None:
        """Close a run that was left open, so that it is not taken for one that was told whole."""
        if self._run:
            self._attempt(lambda: self._client.set_tag(self._run, CUT_OFF, "true"))
        self.end_run("killed")

    # What each of them asks of MLflow; `_attempt` runs it.

    def _import(self) -> None:
        import mlflow.tracking  # noqa: F401  here, not above: it takes seconds

    def _connect(self) -> None:
        if self._default:
            prepare_database(self._results / "mlflow.db", self._results / "mlartifacts")

    def _open(self, name: str, tags: dict[str, str]) -> None:
        from mlflow.tracking import MlflowClient

        self._alive.enter_context(claim(self._results, _owner(self._session)))

        self._client = client = MlflowClient(self.uri)
        found = client.get_experiment_by_name(MLFLOW_EXPERIMENT)
        location = (self._results / "mlartifacts").as_uri() if self._default else None  # None: as the server has it
        self._experiment = (
            found.experiment_id
            if found
            else client.create_experiment(MLFLOW_EXPERIMENT, location, tags=MLFLOW_EXPERIMENT_TAGS)
        )
        same = f"tags.`itm.experiment_hash` = '{tags['itm.experiment_hash']}'"
        parents = client.search_runs([self._experiment], same, max_results=1, order_by=["attributes.start_time"])
        if parents:
            parent = parents[0].info.run_id
            client.update_run(parent, status="RUNNING")
            self._known = {run.data.tags.get("itm.run_id", ""): run for run in self._children(parent)}
        else:
            parent = client.create_run(self._experiment, run_name=name, tags=tags).info.run_id
        client.set_tag(parent, SESSION, self._session)
        client.set_tag(parent, ROOM, self._room)
        self._parent = parent

    def _close_abandoned(self) -> None:
        """Close the runs that killed commands on this results folder left open."""
        for run in self._client.search_runs([self._experiment], "attributes.status = 'RUNNING'", max_results=1000):
            ours = self._default or run.data.tags.get(ROOM) == self._room
            if ours and run.info.run_id != self._parent and not self._has_owner(run):
                self._client.set_tag(run.info.run_id, CUT_OFF, "true")
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _has_owner(self, run: Any) -> bool:
        return is_claimed(self._results, _owner(run.data.tags.get(SESSION, "")))

    def _children(self, parent: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _begin(
        self, name: str, run_id: str, params: dict[str, str], tags: dict[str, str], started: datetime | None
    ) -> None:
        there = self._known.get(run_id)
        if there is not None and _is_same(there, tags):
            return
        # Another command may have told of it meanwhile.
        same = f"tags.`itm.run_id` = '{run_id}' and tags.`mlflow.parentRunId` = '{self._parent}'"
        for there in self._client.search_runs([self._experiment], same):
            if _is_same(there, tags):
                self._known[run_id] = there
                return
            if there.info.status == "RUNNING" and self._has_owner(there):
                return  # it is being told at this moment
            self._drop(there)
        run = self._client.create_run(
            self._experiment,
            _ms(started),
            {**tags, "mlflow.parentRunId": self._parent, SESSION: self._session, ROOM: self._room},
            run_name=name,
        )
        self._run = run.info.run_id
        self._flush(params)

    def _drop(self, run: Any) -> None:
        """Delete a run that is told anew; MLflow itself would keep its files."""
        self._client.delete_run(run.info.run_id)
        if self._default:
            shutil.rmtree(self._results / "mlartifacts" / safe_name(run.info.run_id), ignore_errors=True)

    def _flush(self, params: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param

        waiting, self._waiting = self._waiting, []
        batches: Iterator[tuple[list, list]] = zip_longest(
            _chunks(list(params.items()), PARAMS_A_BATCH), _chunks(waiting, METRICS_A_BATCH), fillvalue=[]
        )
        for some_params, some_metrics in batches:
            self._client.log_batch(
                self._run,
                metrics=[Metric(*metric) for metric in some_metrics],
                params=[Param(*param) for param in some_params],
                synchronous=True,
            )

    def _end(self, status: Status, finished: datetime | None) -> None:
        self._flush({})
        self._client.set_terminated(self._run, status.upper(), _ms(finished))
        # so that the same run, told again to this tracker, is known
        run = self._client.get_run(self._run)
        self._known[run.data.tags["itm.run_id"]] = run

    def _attempt(self, call: Callable[[], object], deadline: float | None = None) -> None:
        """Run a call; on any failure say so once and be silent from then on."""
        if self._off:
            return
        try:
            with _considerate(), claim(self._results, "mlflow", self._patience) as ours:
                if not ours:
                    raise TimeoutError(f"another command has been writing for {self._patience:g} s")
                _within(deadline or self._deadline, call)
        except Exception as error:  # whatever it is, the run's own files are complete
            self._off, self._parent, self._run, self._waiting = True, "", "", []
            self._alive.close()
            if self._patience == INTERRUPT_DEADLINE:
                return
            logger.warning(
                "MLflow at %s failed and is left alone from here on; the results are complete without it: %s",
                _without_password(self.uri),
                _without_password(f"{type(error).__name__}: {' '.join(str(error).split()):.200}"),
            )


def _is_same(run: Any, tags: Mapping[str, str]) -> bool:
    """Whether a run was told whole, with the same tags."""
    whole = run.info.status != "RUNNING" and CUT_OFF not in run.data.tags
    return whole and tags.items() <= run.data.tags.items()


def _owner(session: str) -> str:
    """What a tracker claims while an experiment of its is open."""
    return f"mlflow-session-{session}"


@contextmanager
def _considerate() -> Iterator[None]:
    """MLflow with `SETTINGS` and without its news of database migrations, for the time of a call."""
    missing = [key for key in SETTINGS if key not in os.environ]
    talkers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [talker.level for talker in talkers]
    os.environ.update({key: SETTINGS[key] for key in missing})
    for talker in talkers:
        talker.setLevel(logging.ERROR)  # of a failure we tell ourselves
    try:
        yield
    finally:
        for key in missing:
            os.environ.pop(key, None)
        for talker, level in zip(talkers, levels, strict=True):
            if talker.level == logging.ERROR:  # else MLflow was imported meanwhile and chose its own
                talker.setLevel(level)


def _within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """The answer of a call, or a `TimeoutError`; the call is then left behind in its thread.

    The time limits of HTTP requests do not cover everything that can hang: name resolution, cloud storage, file locks.
    """
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, name="itm-tracking", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer


def _without_password(text: str) -> str:
    """The text with `user:password@` taken out of addresses."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as texts by `key.key`; a list is written as JSON, a long text is cut."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            found[_legal(f"{prefix}{key}")] = text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 1] + "…"
    return found


def _legal(key: str) -> str:
    """A name that MLflow accepts: its characters only, no path that leads elsewhere, not too long."""
    legal = posixpath.normpath(re.sub(r"[^\w.\-/ ]", "_", key)).lstrip("./") or "_"
    return legal[:LONGEST_KEY]


def _chunks(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _ms(moment: datetime | None) -> int:
    """Milliseconds since 1970, of now by default."""
    return int((moment.timestamp() if moment else time.time()) * 1000)
