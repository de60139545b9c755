"""The course of a training, and its checkpoint: read back only if it is complete and belongs to the same training."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor

from harness.files.reading import Damaged, require_file
from harness.files.writing import set_aside
from harness.measure.energy.meter import added_up, covers
from harness.spec import Spec
from harness.training.products.choice import Taken

logger = logging.getLogger(__name__)

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam and AdamW


class Epoch(Spec, strict=True):
    """What is known at the end of one epoch.

    Args:
        epoch: 0-based number.
        losses: mean of each loss term over the steps.
        validation: metrics of the validation split, as `harness.metrics.retrieval_metrics`.
        learning_rate: at the end of the epoch.
        seconds: training and validation together.
        watched: metrics of a split that is only watched; nothing is chosen by them.
        energy_wh: watt-hours of training and validation by what was measured, see `harness.measure.energy.meter`.
    """

    epoch: int
    losses: dict[str, float]
    validation: dict[str, float]
    learning_rate: float
    seconds: float
    watched: dict[str, float] = Field(default_factory=dict)
    energy_wh: dict[str, float] = Field(default_factory=dict)

    @field_validator("validation")
    @classmethod
    def _can_be_compared(cls, validation: dict[str, float]) -> dict[str, float]:
        if "rsum" not in validation:
            raise ValueError("rsum is missing")
        return validation


@dataclass
class TrainingResult:
    """The course of a training.

    Args:
        history: one entry per epoch.
        best_epoch: the epoch whose weights the scorer now holds; -1 if it was not trained.
        steps: optimiser steps done.
        step_ms: latency figures of a step, by name.
        devices: of a training on several, for the record: how many, which, and the memory of the first process.
        product: its matrix product, for the record; empty on a GPU.
    """

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    steps: int = 0
    step_ms: dict[str, float] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)
    product: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, float]:
        """Validation metrics of the best epoch; empty if the scorer was not trained."""
        return self.history[self.best_epoch].validation if self.history else {}

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.history)

    @property
    def energy(self) -> dict[str, float | str]:
        """Costs of the record: energy of all epochs, those before a resumption included; empty unless all were measured."""
        spent = added_up([epoch.energy_wh for epoch in self.history])
        return {"train_energy_wh": sum(spent.values()), "train_energy_covers": covers(spent)} if spent else {}


class Checkpoint(Spec, strict=True, arbitrary_types_allowed=True):
    """What a resumed training needs: its identity, the state dicts of models and optimizer, and its course."""

    training: str
    scorer: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor]
    best_epoch: int
    step: int
    history: list[Epoch]
    step_samples: list[float]
    wait_samples: list[float] = Field(default_factory=list)  # earlier versions did not measure it
    product: Taken = Taken()  # earlier versions had no other


@dataclass(frozen=True)
class Expected:
    """What a checkpoint must agree with: the identity of a training, its state dicts when new, and its length.

    `shapes` are those of the parameters in the optimizer's order.
    """

    training: str
    scorer: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    shapes: Sequence[torch.Size]
    epochs: int
    steps_per_epoch: int


def read_state(path: Path, expected: Expected, device: torch.device) -> Checkpoint | None:
    """The checkpoint in a file, its tensors on a device; None, with a line that says why, where it cannot be used."""
    if not path.exists() and not path.is_symlink():
        return None
    try:
        require_file(path)
        state = _load(path, device)
        _check(state, expected)
    except Damaged as error:
        logger.warning("%s is not used, the training starts anew: %s", path, error)
        if not path.is_file():
            set_aside(path, error)  # else the next one could not be written
        return None
    return state


def _load(path: Path, device: torch.device) -> Checkpoint:
    try:
        return Checkpoint.model_validate(torch.load(path, map_location=device, weights_only=True))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise Damaged(f"its {'.'.join(map(str, first['loc'])) or 'content'} is damaged: {first['msg']}") from None
    except Exception as error:  # whatever a damaged file makes of torch's reader
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None


def _check(state: Checkpoint, expected: Expected) -> None:
    """Refuse a state that is not of this training."""
    if state.training != expected.training:
        raise Damaged("it is of other training settings or another seed")
    _check_tensors("scorer", state.scorer, expected.scorer)
    _check_tensors("best", state.best, expected.scorer)
    if not _is_optimizer(state.optimizer, expected):
        raise Damaged("its optimizer is not that of this training")
    course = [epoch.validation["rsum"] for epoch in state.history]
    count = len(course)
    if not 1 <= count <= expected.epochs or [epoch.epoch for epoch in state.history] != list(range(count)):
        raise Damaged("its history is not of this training")
    if state.best_epoch != course.index(max(course)):
        raise Damaged("its best epoch is not that of its history")
    if state.step != count * expected.steps_per_epoch:
        raise Damaged("its steps are not those of its history")


def _check_tensors(what: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if found.keys() != expected.keys():
        raise Damaged(f"its {what} has other parameters than this model")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape or found[name].dtype != tensor.dtype:
            raise Damaged(f"its {what} has another {name} than this model")
        if not bool(torch.isfinite(found[name]).all()):
            raise Damaged(f"its {what} has values of {name} that are not finite")


def _is_optimizer(found: Mapping[str, Any], expected: Expected) -> bool:
    def is_of(number: int, moments: Mapping[str, Tensor]) -> bool:
        shape = dict(enumerate(expected.shapes))[number]
        finite = all(bool(torch.isfinite(moment).all()) for moment in moments.values())
        return (
            finite and moments.keys() == _MOMENTS and moments["exp_avg"].shape == moments["exp_avg_sq"].shape == shape
        )

    def lasting(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in group.items() if key != "lr"} for group in groups
        ]  # it changes by the step

    try:
        groups = found["param_groups"]
        return (
            found.keys() == {"state", "param_groups"}
            and lasting(groups) == lasting(expected.optimizer["param_groups"])
            and all(math.isfinite(group["lr"]) for group in groups)
            and all(is_of(*item) for item in found["state"].items())
        )
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):  # of whatever stands there instead
        return False
