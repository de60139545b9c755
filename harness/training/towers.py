"""How towers compute while they are trained: with less memory, or compiled. Their parameters and names stay the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch

from harness.backbones.base import Encoder
from harness.backbones.recomputing import recomputing
from harness.errors import InvalidSpec
from harness.scorer import Scorer
from harness.spec import TrainingSpec

#: Any of these makes what `torch.compile` writes for a CPU; for a GPU it makes what launches the kernels.
COMPILERS = ("g++", "clang++", "c++", "cl")


@contextmanager
def training_towers(scorer: Scorer, spec: TrainingSpec) -> Iterator[None]:
    """The towers of a scorer as a training has them; afterwards they are as before."""
    with ExitStack() as stack:
        for setting, changed in _CHANGES.items():
            if getattr(spec, setting):
                for encoder in scorer.encoders:
                    stack.enter_context(changed(encoder))
        yield


def require_compiler() -> None:
    """Refuse to compile where there is nothing to do it with.

    Raises:
        InvalidSpec: no C++ compiler is found.
    """
    if not any(map(shutil.which, COMPILERS)):
        raise InvalidSpec(
            "training.compile needs a C++ compiler, and none is found (g++ or clang++); install one, or set "
            "training.compile=false"
        )


@contextmanager
def _recomputing(encoder: Encoder) -> Iterator[None]:
    tower = encoder.tower_module()
    if tower is None or encoder.frozen:  # nothing is kept of it
        yield
        return
    with recomputing(tower):
        yield


@contextmanager
def _compiled(encoder: Encoder) -> Iterator[None]:
    core = encoder.core_module()
    if core is None:
        yield
        return
    require_compiler()
    # The method alone, in place of a module around the module: parameters keep their names.
    core.forward = torch.compile(core.forward)
    try:
        yield
    finally:
        del core.forward  # the class's is there again


_CHANGES: dict[str, Callable[[Encoder], AbstractContextManager[None]]] = {
    "gradient_checkpointing": _recomputing,
    "compile": _compiled,
}
