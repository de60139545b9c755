"""Asking: every run of a group gets every probe that it lacks, and no other process asks the same meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.alignments.kept import model_sha256
from harness.datasets.base import Dataset
from harness.errors import InvalidRecord, ItmError, ResultsNotWritable, counted, one_line
from harness.files.locks import claim
from harness.files.writing import set_aside
from harness.machine.interruptions import stop_if_asked
from harness.probes.base import Answers, Probe
from harness.probes.model import Model
from harness.probes.sides import LARGEST_OWN, RecentlyUsed, Towers
from harness.records.outcomes import About, OutcomeTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.computing import computing
from harness.runs.reopening import MODEL, RunDatasets
from harness.runs.trained import scorer_of
from harness.scorer import Scorer
from harness.scoring.memory import free_memory
from harness.spec import sha256_json

logger = logging.getLogger(__name__)


class Plan(Protocol):
    """Which probes there are; picklable, so that workers make the same ones."""

    def probes(self, dataset: Dataset, split: str) -> Sequence[Probe]:
        """Those that fit a split of a dataset, in the order in which they are asked."""
        ...


@dataclass(frozen=True)
class Inquiry:
    """What is asked of whom.

    Args:
        results: the results folder.
        run_ids: finished runs with saved models.
        plan: the probes.
        options: of the runs' datasets, where they changed since.
    """

    results: Path
    run_ids: tuple[str, ...]
    plan: Plan
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs on one split, and the probes of it."""

    dataset: Dataset
    records: tuple[RunRecord, ...]
    probes: tuple[Probe, ...]


def groups_of(inquiry: Inquiry) -> list[Group]:
    """The runs of an inquiry by the split that they were measured on, with its probes.

    Raises:
        InvalidDataset: the data of a run cannot be read, or are not those of the run.
        ItmError: a probe cannot be made.
    """
    store, data = RunStore(inquiry.results), RunDatasets(inquiry.options)
    by_split: dict[tuple[str, str], list[RunRecord]] = {}
    for run_id in inquiry.run_ids:
        record = store.require(run_id)
        by_split.setdefault((record.data_sha256, record.split), []).append(record)
    groups = []
    for records in by_split.values():
        dataset = data.of(records[0])
        groups.append(Group(dataset, tuple(records), tuple(inquiry.plan.probes(dataset, records[0].split))))
    return groups


def lacking(store: RunStore, group: Group, probe: Probe, models: Mapping[str, str]) -> list[RunRecord]:
    """The runs of a group that have no answers to a probe as it is now, by their weights as they are now.

    Args:
        store: where the runs lie.
        group: of runs.
        probe: of the group.
        models: hash of each run's weights (or ranks), by run id, see `weights_of`; runs that have none are left out.
    """
    wanted, found = inputs_sha256(probe), []
    for record in group.records:
        if record.run_id not in models or (probe.needs_model and record.origin == "foreign"):
            continue
        try:
            table = store.outcomes(record.run_id, probe.family, probe.name)
        except InvalidRecord as error:
            path = store.outcomes_path(record.run_id, probe.family, probe.name)
            set_aside(path, error)
            table = None
        about = table.about if table is not None else None
        if about is None or (about.inputs_sha256, about.model_sha256) != (wanted, models[record.run_id]):
            found.append(record)
    return found


def inputs_sha256(probe: Probe) -> str:
    """Hash of all that decides the questions of a probe."""
    levels = [[level.name, level.value] for level in probe.levels]
    return sha256_json({"family": probe.family, "name": probe.name, "levels": levels, "identity": probe.identity})


def weights_of(store: RunStore, records: Sequence[RunRecord]) -> dict[str, str]:
    """Hash of the weights of each run, by run id; of a foreign one that of its ranks. Runs with neither are left out."""
    found = {}
    for record in records:
        folder = store.folder(record.run_id)
        if record.origin == "foreign":
            found[record.run_id] = store.rank_file(record.run_id)[1]
        elif (folder / MODEL).is_file():
            found[record.run_id] = model_sha256(store, record.run_id)
    return found


