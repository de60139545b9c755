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
from harness.runs.pace import Pace
from harness.runs.planning import distinct, plan
from harness.settings.values import flatten
from harness.spec import Experiment, RunSpec
from harness.tracking.base import Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.observer import Observer, Step
from harness.training.state import Epoch

#: In which runs of one title may differ; settings whose values say what they are; how many differences are told.
_PARTS = ("image", "text", "config", "training")
_NAMES = ("image.architecture", "image.model", "image.pretrained", "image.name", "text.model", "text.name")
_MOST_TOLD = 2


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
    by_id, titles = {spec.run_id: spec for spec in specs}, distinct_titles(specs)
    missing = [spec for spec in specs if before[spec.run_id][0] != "finished"]

    recorded = ((spec, record) for spec in specs if (record := before[spec.run_id][1]) and spec not in missing)
    pace = Pace(missing, recorded)

    def run(spec: RunSpec) -> tuple[RunRecord, int]:
        def epoch(epoch: Epoch) -> None:
            pace.epoch(epoch.epoch + 1, epoch.seconds)
            observer.stepped(titles[spec.run_id], _step(epoch, spec, pace))

        observer.started(titles[spec.run_id], spec.training.epochs)
        pace.start(spec)
        since = time.perf_counter()
        record, code = run_cell(spec, store, device, epoch)
        seconds = time.perf_counter() - since
        pace.end(spec, seconds if record.status == "finished" else None)
        observer.ended(_news(titles[spec.run_id], record, f"{seconds:.0f} s"), pace.all_left())
        return record, code

    def waiting(specs: Sequence[RunSpec]) -> None:
        names = ", ".join(titles[spec.run_id] for spec in specs[:3]) + (", ..." if len(specs) > 3 else "")
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
                pace.end(by_id[cell.record.run_id])
                title = titles[cell.record.run_id]
                observer.ended(_news(title, cell.record, "by another command"), pace.all_left())
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


def distinct_titles(specs: Sequence[RunSpec]) -> dict[str, str]:
    """What each run is called, by its id: its title, and where runs share one, the settings in which they differ."""
    same: dict[str, list[RunSpec]] = {}
    for spec in specs:
        same.setdefault(spec.title, []).append(spec)
    return {spec.run_id: _title(spec, same[spec.title]) for spec in specs}


def _title(spec: RunSpec, namesakes: Sequence[RunSpec]) -> str:
    settings = [flatten(one.model_dump(mode="json", include=set(_PARTS))) for one in namesakes]
    own = settings[namesakes.index(spec)]
    differing = [key for key in own if any(other.get(key) != own[key] for other in settings)]
    names = [str(own[key]) for key in _NAMES if key in differing and own[key]]
    others = [f"{key}={own[key]}" for key in differing if key not in _NAMES]
    told = ", ".join((names or others)[:_MOST_TOLD])
    return f"{spec.title} ({told})" if told else spec.title


def _step(epoch: Epoch, spec: RunSpec, pace: Pace) -> Step:
    """An epoch as an observer is told of it."""
    losses = ", ".join(f"{name} {value:.4g}" for name, value in epoch.losses.items())
    reached = f"rSum {epoch.validation['rsum']:.1f}"
    return Step(
        number=epoch.epoch + 1,
        steps=spec.training.epochs,
        text=f"loss {losses}, validation {reached}",
        short=reached,
        seconds=epoch.seconds,
        left=pace.run_left(),
        all_left=pace.all_left(),
    )


def _news(title: str, record: RunRecord, how: str) -> str:
    result = f"FAILED: {record.error}" if record.status == "failed" else protocols.summary(record.metrics)
    return f"{title}: {result} ({how})"
