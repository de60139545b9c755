"""Sharing a plan's cells among the commands on one results folder: each cell is run once, by whoever claims it first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import InvalidRecord
from harness.files.writing import remove_leftovers, set_aside
from harness.machine.interruptions import stop_if_asked
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.agreement import check_agreement
from harness.spec import RunSpec

#: Seconds between two looks at cells that other commands are running.
WAIT_SECONDS = 0.5
#: `finished` or `failed` with the record, else `missing` or `damaged`.
State = tuple[str, RunRecord | None]


@dataclass(frozen=True)
class Ended:
    """A cell that came to its end.

    Args:
        record: finished or failed.
        code: the exit code that it asks for.
        ours: whether this command ran it.
    """

    record: RunRecord
    code: int
    ours: bool


def share(
    missing: Sequence[RunSpec],
    before: Mapping[str, State],
    store: RunStore,
    run: Callable[[RunSpec], tuple[RunRecord, int]],
    waiting: Callable[[Sequence[RunSpec]], None] | None,
) -> Iterator[Ended]:
    """Run what no other command is running, wait for the rest, and take over what a dead one left.

    Args:
        missing: the cells.
        before: the state of each when this command started. One that failed since is not tried again.
        store: where they lie.
        run: runs a cell that is claimed; returns its record and exit code.
        waiting: called twice a second with the remaining cells while other commands run all of them; None = leave them
            to the others then.
    """
    left = list(missing)
    while left:
        busy = []
        for spec in left:
            with store.claim(spec.run_id, wait=0) as ours:
                ended = _run_claimed(spec, before[spec.run_id], store, run) if ours else None
            if ended is None:
                busy.append(spec)
            else:
                yield ended
        if len(busy) == len(left):
            if waiting is None:
                return
            waiting(busy)
            time.sleep(WAIT_SECONDS)
            stop_if_asked()
        left = busy


def state_of(store: RunStore, run_id: str) -> State:
    """How a cell stands, its rank file included."""
    record, damage = _inspected(store, run_id)
    if damage:
        return "damaged", None
    return ("missing", None) if record is None or record.status == "running" else (record.status, record)


def _inspected(store: RunStore, run_id: str) -> tuple[RunRecord | None, dict[str, object]]:
    """A record, and what is wrong with which files of its run."""
    try:
        record = store.read(run_id)
    except InvalidRecord as error:
        return None, {"record.json": error}
    try:
        if record is not None and record.status == "finished":
            check_agreement(record, store.ranks_of(record))
    except InvalidRecord as error:
        return None, {"ranks.npz": error, "record.json": "its ranks cannot be trusted; the run is done again"}
    return record, {}


def _run_claimed(
    spec: RunSpec, before: State, store: RunStore, run: Callable[[RunSpec], tuple[RunRecord, int]]
) -> Ended:
    state, record = now = state_of(store, spec.run_id)
    if record is not None and (state == "finished" or now != before):
        return Ended(record, int(state == "failed"), ours=False)
    folder = store.folder(spec.run_id)
    for name, reason in _inspected(store, spec.run_id)[1].items():
        set_aside(folder / name, reason)
    remove_leftovers(folder, alone=True)
    return Ended(*run(spec), ours=True)
