"""One trial: settings are drawn, trained on the train split, judged on the validation split, and their cost measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import torch

from harness import training
from harness.errors import ItmError, TrainingDiverged
from harness.evaluation import score_split
from harness.inputs import image_batch
from harness.planning import build_scorer
from harness.profiling import measure_cost, peak_memory
from harness.scorer import Scorer
from harness.spec import RunSpec
from harness.sweeps.plan import StudyPlan
from harness.sweeps.settings import RSUM
from harness.sweeps.splits import TuningSplits
from harness.sweeps.study import COSTS
from harness.training import Epoch, steps_per_epoch, validate


@dataclass
class Course:
    """What a trial has done and found so far; it is kept also of a trial that is pruned or fails.

    Args:
        curves: validation rSum by epoch, one list a seed.
        steps: optimiser steps.
        seconds: wall time since the trial began, the drawing of its settings left out.
        cost: as `harness.profiling.measure_cost`, with the peak memory and the step time of the training.
    """

    curves: list[list[float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def rsum(self) -> float:
        """Mean over the seeds of the best epoch's validation rSum."""
        return sum(max(curve) for curve in self.curves) / len(self.curves)

    @property
    def latest(self) -> float:
        """The mean so far: finished seeds with their best epoch, the one in progress with its latest."""
        return (sum(max(curve) for curve in self.curves[:-1]) + self.curves[-1][-1]) / len(self.curves)


class Objective:
    """What Optuna calls with a trial.

    Args:
        plan: of the study.
        splits: the train and validation split; no other data can be reached from here.
        device: where to compute.
    """

    def __init__(self, plan: StudyPlan, splits: TuningSplits, device: torch.device | str):
        self._plan, self._splits, self._device = plan, splits, torch.device(device)

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        """The objectives' values, in their order.

        Raises:
            optuna.TrialPruned: hopeless, or diverged.
            ItmError: the settings conflict, or the scorer breaks the contract.
        """
        settings = self._plan.settings
        values = self._plan.space.suggest(trial)
        course, started = Course(), time.perf_counter()
        several = len(settings.objectives) > 1
        try:
            spec = self._plan.candidate(values)
            last = len(self._plan.seeds) * spec.training.epochs - 1
            self._run(spec, course, (lambda step: None) if several else lambda step: _report(trial, course, step, last))
        except TrainingDiverged as error:
            if several:  # Optuna prunes by one objective only
                raise
            trial.set_user_attr("reason", f"diverged: {error}")
            raise optuna.TrialPruned(str(error)) from error
        finally:
            course.seconds = time.perf_counter() - started
            _keep(trial, course)
        if settings.at_most and hasattr(trial, "set_constraint"):
            for key, limit in settings.at_most.items():
                if key in course.cost:
                    trial.set_constraint(key, course.cost[key] - limit)
        found = {RSUM: course.rsum, **course.cost}
        missing = [name for name in (*settings.objectives, *settings.at_most) if name not in found]
        if missing:
            raise RuntimeError(f"{', '.join(missing)} could not be measured here")
        reached = tuple(found[name] for name in settings.objectives)
        return reached if several else reached[0]

    def _run(self, spec: RunSpec, course: Course, report: Callable[[int], None]) -> None:
        """Train once a seed, then measure the cost of the last scorer."""
        train, validation = self._splits.split("train"), self._splits.split("val")
        steps = steps_per_epoch(train, spec.training)
        for index, seed in enumerate(self._plan.seeds):
            cell = spec.model_copy(update={"seed": seed})

            def on_epoch(epoch: Epoch, first_step: int = index * spec.training.epochs) -> None:
                course.curves[-1].append(epoch.validation[RSUM])
                course.steps += steps
                report(first_step + epoch.epoch)

            course.curves.append([])
            with peak_memory(self._device) as memory:
                scorer = build_scorer(cell, self._splits).to(self._device)
                result = training.fit(
                    scorer,
                    train,
                    validation,
                    spec.training,
                    seed=seed,
                    on_epoch=on_epoch,
                    batch_size_eval=spec.evaluation.batch_size,
                )
            if not result.history:  # nothing to train: judged as it is
                course.curves[-1].append(validate(scorer, validation, spec.evaluation.batch_size)[RSUM])
        course.cost = {**self._measure(scorer, spec), **result.step_ms, **memory}

    def _measure(self, scorer: Scorer, spec: RunSpec) -> dict[str, float]:
        validation, size = self._splits.split("val"), spec.evaluation.batch_size
        scorer.eval()
        scored = score_split(scorer, validation, size)
        image_encoder, text_encoder = scorer.encoders
        return measure_cost(
            scorer,
            image_batch(validation, image_encoder, range(min(len(validation.images), size))).to(self._device),
            text_encoder.tokenizer(validation.captions[:size]).to(self._device),
            scored.images,
            scored.texts,
            repeats=spec.evaluation.cost_repeats,
            device=self._device,
        )


def failure(error: Exception) -> str:
    """An exception as the one line that a trial keeps."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ItmError) else f"{type(error).__name__}: {text}"


def _report(trial: optuna.Trial, course: Course, step: int, last: int) -> None:
    trial.report(course.latest, step)
    if step < last and trial.should_prune():  # at the last step nothing is left to be saved
        pruner = type(trial.study.pruner).__name__
        reason = f"{pruner} after {step + 1} epochs: validation rSum {course.latest:.1f}"
        trial.set_user_attr("reason", reason)
        raise optuna.TrialPruned(reason)


def _keep(trial: optuna.Trial, course: Course) -> None:
    kept: dict[str, Any] = {"curves": course.curves, "steps": course.steps, "seconds": course.seconds}
    for key, value in {**kept, COSTS: course.cost}.items():
        trial.set_user_attr(key, value)
