"""One trial: settings are drawn, trained on the train split, judged on the validation split, and their cost measured.

A trial whose worker was killed resumes from its last epoch: the epochs of its checkpoint are reported again, and then it
continues as if it had not stopped.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
import torch

from harness.datasets.base import Split
from harness.errors import TrainingDiverged
from harness.measure.system import peak_memory
from harness.records.parts import Cost
from harness.runs.building import build_scorer, splits_for
from harness.runs.cell import cost_of
from harness.runs.computing import computing
from harness.runs.evaluation import score_split
from harness.scorer import Scorer
from harness.settings.sweep import RSUM
from harness.spec import RunSpec
from harness.sweeps.folders import Spent, TrialFolder, TrialFolders
from harness.sweeps.liveness import TakenOver, require_hold, stored
from harness.sweeps.plan import VALIDATION_SPLIT, StudyPlan
from harness.sweeps.search import COSTS
from harness.sweeps.splits import TuningSplits
from harness.training import loop
from harness.training.schedule import steps_per_epoch
from harness.training.state import Epoch, TrainingResult


@dataclass
class Course:
    """What a trial has done and found so far; it is kept also of a trial that is pruned or fails."""

    #: Validation rSum by epoch, one list per seed.
    curves: list[list[float]] = field(default_factory=list)
    #: Optimiser steps that led to the trial's weights; half an epoch that a kill took away is not counted.
    steps: int = 0
    #: As `harness.measure.cost.measure_cost`, with the peak memory and the step time of the training.
    cost: dict[str, float | str] = field(default_factory=dict)

    @property
    def rsum(self) -> float:
        """Mean over the seeds of the best epoch's validation rSum.

        >>> Course(curves=[[10.0, 30.0, 20.0], [40.0, 35.0]]).rsum
        35.0
        """
        return sum(max(curve) for curve in self.curves) / len(self.curves)

    @property
    def latest(self) -> float:
        """The mean so far: finished seeds with their best epoch, the one in progress with its latest."""
        return (sum(max(curve) for curve in self.curves[:-1]) + self.curves[-1][-1]) / len(self.curves)


class TrialRunner:
    """What Optuna calls with a trial.

    Args:
        plan: of the study.
        splits: the train and validation split; no other data can be reached from here.
        device: where to compute.
        folders: where trials keep their checkpoints; default nowhere.
        tell: called when a trial has begun and after each of its epochs.
    """

    def __init__(
        self,
        plan: StudyPlan,
        splits: TuningSplits,
        device: torch.device | str,
        folders: TrialFolders | None = None,
        tell: Callable[[], None] | None = None,
    ):
        self._plan, self._device = plan, torch.device(device)
        self._splits, self._folders, self._tell = splits, folders or TrialFolders(None), tell or (lambda: None)
        self._train, self._validation = splits.split("train"), splits.split(VALIDATION_SPLIT)

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        """The objectives' values, in their order.

        Raises:
            optuna.TrialPruned: hopeless, or diverged.
            ItmError: the settings conflict, or the scorer breaks the contract.
            TakenOver: another worker has the trial now.
        """
        settings = self._plan.settings
        # As the run that a leaderboard makes of these settings.
        with computing(self._plan.base.threads, self._device):
            values = self._plan.space.suggest(trial)
            folder, prunes = self._folders.of(trial.number), len(settings.objectives) == 1
            sitting = _Sitting(trial, folder, prunes, self._tell)
            self._tell()
            try:
                self._run(self._plan.candidate(values), sitting)
            except TakenOver:
                raise
            except TrainingDiverged as error:
                sitting.keep()
                if not sitting.prunes:  # Optuna prunes by one objective only
                    raise
                trial.set_user_attr("reason", f"diverged: {error}")
                raise optuna.TrialPruned(str(error)) from error
            except (Exception, SystemExit):
                sitting.keep()
                raise
            sitting.keep()
        found = {RSUM: sitting.course.rsum, **Cost.model_validate(sitting.course.cost).figures}
        for key, limit in settings.at_most.items() if hasattr(trial, "set_constraint") else ():
            if key in found and key not in trial.constraints:
                trial.set_constraint(key, found[key] - limit)
        missing = [name for name in (*settings.objectives, *settings.at_most) if name not in found]
        if missing:
            raise RuntimeError(f"{', '.join(missing)} could not be measured here")
        reached = tuple(found[name] for name in settings.objectives)
        return reached if len(reached) > 1 else reached[0]

    def _run(self, spec: RunSpec, sitting: _Sitting) -> None:
        """Train once per seed, then measure the cost of the last scorer."""
        course = sitting.course
        sitting.steps_per_epoch = steps_per_epoch(self._train, spec.training)
        sitting.last = len(self._plan.seeds) * spec.training.epochs - 1
        for index, seed in enumerate(self._plan.seeds):
            cell = spec.model_copy(update={"seed": seed})
            sitting.begin_seed(index * spec.training.epochs)
            with peak_memory(self._device) as memory:
                scorer = build_scorer(cell, self._splits).to(self._device)
                splits, _ = splits_for(scorer, cell, self._splits, ("train", VALIDATION_SPLIT))
                train, validation = splits["train"], splits[VALIDATION_SPLIT]
                result = loop.fit(
                    scorer,
                    train,
                    validation,
                    spec.training,
                    seed=seed,
                    checkpoint=sitting.folder.checkpoint(cell),
                    on_resume=sitting.resume,
                    on_epoch=sitting.on_epoch,
                    batch_size_eval=spec.evaluation.batch_size,
                    feeding=spec.feeding,
                    title=cell.title,
                )
                if sitting.lacks_memory(result):
                    _repeat_a_step(scorer, train, validation, spec)
            if not result.history:  # nothing to train: judged as it is
                course.curves[-1].append(loop.validate(scorer, validation, spec.evaluation.batch_size)[RSUM])
            sitting.end_seed(memory)
        course.cost = sitting.trial.user_attrs.get(COSTS, {})
        if not course.cost:  # a trial that was killed at its very end has measured its cost already
            scored = score_split(scorer.eval(), validation, spec.evaluation)
            cost = cost_of(scorer, scored, self._validation, spec, self._device)
            course.cost = {**cost, **result.step_ms, **sitting.memory}


class _Sitting:
    """One worker's time with a trial: tells Optuna of its epochs, those of earlier sittings too, and keeps its course."""

    def __init__(self, trial: optuna.Trial, folder: TrialFolder, prunes: bool, tell: Callable[[], None]):
        self.trial, self.folder, self.prunes, self.tell = trial, folder, prunes, tell
        self.course = Course()
        earlier = folder.read()
        self.memory = earlier.memory
        self.steps_per_epoch, self.last = 0, 0
        self._started = time.perf_counter() - earlier.seconds
        self._first, self._trained_here = 0, 0
        self._reported = dict(stored(trial.study, trial.number).intermediate_values)

    def begin_seed(self, first_step: int) -> None:
        """The training of the next seed, whose epochs are reported from this step on."""
        self.course.curves.append([])
        self._first, self._trained_here = first_step, 0

    def resume(self, history: Sequence[Epoch]) -> None:
        """Epochs of earlier sittings. The last of them may not have come to the pruner, the others did."""
        for epoch in history:
            self._add(epoch)
        step = self._first + history[-1].epoch
        if step >= max(self._reported):
            self._prune(step)

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch of this sitting."""
        require_hold(self.trial)
        self._trained_here += 1
        self._add(epoch)
        self._write()
        self.tell()
        self._prune(self._first + epoch.epoch)

    def lacks_memory(self, result: TrainingResult) -> bool:
        """Whether nothing was trained in this sitting and no earlier one came to keep its peak memory."""
        return bool(result.history) and not self._trained_here and not self.memory

    def end_seed(self, memory: dict[str, float]) -> None:
        """The training of a seed is done. Where nothing was trained, its peak memory is what was kept before."""
        self.memory = memory if self._trained_here or not self.memory else self.memory
        self._write()

    def keep(self) -> None:
        """Write what the trial did and found into it."""
        kept = {"curves": self.course.curves, "steps": self.course.steps, "seconds": self._seconds()}
        for key, value in {**kept, COSTS: self.course.cost}.items():
            self.trial.set_user_attr(key, value)

    def _write(self) -> None:
        self.folder.write(Spent(seconds=self._seconds(), memory=self.memory))

    def _seconds(self) -> float:
        """Of all sittings, up to the last epoch of those that were killed; the drawing of the settings left out."""
        return time.perf_counter() - self._started

    def _add(self, epoch: Epoch) -> None:
        self.course.curves[-1].append(epoch.validation[RSUM])
        self.course.steps += self.steps_per_epoch
        step = self._first + epoch.epoch
        if self.prunes and step not in self._reported:
            self.trial.report(self.course.latest, step)
        self._reported[step] = self.course.latest

    def _prune(self, step: int) -> None:
        if not self.prunes or step >= self.last or not self.trial.should_prune():
            return  # at the last step nothing is left to be saved
        pruner = type(self.trial.study.pruner).__name__
        epochs = "1 epoch" if step == 0 else f"{step + 1} epochs"
        reason = f"{pruner} after {epochs}: validation rSum {self.course.latest:.1f}"
        self.trial.set_user_attr("reason", reason)
        raise optuna.TrialPruned(reason)


def _repeat_a_step(scorer: Scorer, train: Split, validation: Split, spec: RunSpec) -> None:
    """What a training needs most memory for, on a copy: a step and the validation."""
    twin = copy.deepcopy(scorer)
    loop.training_step(twin, train, spec.training)(0)
    loop.validate(twin.eval(), validation, spec.evaluation.batch_size)
