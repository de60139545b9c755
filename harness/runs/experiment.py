"""Experiments: plan the cells, run those that are missing, keep the others.

A failed cell does not stop its neighbours. A cell is claimed while it runs, so several workers, and several commands on
one results folder, on one machine or many, share the work, and each command shows the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.executors.choice import Placement
from harness.executors.crew import new_command
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs import completion, sharing, workers
from harness.runs.cell import run_cell
from harness.runs.devices import check_devices, check_products
from harness.runs.planning import distinct, plan
from harness.runs.telling import Outcome, Teller
from harness.spec import Experiment, RunSpec
from harness.tracking.base import Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.observer import Observer
from harness.training.precision import warn_of_slow_bfloat16
from harness.training.state import Epoch
from harness.training.towers import require_compiler


def run_experiment(
    experiment: Experiment,
    store: RunStore,
    *,
    device: torch.device | str = "cpu",
    tracker: Tracker | None = None,
    observer: Observer | None = None,
    placement: Placement | None = None,
) -> Outcome:
    """Run the cells that have no finished record yet.

    Args:
        experiment: what to run.
        store: where the runs lie.
        device: where to compute.
        tracker: mirror of the records; None = none.
        observer: progress callbacks; None = none.
        placement: where the cells run; None = in this process, one after the other.

    Returns:
        All finished records of the plan, and the failures of this call.

    Raises:
        ItmError: bad input that concerns the whole experiment, before anything runs.
    """
    store.prepare()
    return run_cells(
        plan(experiment),
        store,
        device=device,
        tracker=tracker,
        observer=observer,
        experiment=experiment.name,
        placement=placement,
    )


def run_cells(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    device: torch.device | str = "cpu",
    tracker: Tracker | None = None,
    observer: Observer | None = None,
    experiment: str = "",
    placement: Placement | None = None,
) -> Outcome:
    """Run the given cells that have no finished record yet; as `run_experiment`."""
    specs, device = distinct(specs), torch.device(device)
    tracker, observer = tracker or Tracker(), observer or Observer()
    before = {spec.run_id: sharing.state_of(store, spec.run_id) for spec in specs}
    missing = [spec for spec in specs if before[spec.run_id][0] != "finished"]
    if placement is None or placement.executor == "local":
        check_devices(missing, device)
        if any(spec.training.epochs and spec.training.compile for spec in missing):
            require_compiler()
        check_products(missing, device)
        warn_of_slow_bfloat16([spec.training for spec in missing], device)
    recorded = ((spec, record) for spec in specs if (record := before[spec.run_id][1]) and spec not in missing)
    teller = Teller(specs, missing, recorded, store, tracker, observer)

    observer.began("", "run", len(specs), len(specs) - len(missing))
    completion.report_earlier_ids(store, missing)
    tracker.start_experiment(experiment, {"itm.experiment": experiment})
    try:
        if placement is not None and workers.needs_workers(missing, store, placement):
            workers.run_in_workers(missing, before, store, placement, teller)
        else:
            _run_here(missing, before, store, device, teller)
        for spec in specs:
            record = completion.completed(spec, store, device)
            if record is not None:
                teller.outcome.records.append(record)
                # That of another call too, which perhaps could not reach the tracker; one that it has is not told again.
                mirror_record(tracker, record, store.folder(spec.run_id))
    except BaseException:
        tracker.close("killed")
        raise
    tracker.close()
    return teller.outcome


def _run_here(
    missing: Sequence[RunSpec], before: dict[str, sharing.State], store: RunStore, device: torch.device, teller: Teller
) -> None:
    """Run cells in this process, one after the other, and wait for those of other commands."""
    others = workers.Watch(missing, before, store, new_command(), teller, unseen_are_ours=False)

    def run(spec: RunSpec) -> tuple[RunRecord, int]:
        def epoch(epoch: Epoch) -> None:
            others.poll()
            teller.epoch(spec, epoch)

        others.left.pop(spec.run_id, None)
        ours[spec.run_id] = spec
        teller.started(spec)
        return run_cell(spec, store, device, epoch)

    def waiting(specs: Sequence[RunSpec]) -> None:
        others.wait()
        others.poll()

    ours: dict[str, RunSpec] = {}
    for cell in sharing.share(missing, before, store, run, waiting):
        spec = ours.get(cell.record.run_id) or others.left.pop(cell.record.run_id, None)
        if spec is not None:  # the watch has not told of it yet
            teller.ended(spec, cell.record, cell.code, ours=cell.ours)
