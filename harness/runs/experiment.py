"""Experiments: plan the cells, run those that are missing, keep the others.

A failed cell does not stop its neighbours. A cell is claimed while it runs, so several commands on one results folder,
on one machine or many, share the work, and each of them shows the whole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from harness import protocols
from harness.errors import counted
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs import completion, sharing
from harness.runs.cell import run_cell
from harness.runs.planning import distinct, plan
from harness.spec import Experiment, RunSpec
from harness.tracking.base import Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.observer import Observer
from harness.training.state import Epoch


@dataclass
class Outcome:
    """What became of an experiment.

    Args:
        records: of the cells that are finished, in the order of the plan.
        failures: of the cells that failed in this call.
        exit_code: 0; otherwise that of the failures, where bad input (2) outranks a failed run (1).
    """

    records: list[RunRecord] = field(default_factory=list)
    failures: list[RunRecord] = field(default_factory=list)
    exit_code: int = 0


def run_experiment(
    experiment: Experiment,
    store: RunStore,
    *,
    device: torch.device | str = "cpu",
    tracker: Tracker | None = None,
    observer: Observer | None = None,
) -> Outcome:
    """Run the cells that have no finished record yet.

    Args:
        experiment: what to run.
        store: where the runs lie.
        device: where to compute.
        tracker: mirror of the records; None = none.
        observer: progress callbacks; None = none.

    Returns:
        All finished records of the plan, and the failures of this call.

    Raises:
        ItmError: bad input that concerns the whole experiment, before anything runs.
    """
    store.prepare()
    specs = plan(experiment)
    return run_cells(specs, store, device=device, tracker=tracker, observer=observer, experiment=experiment.name)


def run_cells(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    device: torch.device | str = "cpu",
    tracker: Tracker | None = None,
    observer: Observer | None = None,
    experiment: str = "",
) -> Outcome:
    """Run the given cells that have no finished record yet; as `run_experiment`."""
    specs, device = distinct(specs), torch.device(device)
    tracker, observer = tracker or Tracker(), observer or Observer()
    before = {spec.run_id: sharing.state_of(store, spec.run_id) for spec in specs}
    missing = [spec for spec in specs if before[spec.run_id][0] != "finished"]

    def epoch(epoch: Epoch) -> None:
        observer.stepped(epoch.epoch + 1, f"validation rSum {epoch.validation['rsum']:.1f}")

    def run(spec: RunSpec) -> tuple[RunRecord, int]:
        observer.started(spec.title, spec.training.epochs)
        since = time.perf_counter()
        record, code = run_cell(spec, store, device, epoch)
        observer.ended(_news(record, f"{time.perf_counter() - since:.0f} s"))
        return record, code

    def waiting(specs: Sequence[RunSpec]) -> None:
        names = ", ".join(spec.title for spec in specs[:3]) + (", ..." if len(specs) > 3 else "")
        observer.noted(f"waiting for {counted(len(specs), 'run')} of other commands on this folder: {names}")

    observer.began("", "run", len(specs), len(specs) - len(missing))
    completion.report_earlier_ids(store, missing)
    tracker.start_experiment(experiment, {"itm.experiment": experiment})
    outcome = Outcome()
    try:
        for cell in sharing.share(missing, before, store, run, waiting):
            if cell.ours:
                mirror_record(tracker, cell.record, store.folder(cell.record.run_id))
            else:  # the other command mirrors it
                observer.ended(_news(cell.record, "by another command"))
            if cell.record.status == "failed":
                outcome.failures.append(cell.record)
                outcome.exit_code = max(outcome.exit_code, cell.code)
        for spec in specs:
            record = completion.completed(spec, store, device)
            if record is not None:
                outcome.records.append(record)
                # That of another call too, which perhaps could not reach the tracker; one that it has is not told again.
                mirror_record(tracker, record, store.folder(spec.run_id))
    except BaseException:
        tracker.close("killed")
        raise
    tracker.close()
    return outcome


def _news(record: RunRecord, how: str) -> str:
    result = f"FAILED: {record.error}" if record.status == "failed" else protocols.summary(record.metrics)
    return f"{record.title}: {result} ({how})"
