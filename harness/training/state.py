"""The checkpoint of a training in progress: read back only if it is whole and of this very training."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.files.reading import Damaged, require_file
from harness.files.writing import set_aside

logger = logging.getLogger(__name__)

KEYS = {"training", "scorer", "optimizer", "best", "best_epoch", "step", "history", "step_samples"}
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam and AdamW
_EPOCH = {"epoch", "losses", "validation", "learning_rate", "seconds"}


@dataclass(frozen=True)
class Expected:
    """What a checkpoint of this training must agree with.

    Args:
        training: its settings and seed, as one text.
        scorer: state dict of the model.
        optimizer: state dict of the new optimizer.
        shapes: of the parameters, in the optimizer's order.
        epochs: of the whole training.
        steps_per_epoch: optimizer steps.
    """

    training: str
    scorer: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    shapes: Sequence[torch.Size]
    epochs: int
    steps_per_epoch: int


def read_state(path: Path, expected: Expected, device: torch.device) -> dict[str, Any] | None:
    """The state in a checkpoint; None, with a line that says why, where the training has to start anew.

    Args:
        path: of the file; it need not exist.
        expected: what it must agree with.
        device: where its tensors go.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        require_file(path)
        state = _load(path, device)
        check_state(state, expected)
    except Damaged as error:
        logger.warning("%s is not used, the training starts anew: %s", path, error)
        if not path.is_file():
            set_aside(path, error)  # else the next one could not be written
        return None
    return state


def check_state(state: Any, expected: Expected) -> None:
    """Refuse a state that is not of this training.

    Raises:
        Damaged: what is wrong.
    """
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        lacking = sorted(KEYS - state.keys()) if isinstance(state, dict) else sorted(KEYS)
        raise Damaged(f"it lacks {', '.join(lacking)}")
    if state["training"] != expected.training:
        raise Damaged("it is of other training settings or another seed")
    _check_tensors("scorer", state["scorer"], expected.scorer)
    _check_tensors("best", state["best"], expected.scorer)
    _check_optimizer(state["optimizer"], expected)
    _check_history(state, expected)


def _load(path: Path, device: torch.device) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a damaged file makes of torch's reader
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None


def _check_tensors(what: str, found: Any, expected: Mapping[str, Tensor]) -> None:
    if not isinstance(found, dict) or found.keys() != expected.keys():
        raise Damaged(f"its {what} has other parameters than this model")
    for name, tensor in expected.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise Damaged(f"its {what} has another {name} than this model")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise Damaged(f"its {what} has values of {name} that are not finite")


def _check_optimizer(found: Any, expected: Expected) -> None:
    wrong = Damaged("its optimizer is not that of this training")
    template = expected.optimizer["param_groups"]
    if not isinstance(found, dict) or found.keys() != {"state", "param_groups"} or not isinstance(found["state"], dict):
        raise wrong
    if not isinstance(found["param_groups"], list) or len(found["param_groups"]) != len(template):
        raise wrong
    for group, like in zip(found["param_groups"], template, strict=True):
        # The learning rate changes from step to step, all else stays.
        if not isinstance(group, dict) or group.keys() != like.keys():
            raise wrong
        if any(group[key] != value for key, value in like.items() if key != "lr"):
            raise wrong
        if not _is_number(group["lr"]):
            raise wrong
    for number, moments in found["state"].items():
        if number not in range(len(expected.shapes)) or not isinstance(moments, dict) or moments.keys() != _MOMENTS:
            raise wrong
        if not all(isinstance(value, Tensor) and bool(torch.isfinite(value).all()) for value in moments.values()):
            raise wrong
        if any(moments[name].shape != expected.shapes[number] for name in ("exp_avg", "exp_avg_sq")):
            raise wrong


def _check_history(state: Mapping[str, Any], expected: Expected) -> None:
    history, best, step = state["history"], state["best_epoch"], state["step"]
    if not isinstance(history, list) or not 1 <= len(history) <= expected.epochs:
        raise Damaged("its history is not of this training")
    for number, epoch in enumerate(history):
        whole = isinstance(epoch, dict) and epoch.keys() == _EPOCH and epoch["epoch"] == number
        if not whole or not all(isinstance(epoch[key], dict) for key in ("losses", "validation")):
            raise Damaged(f"its history is damaged at epoch {number}")
        numbers = [epoch["learning_rate"], epoch["seconds"], *epoch["losses"].values(), *epoch["validation"].values()]
        if "rsum" not in epoch["validation"] or not all(map(_is_number, numbers)):
            raise Damaged(f"its history is damaged at epoch {number}")
    course = [epoch["validation"]["rsum"] for epoch in history]
    if type(best) is not int or best != course.index(max(course)):
        raise Damaged("its best epoch is not that of its history")
    if type(step) is not int or step != len(history) * expected.steps_per_epoch:
        raise Damaged("its steps are not those of its history")
    if not isinstance(state["step_samples"], list) or not all(map(_is_number, state["step_samples"])):
        raise Damaged("its step times are damaged")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
