"""What the scoring engine may use in this process. The command line sets it; nothing here reads the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UnknownName

RULE, TUNE = "rule", "tune"
#: Backends of the matrix product; the functions are in `harness.similarity.packed.products`.
PRODUCTS = ("torch_mm", "aligned_mm", "float32_mm", "int8_mm", "onednn_prepacked", "mkl_prepacked")


@dataclass(frozen=True)
class Settings:
    """Settings of the engine.

    Args:
        product: "rule" = the fixed default of the device and the dtype; "tune" = the fastest of the candidates, timed
            once; or the name of a backend, taken where it is a candidate.
        fused: whether kernels of our own stand in for chains of torch's operations: fused ones on a GPU, and compiled
            ones on a CPU where numba is installed.

    Raises:
        UnknownName: no such product.

    >>> Settings(product="tune").fused
    True
    """

    product: str = RULE
    fused: bool = True

    def __post_init__(self) -> None:
        if self.product not in (RULE, TUNE, *PRODUCTS):
            raise UnknownName("matrix product", self.product, (RULE, TUNE, *PRODUCTS))


_current = Settings()


def current() -> Settings:
    """The settings of this process."""
    return _current


def use(settings: Settings) -> None:
    """Set the settings of this process."""
    global _current
    _current = settings


@contextmanager
def using(**changes: Any) -> Iterator[None]:
    """Some settings changed within a block."""
    before = _current
    use(replace(before, **changes))
    try:
        yield
    finally:
        use(before)