def work(store: RunStore, groups: Sequence[Group], device: torch.device, share: int = 1) -> int:
    """Ask what nobody else is asking. A probe that fails for one model is told in a line and asked of the others.

    Args:
        store: where the runs lie.
        groups: what to ask of whom.
        device: to compute on.
        share: workers that this machine's memory is shared by.

    Returns:
        The number of failures.

    Raises:
        ResultsNotWritable: the results folder cannot be written.
    """
    failures = 0
    for group in groups:
        weights = weights_of(store, group.records)
        models = _Models(store, group.records, device, share)
        for number, probe in enumerate(group.probes):
            name = f"probe-{inputs_sha256(probe)[:24]}"
            with claim(store.results, name, wait=0) as ours:
                runs = lacking(store, group, probe, weights) if ours else []
                if runs:
                    started = time.perf_counter()
                    failures += sum(not _ask(store, probe, model, weights) for model in models.of(runs))
                    logger.info(
                        "%s/%s (%d of %d): %s in %.1f s",
                        probe.family, probe.name, number + 1, len(group.probes), counted(len(runs), "run"),
                        time.perf_counter() - started,
                    )  # fmt: skip
            probe.forget()
    return failures


def _ask(store: RunStore, probe: Probe, model: Model, weights: Mapping[str, str]) -> bool:
    """Ask one model and keep its answers; whether that worked."""
    record, started = model.record, time.perf_counter()
    try:
        with computing(int(record.spec.get("threads", 1)), model.scorer.device):
            refused = probe.refusal(model)
            answers = Answers(()) if refused else probe.answers(model)
        about = About(
            run_id=record.run_id,
            family=probe.family,
            name=probe.name,
            title=probe.title,
            axis=probe.axis,
            levels=tuple(level.name for level in probe.levels),
            values=tuple(level.value for level in probe.levels),
            inputs=probe.identity,
            inputs_sha256=inputs_sha256(probe),
            model_sha256=weights[record.run_id],
            counts=dict(answers.counts),
            refused=refused,
            partial=answers.partial,
            remarks=answers.remarks,
            seconds=round(time.perf_counter() - started, 3),
        )
        with store.claim(record.run_id):
            store.write_outcomes(OutcomeTable(about, answers.measures))
    except ResultsNotWritable:
        raise
    except ItmError as error:
        stop_if_asked()
        logger.error("run %s (%s): %s/%s: %s", record.run_id, record.label, probe.family, probe.name, error)
        return False
    except Exception as error:  # a plug-in may raise anything, and the other models are asked all the same
        stop_if_asked()
        problem = f"{type(error).__name__}: {one_line(error)}"
        logger.error("run %s (%s): %s/%s: %s", record.run_id, record.label, probe.family, probe.name, problem)
        logger.debug("", exc_info=True)
        return False
    return True


class _Models:
    """The models of a group: all in memory where they fit, else one after the other."""

    def __init__(self, store: RunStore, records: Sequence[RunRecord], device: torch.device, share: int):
        self._store, self._device = store, device
        files = [store.folder(record.run_id) / MODEL for record in records]
        size = sum(path.stat().st_size for path in files if path.is_file())
        self._stay = size <= free_memory() // (4 * share)
        self._kept = RecentlyUsed(LARGEST_OWN)
        self._models: dict[str, Model] = {}
        self._records = [record for record, path in zip(records, files, strict=True) if path.is_file()]
        self._ranked = {r.run_id: Model(store, r, Scorer()) for r in records if r.origin == "foreign"}

    def of(self, records: Sequence[RunRecord]) -> Iterator[Model]:
        """The models of some runs; of one that cannot be opened a line says why."""
        if self._stay and not self._models:
            opened = {record.run_id: scorer for record in self._records if (scorer := self._open(record)) is not None}
            towers = Towers(opened.values())
            for record in self._records:
                if record.run_id in opened:
                    self._models[record.run_id] = Model(self._store, record, opened[record.run_id], towers, self._kept)
        for record in records:
            if record.run_id in self._ranked:
                yield self._ranked[record.run_id]
            elif record.run_id in self._models:
                yield self._models[record.run_id]
            elif not self._stay and (scorer := self._open(record)) is not None:
                yield Model(self._store, record, scorer)

    def _open(self, record: RunRecord) -> Any:
        try:
            return scorer_of(self._store, record, self._device).eval()
        except ItmError as error:
            logger.error("run %s (%s) cannot be asked: %s", record.run_id, record.label, error)
            return None
