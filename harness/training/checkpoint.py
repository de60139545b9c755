"""The checkpoint of a training: written after each epoch, and where a training that was stopped resumes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from harness.errors import RankFailed
from harness.files.writing import atomic_path
from harness.spec import canonical_json
from harness.training.state import Expected, TrainingResult, read_state
from harness.training.steps import Steps


class Checkpoint:
    """What has to be kept of a training, with the weights of its best epoch so far.

    Args:
        path: of the file; None = nothing is written or read.
        steps: of the training.
    """

    def __init__(self, path: Path | None, steps: Steps):
        self._path, self._steps = path, steps
        self.best: dict[str, Tensor] = {}

    def keep_best(self) -> None:
        """The weights are the best ones now."""
        scorer = self._steps.scorer
        self.best = {name: value.detach().cpu().clone() for name, value in scorer.state_dict().items()}

    def save(self, result: TrainingResult) -> None:
        """Write the file."""
        if self._path is None:
            return
        steps = self._steps
        state = {
            "training": self.identity,
            "scorer": steps.scorer.state_dict(),
            "optimizer": steps.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": result.best_epoch,
            "step": steps.step,
            "history": [epoch.model_dump() for epoch in result.history],
            "product": steps.product.described,
            "step_samples": steps.timer.samples,
            "wait_samples": steps.wait_timer.samples,
        }
        with atomic_path(self._path) as temporary:
            torch.save(state, temporary)

    def resume(self) -> TrainingResult:
        """Take up the file if it is whole and of this training; else start anew, which costs time only.

        Raises:
            RankFailed: the processes that train together do not read the same file.
        """
        steps = self._steps
        state = read_state(self._path, self.expected, steps.device) if self._path is not None else None
        if not steps.ranks.agreed(len(state.history) if state is not None else 0):
            raise RankFailed("the processes of the run do not read the same checkpoint; call the command again")
        if state is None:
            return TrainingResult()
        steps.scorer.load_state_dict(state.scorer)
        steps.optimizer.load_state_dict(state.optimizer)
        self.best, steps.step, steps.product = state.best, state.step, state.product
        steps.timer.samples, steps.wait_timer.samples = state.step_samples, state.wait_samples
        return TrainingResult(state.history, state.best_epoch, steps.step)

    @property
    def identity(self) -> str:
        """Settings and seed of this training, which its checkpoint must be of."""
        return canonical_json({**self._steps.spec.identity, "seed": self._steps.seed})

    @property
    def expected(self) -> Expected:
        """What a checkpoint of this training must agree with."""
        steps = self._steps
        return Expected(
            self.identity,
            steps.scorer.state_dict(),
            steps.optimizer.state_dict(),
            [parameter.shape for group in steps.optimizer.param_groups for parameter in group["params"]],
            steps.spec.epochs,
            steps.steps_per_epoch,
        )
