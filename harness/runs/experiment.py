"""Experiments: run the cells of a plan that are missing, keep what is there.

A cell is a pure function of its `RunSpec` and the results folder, independent of the others: killed, it is taken up
again at its last epoch; failed, it leaves a record that says why and does not stop its neighbours. It is claimed while
it runs, so several commands on one results folder, on one machine or many, share the work and all see the whole of it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch

from harness import protocols, registry
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset, InvalidRecord, ItmError
from harness.files import strict_yaml
from harness.files.writing import atomic_path
from harness.measure.cost import measure_cost, peak_memory
from harness.records import environment
from harness.records.parts import Tuning
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.text import counted
from harness.runs import completion, sharing
from harness.runs import saved_models as checkpoints
from harness.runs.evaluation import Results, Scored, evaluate, score_split
from harness.runs.planning import TEST_SPLIT, build_scorer, code_origin, distinct, open_dataset, plan
from harness.runs.threads import compute_threads
from harness.scorer import Scorer
from harness.scoring.inputs import image_batch
from harness.similarity.packed import products
from harness.spec import Experiment, RunSpec
from harness.tracking.base import Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.observer import Observer
from harness.training import loop as training
from harness.training.loop import Epoch, TrainingResult


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
    specs = distinct(specs)
    tracker, observer = tracker or Tracker(), observer or Observer()
    before = {spec.run_id: sharing.state_of(store, spec.run_id) for spec in specs}
    missing = [spec for spec in specs if before[spec.run_id][0] != "finished"]

    def epoch(epoch: Epoch) -> None:
        observer.stepped(epoch.epoch + 1, f"validation rSum {epoch.validation['rsum']:.1f}")

    def run(spec: RunSpec) -> tuple[RunRecord, int]:
        observer.started(spec.title, spec.training.epochs)
        since = time.perf_counter()
        record, code = _run_guarded(spec, store, torch.device(device), epoch)
        observer.ended(_news(record, f"{time.perf_counter() - since:.0f} s"))
        return record, code

    def waiting(specs: Sequence[RunSpec]) -> None:
        names = ", ".join(spec.title for spec in specs[:3]) + (", ..." if len(specs) > 3 else "")
        observer.noted(f"waiting for {counted(len(specs), 'run')} of other commands on this folder: {names}")

    observer.began("", "run", len(specs), len(specs) - len(missing))
    completion.report_earlier_ids(store, missing)
    tracker.start_experiment(experiment, {"itm.experiment": experiment})
    outcome = Outcome()
    mirrored = set()
    try:
        for cell in sharing.run_cells(missing, before, store, run, waiting):
            if cell.ours:
                mirror_record(tracker, cell.record, store.folder(cell.record.run_id))
                mirrored.add(cell.record.run_id)
            else:  # the other command mirrors it
                observer.ended(_news(cell.record, "by another command"))
            if cell.record.status == "failed":
                outcome.failures.append(cell.record)
                outcome.exit_code = max(outcome.exit_code, cell.code)
        for spec in specs:
            finished = store.finished(spec.run_id)
            if finished is not None:
                completion.complete_scores(spec, store, torch.device(device))
                finished = _as_planned(finished, spec, store)
                outcome.records.append(finished)
                if spec.run_id not in mirrored:  # of another call, perhaps one that could not reach the tracker
                    mirror_record(tracker, finished, store.folder(spec.run_id))
    except BaseException:
        tracker.close("killed")
        raise
    tracker.close()
    return outcome


def _news(record: RunRecord, how: str) -> str:
    result = f"FAILED: {record.error}" if record.status == "failed" else protocols.summary(record.metrics)
    return f"{record.title}: {result} ({how})"


def run_cell(
    spec: RunSpec, store: RunStore, device: torch.device, on_epoch: Callable[[Epoch], None] | None = None
) -> RunRecord:
    """Train, evaluate and measure one cell and write its files; resumes at the last epoch if it was cut off.

    Raises:
        ItmError: the data, the scorer or the training failed; nothing of the run counts as finished then.
    """
    started = _now()
    folder = store.folder(spec.run_id)
    with atomic_path(folder / "config.yaml") as path:
        path.write_text(strict_yaml.dump(spec.model_dump(mode="json")), encoding="utf-8")
    dataset = open_dataset(spec.dataset)
    _check_data(spec, dataset)
    with peak_memory(device) as memory:
        scorer = build_scorer(spec, dataset).to(device)
        trained = training.fit(
            scorer,
            dataset.split("train"),
            dataset.split("val"),
            spec.training,
            seed=spec.seed,
            checkpoint=folder / "checkpoint.pt",
            on_epoch=on_epoch,
            batch_size_eval=spec.evaluation.batch_size,
        )
        scorer.eval()
        test = dataset.split(TEST_SPLIT)
        scored = score_split(scorer, test, spec.evaluation.batch_size)
        results = evaluate(scored.similarity, test, spec.protocols, spec.evaluation, dataset)
    cost = {**_measure(scorer, scored, dataset, spec, device), **trained.step_ms, **memory}
    _write_files(spec, store, scorer, scored, results)
    record = _record(spec, dataset, results, trained, cost, device, started)
    store.write(record)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def load_scorer(store: RunStore, run_id: str) -> Scorer:
    """The trained scorer of a finished run, from its own files alone.

    Raises:
        InvalidRecord: the run is missing or did not finish.
        InvalidCheckpoint: the weights do not fit.
    """
    record = store.read(run_id)
    if record is None or record.status != "finished":
        raise InvalidRecord(f"run {run_id} has no finished record below {store.results}")
    return checkpoints.load_model(store.folder(run_id) / "model.safetensors")


def _check_data(spec: RunSpec, dataset: Dataset) -> None:
    if dataset.sha256 != spec.data_sha256:
        raise InvalidDataset(
            f"the data of '{spec.dataset.name}' changed since the run was planned (SHA-256 {dataset.sha256[:12]}, "
            f"planned {spec.data_sha256[:12]}); call the command again"
        )


def _run_guarded(
    spec: RunSpec, store: RunStore, device: torch.device, on_epoch: Callable[[Epoch], None]
) -> tuple[RunRecord, int]:
    """The record of a cell whatever happens to it, and the exit code that it asks for."""
    started = _now()
    try:
        with compute_threads(spec.threads):
            return run_cell(spec, store, device, on_epoch), 0
    except ItmError as error:
        message, code = str(error), error.exit_code
    except Exception as error:  # one failing cell, a plug-in's bug say, must not lose the others
        message, code = f"{type(error).__name__}: {' '.join(str(error).split())}", 1
        with suppress(ItmError), atomic_path(store.folder(spec.run_id) / "traceback.txt") as path:
            path.write_text(traceback.format_exc(), encoding="utf-8")
    record = RunRecord(
        **_identity(spec, spec.dataset.name), status="failed", error=message, started=started, finished=_now()
    )
    with suppress(ItmError):  # a full disk fails here too; its reason is in the record that is returned
        store.write(record)
    return record, code


def _as_planned(record: RunRecord, spec: RunSpec, store: RunStore) -> RunRecord:
    """The record with what this plan says of it: the same settings may have been run untuned before, or under the name
    of a variant that sets them."""
    said = spec.model_dump(mode="json")
    said["evaluation"] = record.spec.get("evaluation", said["evaluation"])  # how often its costs were timed
    update = {"tuning": _tuning(spec), "variant": spec.variant, "spec": said}
    if all(getattr(record, key) == value for key, value in update.items()):
        return record
    with store.claim(record.run_id):  # a rescoring may have changed it meanwhile
        record = (store.finished(record.run_id) or record).model_copy(update=update)
        store.write(record)
    return record


def _tuning(spec: RunSpec) -> Tuning:
    return Tuning.model_validate(spec.tuning or {"trials": 0})


def _measure(scorer: Scorer, scored: Scored, dataset: Dataset, spec: RunSpec, device: torch.device) -> dict[str, float]:
    test = dataset.split(TEST_SPLIT)
    rows = range(min(len(test.images), spec.evaluation.batch_size))
    image_encoder, text_encoder = scorer.encoders
    pixels_or_regions = image_batch(test, image_encoder, rows).to(device)
    tokens = text_encoder.tokenizer(test.captions[: spec.evaluation.batch_size]).to(device)
    return measure_cost(
        scorer,
        pixels_or_regions,
        tokens,
        scored.images,
        scored.texts,
        repeats=spec.evaluation.cost_repeats,
        device=device,
    )


def _write_files(spec: RunSpec, store: RunStore, scorer: Scorer, scored: Scored, results: Results) -> None:
    folder = store.folder(spec.run_id)
    store.write_ranks(spec.run_id, results.ranks)
    checkpoints.save_model(scorer, folder / "model.safetensors", spec)
    if spec.evaluation.save_scores:
        completion.write_scores(scored.similarity, folder)


def _identity(spec: RunSpec, dataset: str) -> dict[str, Any]:
    cls = registry.scorer_class(spec.scorer)
    return {
        "run_id": spec.run_id,
        "scorer": spec.scorer,
        "variant": spec.variant,
        "code_origin": code_origin(spec),
        "citation": cls.citation,
        "backbone": spec.backbone,
        "dataset": dataset,
        "protocols": spec.protocols,
        "seed": spec.seed,
        "data_sha256": spec.data_sha256,
        "tuning": _tuning(spec),
        "spec": spec.model_dump(mode="json"),
    }


def _record(
    spec: RunSpec,
    dataset: Dataset,
    results: Results,
    trained: TrainingResult,
    cost: dict[str, float],
    device: torch.device,
    started: str,
) -> RunRecord:
    return RunRecord(
        **_identity(spec, dataset.title),
        metrics=results.metrics,
        validation={**trained.best, "epoch": trained.best_epoch + 1},
        evaluation=results.info,
        cost=cost,
        training={
            "epochs": len(trained.history),
            "steps": trained.steps,
            "seconds": trained.seconds,
            "history": [asdict(epoch) for epoch in trained.history],
        },
        environment=environment.describe(device).model_copy(update={"products": products.chosen()}),
        code=environment.code_revision().model_copy(update={"engine_sha256": registry.engine_sha256()}),
        status="finished",
        started=started,
        finished=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
