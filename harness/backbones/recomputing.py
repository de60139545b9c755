"""Gradient checkpointing: a tower computes its layers again in the backward pass, instead of keeping what they computed.

timm, open_clip and transformers each have a switch for it. Some models have the switch and ignore it, so what counts is
whether anything in the model is on afterwards.

Source:
    Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import nn

#: What layers call it that it is on for.
_FLAGS = ("grad_checkpointing", "gradient_checkpointing")


def can_recompute(tower: nn.Module) -> bool:
    """Whether a tower has layers that it can compute again.

    >>> can_recompute(nn.Linear(2, 2))
    False
    """
    with recomputing(tower):
        return _is_on(tower)


@contextmanager
def recomputing(tower: nn.Module) -> Iterator[None]:
    """For the duration of a block a tower keeps the inputs of its layers only; one that cannot stays as it is."""
    model = getattr(tower, "model", tower)
    _switch(model, True)
    try:
        yield
    finally:
        _switch(model, False)


def _switch(model: Any, on: bool) -> None:
    name = "enable" if on else "disable"
    if hasattr(model, "set_grad_checkpointing"):  # timm, open_clip
        with suppress(AssertionError):  # timm's models that cannot
            model.set_grad_checkpointing(on)
    elif getattr(model, "supports_gradient_checkpointing", False):  # transformers, by the name of its version
        kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        # The other way forgets gradients of layers whose inputs have none, as those of the first layer.
        options = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}} if on else {}
        getattr(model, f"{kind}_checkpointing_{name}")(**options)


def _is_on(model: nn.Module) -> bool:
    return any(getattr(module, flag, False) for module in model.modules() for flag in _FLAGS)
