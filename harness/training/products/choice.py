"""Which product a training takes: what its settings name, or the faster one of whole steps that are timed on request.

Products by different libraries differ in the last bit. Without a request nothing is timed; with one, the choice is made
once per training, goes into its checkpoint, so that a training that is resumed keeps it, and into the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import torch
from pydantic import Field

from harness.errors import InvalidSpec
from harness.spec import Spec, TrainingSpec
from harness.training.products import onednn

TORCH: Final = "torch"
ONEDNN: Final = "onednn"
TUNE: Final = "tune"
#: oneDNN replaces torch's product only where a step is faster by this factor: noise should not change numbers.
ADVANTAGE = 1.08
ROUNDS = 3


class Taken(Spec, strict=True):
    """The product of a training.

    Args:
        backend: "torch" or "onednn".
        step_ms: fastest step by each product, where they were timed.
    """

    backend: Literal["torch", "onednn"] = TORCH
    step_ms: dict[str, float] = Field(default_factory=dict)

    @property
    def described(self) -> dict[str, Any]:
        """For the record."""
        return {"backend": self.backend, **({"step_ms": self.step_ms} if self.step_ms else {})}

    def multiplying(self) -> AbstractContextManager[Any]:
        """A context in which it multiplies."""
        return onednn.OneDnnProducts() if self.backend == ONEDNN else nullcontext()


def named(spec: TrainingSpec, device: torch.device, processes: int = 1) -> Taken:
    """The product that the settings name, torch's until steps have been timed.

    Raises:
        InvalidSpec: it is not to be had on the device, or by that many processes.
    """
    asked = spec.product
    if asked == ONEDNN and device.type != "cpu":
        raise InvalidSpec(
            f"training.product is onednn, which multiplies on a CPU, and the device is {device}; set training.product=torch"
        )
    if asked == ONEDNN and not onednn.available():
        raise InvalidSpec(
            "training.product is onednn, which this build of torch does not have; set training.product=torch"
        )
    if asked == TUNE and processes > 1:
        raise InvalidSpec(
            f"training.product is tune, which times the steps of one process, and devices is {processes}; set "
            "training.product to torch or onednn"
        )
    return Taken(backend=ONEDNN if asked == ONEDNN else TORCH)


def tuned(device: torch.device, step_by: Callable[[str], Callable[[int], object]]) -> Taken:
    """The product by which a step is faster.

    Args:
        device: that the steps compute on; a GPU has torch's product alone.
        step_by: from a product to a step that takes it, on weights of its own.
    """
    if device.type != "cpu" or not onednn.available():
        return Taken()
    steps = {product: step_by(product) for product in (TORCH, ONEDNN)}
    seconds = dict.fromkeys(steps, float("inf"))
    with torch.random.fork_rng([]):
        for step in steps.values():  # loads libraries and fills caches
            step(0)
        for _ in range(ROUNDS):  # in turn: a passing load hits both
            for product, step in steps.items():
                started = time.perf_counter()
                step(0)
                seconds[product] = min(seconds[product], time.perf_counter() - started)
    faster = seconds[TORCH] > ADVANTAGE * seconds[ONEDNN]
    step_ms = {product: round(1000 * best, 2) for product, best in seconds.items()}
    return Taken(backend=ONEDNN if faster else TORCH, step_ms=step_ms)
