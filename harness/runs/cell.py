"""One cell of a plan: train, evaluate, measure, record.

A cell is a pure function of its `RunSpec` and the results folder. Killed, it resumes from its last epoch; failed, it
leaves a record that says why.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness import registry
from harness.datasets.base import Dataset, Split
from harness.errors import InvalidDataset, ItmError
from harness.files import strict_yaml
from harness.files.writing import atomic_path
from harness.machine.interruptions import stop_if_asked
from harness.measure.cost import measure_cost
from harness.measure.system import peak_memory
from harness.plugins import place_of
from harness.records import environment
from harness.records.parts import Tuning
from harness.records.run import RunRecord
from harness.records.scores import SCORES
from harness.records.store import CHECKPOINT, RunStore
from harness.runs import origins
from harness.runs.building import TEST_SPLIT, build_scorer, open_dataset, splits_for
from harness.runs.computing import computing
from harness.runs.devices import Together, train_together
from harness.runs.diagnostics import Diagnosed, diagnose, diagnose_safely
from harness.runs.evaluation import Results, Scored, evaluate, score_split
from harness.runs.overlaps import of_run
from harness.runs.progress import ProgressWriter
from harness.runs.saved_models import describe_model, save_model
from harness.runs.watching import watcher
from harness.scorer import Scorer
from harness.scoring.inputs import image_batch
from harness.scoring.spilled import in_memory
from harness.similarity.packed import products
from harness.spec import RunSpec
from harness.training.loop import fit
from harness.training.state import Epoch, TrainingResult

OnEpoch = Callable[[Epoch], None]


class Listener(NamedTuple):
    """Who hears of the epochs of a training: each one as it ends, and those of earlier calls."""

    on_epoch: OnEpoch
    on_resume: Callable[[list[Epoch]], None]


def run_cell(
    spec: RunSpec,
    store: RunStore,
    device: torch.device,
    on_epoch: OnEpoch | None = None,
    *,
    command: str = "",
    worker: int = 0,
) -> tuple[RunRecord, int]:
    """Run a cell, whatever happens to it.

    Args:
        spec: the cell.
        store: where its files go.
        device: where to compute.
        on_epoch: called after each epoch of its training.
        command, worker: that run it, for its progress file; see `harness.runs.progress.Progress`.

    Returns:
        Its record, finished or failed, and the exit code that it asks for.
    """
    started = environment.now()
    progress = ProgressWriter(store.folder(spec.run_id), spec.training.epochs, command, worker)
    progress.begin()

    def epoch(epoch: Epoch) -> None:
        progress.epoch(epoch)
        if on_epoch is not None:
            on_epoch(epoch)

    try:
        with computing(spec.threads, device):
            record = _run(spec, store, device, Listener(epoch, progress.resumed), started)
            progress.finished()
            return record, 0
    except ItmError as error:
        stop_if_asked()
        message, code = str(error), error.exit_code
    except Exception as error:  # one failing cell, a plug-in's bug say, must not lose the others
        stop_if_asked()
        place = place_of(error)
        where = f"plug-in {place}: " if place else ""
        message, code = f"{where}{type(error).__name__}: {' '.join(str(error).split())}", 1
        with suppress(ItmError), atomic_path(store.folder(spec.run_id) / "traceback.txt") as path:
            path.write_text(traceback.format_exc(), encoding="utf-8")
    record = failed(spec, message, started)
    progress.failed(code)
    with suppress(ItmError):  # a full disk fails here too; its reason is in the record that is returned
        store.write(record)
    return record, code


def failed(spec: RunSpec, message: str, started: str) -> RunRecord:
    """The record of a cell that failed."""
    return _record(spec, spec.dataset.name, started, status="failed", error=message)


def code_origin(spec: RunSpec) -> str:
    """What a table says of a run: whose code or weights the numbers come from."""
    if spec.weights:
        return str(describe_model(spec.weights)["origin"])
    towers = spec.image.name, spec.text.name
    pretrained = spec.image.plain.get("pretrained") and spec.text.plain.get("pretrained")
    official = towers == ("blip", "blip") or (towers == ("open_clip", "open_clip") and pretrained)
    if not spec.training.epochs and official:
        return "official weights"
    return registry.scorer_class(spec.scorer).origin


def tuning_of(spec: RunSpec) -> Tuning:
    """How the settings of a cell were found, for its record."""
    return Tuning.model_validate(spec.tuning or {"trials": 0})


def _run(spec: RunSpec, store: RunStore, device: torch.device, listener: Listener, started: str) -> RunRecord:
    folder = store.folder(spec.run_id)
    with atomic_path(folder / "config.yaml") as path:
        path.write_text(strict_yaml.dump(spec.complete), encoding="utf-8")
    dataset = open_dataset(spec.dataset)
    if dataset.sha256 != spec.data_sha256:
        raise InvalidDataset(
            f"the data of '{spec.dataset.name}' changed since the run was planned (SHA-256 {dataset.sha256[:12]}, "
            f"planned {spec.data_sha256[:12]}); call the command again"
        )
    test = dataset.split(TEST_SPLIT)
    with peak_memory(device) as memory:
        scorer = build_scorer(spec, dataset).to(device)
        learning = ("train", "val") if spec.training.epochs else ()
        splits, features = splits_for(scorer, spec, dataset, (*learning, TEST_SPLIT))
        trained = _trained(scorer, spec, splits, folder, listener)
        scorer.eval()
        kept = folder / SCORES if spec.evaluation.save_scores else None
        scored = score_split(scorer, splits[TEST_SPLIT], spec.evaluation, kept)
        results = evaluate(scored.similarity, test, spec.protocols, spec.evaluation, dataset)
    for key, size in trained.devices.get("first_process_memory", {}).items():
        memory[key] = max(size, memory.get(key, 0.0))  # of the largest process
    cost = {**cost_of(scorer, scored, test, spec, device), **trained.step_ms, **memory, **trained.energy}
    inside = _diagnosed(scorer, scored, test, spec, dataset)
    store.write_ranks(spec.run_id, results.ranks)
    store.write_top(spec.run_id, results.top)
    if inside.ranks:
        store.write_level_ranks(spec.run_id, inside.ranks)
    save_model(scorer, folder / "model.safetensors", spec)
    if kept is not None:
        scored.save(kept)
    record = _finished(spec, dataset, results, trained, cost, device, started)
    overlaps = of_run(spec, dataset, TEST_SPLIT)
    record = record.model_copy(update={"diagnostics": inside.record, "features": features, "overlaps": overlaps})
    store.write(record)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def _diagnosed(scorer: Scorer, scored: Scored, test: Split, spec: RunSpec, dataset: Dataset) -> Diagnosed:
    if not spec.evaluation.diagnostics:
        return Diagnosed()
    return diagnose_safely(
        spec.run_id, lambda: diagnose(scorer, scored, test, spec.protocols, spec.evaluation, dataset)
    )


def _trained(
    scorer: Scorer, spec: RunSpec, splits: Mapping[str, Split], folder: Path, listener: Listener
) -> TrainingResult:
    """The course of the cell's training; a cell without one needs no split to learn from."""
    if not spec.training.epochs:
        return TrainingResult()
    together = _together(scorer, spec, folder, listener) if spec.devices > 1 else None
    result = fit(
        scorer,
        splits["train"],
        splits["val"],
        spec.training,
        seed=spec.seed,
        checkpoint=folder / CHECKPOINT,  # of several devices: it is complete, and only read
        on_epoch=None if together else listener.on_epoch,
        on_resume=None if together else listener.on_resume,
        batch_size_eval=spec.evaluation.batch_size,
        feeding=spec.feeding,
        title=spec.title,
        watch=watcher(scorer, splits, spec),
    )
    return result if together is None else replace(result, step_ms=together.step_ms, devices=together.described)


