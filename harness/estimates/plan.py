"""The plan of an experiment: cells, files, and what each model costs by a few steps on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.known import REGION_WIDTH
from harness.errors import ItmError, one_line
from harness.estimates.bench import Bench, ModelBench, process_bytes
from harness.estimates.cells import planned_cells
from harness.estimates.data import Data, look_at
from harness.estimates.extrapolate import Work, estimate, evaluation_at, steps_of
from harness.estimates.measure import Clock, measure
from harness.estimates.models import untrained
from harness.estimates.needs import needed_files
from harness.estimates.standin import first_pairs, random_pairs, random_vocabulary
from harness.estimates.stores import with_stores
from harness.estimates.workers import Room, side_by_side
from harness.measure.cost import parameters
from harness.measure.quiet import alone
from harness.records import environment
from harness.records.plan import Estimate, Measurement, PlanDocument, PlannedEntry, Split
from harness.records.store import RunStore
from harness.runs.computing import computing
from harness.scorer import Scorer
from harness.scoring.memory import free_memory
from harness.spec import Experiment, RunSpec

logger = logging.getLogger(__name__)

#: Pairs that a model is measured on: a batch of the largest training, and enough captions to score.
FEWEST_PAIRS = 16


@dataclass(frozen=True)
class Timing:
    """How models are measured.

    Args:
        device: where.
        seconds: for each distinct model, about.
        clock: seconds; None = see `clock_of`.
        bench: makes the bench of a scorer, its split and its training; tests have their own.
    """

    device: torch.device
    seconds: float
    clock: Clock | None = None
    bench: Callable[..., Bench] = ModelBench


def plan_document(
    experiment: Experiment,
    store: RunStore | None,
    timing: Timing | None,
    runs: int = 1,
    room: Room | None = None,
    gallery: Split | None = None,
) -> PlanDocument:
    """The plan of an experiment.

    Args:
        experiment: what would run.
        store: recorded runs; None = none.
        timing: how to measure; None = not at all.
        runs: how often each cell is run: the trials of a sweep.
        room: where workers would run the cells; None = one after the other.
        gallery: images and captions of an evaluation whose cost is asked for besides, for which all entries are measured.

    Raises:
        UnknownName, InvalidSpec: as `harness.runs.planning.check`.
    """
    data = look_at(experiment)
    cells, notes = planned_cells(experiment, data, store)
    document = PlanDocument(
        experiment=experiment.name,
        data=data.plan,
        cells=cells,
        files=needed_files(experiment, data.drafts, data.plan),
        entries=tuple(_entry(experiment, key, draft, data) for key, draft in data.drafts.items()),
        threads=experiment.threads,
        runs=runs,
        notes=tuple(notes),
        gallery=gallery,
    )
    if timing is None:
        return document
    measured = _measured(document, data, timing)
    return measured if room is None else measured.model_copy(update={"side_by_side": side_by_side(measured, room)})


def _entry(experiment: Experiment, key: str, draft: RunSpec, data: Data) -> PlannedEntry:
    said = next(entry for entry in experiment.scorers if entry.key == key)
    train = data.plan.splits.get("train")
    return PlannedEntry(
        key=key,
        scorer=draft.label,
        image=tower_name(draft.image.name, draft.image.plain),
        text=tower_name(draft.text.name, draft.text.plain),
        epochs=draft.training.epochs,
        batch_size=draft.training.batch_size,
        steps_per_epoch=steps_of(train, draft.training) if train and draft.training.epochs else None,
        source=said.source,
        differs=said.differs,
    )


def tower_name(name: str, options: Mapping[str, object]) -> str:
    """What tables call a backbone: its architecture where it says one.

    >>> tower_name("patches", {"architecture": "conv_stem"}), tower_name("bigru", {"width": 8})
    ('conv_stem', 'bigru')
    """
    return str(options.get("architecture") or options.get("model") or name)


def _measured(document: PlanDocument, data: Data, timing: Timing) -> PlanDocument:
    """The document with what every entry costs that has runs to do."""
    entries, known = [], dict[str, Measurement]()
    gallery, free = document.gallery, free_memory() if timing.device.type == "cpu" else None
    wanted = [entry.key for entry in document.entries if gallery or document.to_run(entry.key)]
    base = process_bytes(timing.device)
    for entry in document.entries:
        draft = data.drafts[entry.key]
        if entry.key in wanted:
            kind = draft.run_id  # without data: equal settings, equal costs
            if kind not in known:
                logger.info("measuring %s (%d of %d)", entry.key, wanted.index(entry.key) + 1, len(wanted))
                known[kind] = _measurement(draft, data, timing).model_copy(update={"base_bytes": base})
            found = known[kind]
            update: dict[str, Any] = {"measurement": found, "estimate": _estimate(entry, draft, data, found, free)}
            if gallery and not found.problem:
                update["evaluation"] = evaluation_at(found, gallery, free)
            entry = entry.model_copy(update=update)
        entries.append(entry)
    machine = environment.describe(timing.device).model_copy(update={"threads": document.threads})
    told = {"device": machine.computed_on, "device_is_gpu": timing.device.type == "cuda"}
    return document.model_copy(update={"entries": tuple(entries), **told})


def _measurement(draft: RunSpec, data: Data, timing: Timing) -> Measurement:
    """What one model's steps take; a model that cannot be built or does not fit says why."""
    training = draft.training
    count = max(FEWEST_PAIRS, training.batch_size if training.epochs else 0)
    regions = draft.image.name == "regions"
    try:
        if data.dataset is not None:
            split = first_pairs(data.dataset.split("train" if training.epochs else "test"), count)
            width, vocabulary = split.images.region_width, None
            if data.dataset.vocabulary_path is not None:
                vocabulary = Vocabulary.load(data.dataset.vocabulary_path)
            words = data.dataset.training_captions or split.captions
        else:
            width, vocabulary = REGION_WIDTH if regions else 0, random_vocabulary()
            split = random_pairs(count, data.words, region_width=width)
            words = split.captions
        with computing(draft.threads, timing.device):
            scorer = untrained(draft, width, vocabulary, tuple(words)).to(timing.device)
            clock = timing.clock or clock_of(timing.device, draft.threads)
            learnt, evaluated, towers = with_stores(scorer, split, draft, clock)
            bench = timing.bench(scorer, learnt, training, evaluated)
            with alone(timing.device):
                found = measure(
                    bench,
                    training.batch_size,
                    train=training.epochs > 0,
                    seconds=timing.seconds,
                    data=data.plan.title if data.dataset is not None else "random data of the published shape",
                    clock=clock,
                )
    except (ItmError, RuntimeError, MemoryError, ValueError) as error:  # RuntimeError: torch, out of memory
        return Measurement(problem=one_line(error))
    return found.model_copy(update={**_sizes(scorer), "towers": towers})


def clock_of(device: torch.device, threads: int) -> Clock:
    """CPU time for one thread on a CPU, which other processes do not lengthen; else the time that passes."""
    return time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter


def _sizes(scorer: Scorer) -> dict[str, int]:
    found = parameters(scorer)
    names = {"parameters": "params_millions", "trainable": "trainable_params_millions"}
    return {name: round(1e6 * found[key]) for name, key in names.items()}


def _estimate(
    entry: PlannedEntry, draft: RunSpec, data: Data, measured: Measurement, free: int | None
) -> Estimate | None:
    splits = data.plan.splits
    if measured.problem or "test" not in splits or (entry.epochs and entry.steps_per_epoch is None):
        return None
    work = Work(
        training=draft.training,
        steps_per_epoch=entry.steps_per_epoch or 0,
        validation=splits.get("val") if entry.epochs else None,
        test=splits["test"],
        saves_scores=draft.evaluation.save_scores,
        train=splits.get("train") if entry.epochs else None,
        free=free,
    )
    return estimate(measured, work)
