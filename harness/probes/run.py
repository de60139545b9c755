"""Putting probes to runs: here, or in workers that share them out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from harness.errors import counted
from harness.executors.base import Seat, Worker
from harness.executors.choice import Placement
from harness.executors.crew import run_crew
from harness.executors.local import LocalExecutor
from harness.probes.work import Group, Inquiry, groups_of, lacking, weights_of, work
from harness.records.store import RunStore
from harness.runs.workers import seat_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AskJob:
    """What a worker does: it asks what no other one asks, until nothing is left."""

    inquiry: Inquiry

    def __call__(self, seat: Seat) -> int:
        """Ask; failures are told in lines, and counted by the command from what is missing at the end."""
        store = RunStore(self.inquiry.results)
        work(store, groups_of(self.inquiry), seat_device(seat.device), seat.workers)
        return 0


@dataclass(frozen=True)
class Asked:
    """How an inquiry ended.

    Args:
        missing: pairs of a run and a probe without answers, as `label: family/name`.
        without_model: labels of runs that have no saved model.
    """

    missing: tuple[str, ...]
    without_model: tuple[str, ...]


def ask(inquiry: Inquiry, placement: Placement, device: torch.device) -> Asked:
    """Put the probes of an inquiry to its runs; what was answered before is not asked again.

    Args:
        inquiry: what to ask of whom.
        placement: where the work runs.
        device: of this process, for what runs here.

    Raises:
        InvalidRecord: a run is not finished.
        InvalidDataset: the data of a run cannot be read.
        RunFailed: the workers ended before the work did.
    """
    store = RunStore(inquiry.results)
    store.prepare()
    groups = groups_of(inquiry)
    left = _left(groups, store)
    if left:
        executor = placement.create(store)
        seats = executor.seats(placement.workers, placement.device, 1)[: _probes(left)]
        if isinstance(executor, LocalExecutor) and len(seats) == 1:
            work(store, groups, device)
        else:

            def died(worker: Worker, cause: str) -> bool:
                logger.warning("%s ended before its work did%s", worker.seat.name, f": {cause}" if cause else "")
                return False

            with executor:
                ended = run_crew(executor, AskJob(inquiry), seats, poll=lambda: None, died=died)
            if any(code != 0 for code in ended.codes):
                ended.require_done(f"{counted(len(_left(groups, store)), 'answer')} missing")
        left = _left(groups, store)
    records = [store.require(run_id) for run_id in inquiry.run_ids]
    weights = weights_of(store, records)
    return Asked(
        tuple(f"{label}: {probe}" for label, probe in left),
        tuple(record.label for record in records if record.run_id not in weights),
    )


def _left(groups: Sequence[Group], store: RunStore) -> list[tuple[str, str]]:
    """Label and probe of every answer that is missing."""
    found = []
    for group in groups:
        weights = weights_of(store, group.records)
        for probe in group.probes:
            runs = lacking(store, group, probe, weights)
            found += [(record.title, f"{probe.family}/{probe.name}") for record in runs]
    return found


def _probes(left: Sequence[tuple[str, str]]) -> int:
    """How many probes have something to ask."""
    return len({probe for _, probe in left})