def _together(scorer: Scorer, spec: RunSpec, folder: Path, listener: Listener) -> Together:
    """Train in other processes; meanwhile this one leaves the first device's memory to them."""
    device = scorer.device
    scorer.to("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    together = train_together(spec, device, folder / CHECKPOINT, listener.on_epoch, listener.on_resume)
    scorer.to(device)
    return together


def cost_of(
    scorer: Scorer, scored: Scored, split: Split, spec: RunSpec, device: torch.device
) -> dict[str, float | str]:
    """What a trained scorer costs on a split that it has scored, see `harness.measure.cost.measure_cost`.

    Of a side that does not fit in memory its first items are taken; `gallery_images` says how many.
    """
    size = spec.evaluation.batch_size
    image_encoder, text_encoder = scorer.encoders
    return measure_cost(
        scorer,
        image_batch(split, image_encoder, range(min(len(split.images), size))).to(device),
        text_encoder.tokenizer(split.captions[:size]).to(device),
        *(in_memory(side) for side in (scored.images, scored.texts)),
        repeats=spec.evaluation.cost_repeats,
        device=device,
    )


def _finished(
    spec: RunSpec,
    dataset: Dataset,
    results: Results,
    trained: TrainingResult,
    cost: dict[str, float | str],
    device: torch.device,
    started: str,
) -> RunRecord:
    return _record(
        spec,
        dataset.title,
        started,
        status="finished",
        metrics=results.metrics,
        validation={**trained.best, "epoch": trained.best_epoch + 1},
        evaluation=results.info,
        cost=cost,
        training={
            "epochs": len(trained.history),
            "steps": trained.steps,
            "seconds": trained.seconds,
            "history": [_written(epoch) for epoch in trained.history],
            **{key: value for key in ("devices", "product") if (value := getattr(trained, key))},
        },
        environment=environment.describe(device).model_copy(update={"products": products.chosen()}),
    )


def _written(epoch: Epoch) -> dict[str, Any]:
    """An epoch for the record, without what was not measured."""
    return epoch.model_dump(exclude={key for key in ("watched", "energy_wh") if not getattr(epoch, key)})


def _record(spec: RunSpec, dataset: str, started: str, **outcome: Any) -> RunRecord:
    return RunRecord(
        run_id=spec.run_id,
        scorer=spec.scorer,
        variant=spec.variant,
        code_origin=code_origin(spec),
        citation=registry.scorer_class(spec.scorer).citation,
        backbone=spec.backbone,
        dataset=dataset,
        protocols=spec.protocols,
        seed=spec.seed,
        data_sha256=spec.data_sha256,
        tuning=tuning_of(spec),
        code=origins.code_of(spec.scorer, spec),
        spec=spec.model_dump(mode="json"),
        overridden=origins.overridden(spec),
        started=started,
        finished=environment.now(),
        **outcome,
    )
