"""Scores of many pairs in tiles of bounded size: sides that can be cut, and tiles that training recomputes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Side:
    """Tensors of the same items, each with leading N: what the pairs need of one side."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, index: slice | Tensor) -> Self:
        """The items at `index`."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))


def budget(chosen: int | None, by_device: dict[str, int], device: torch.device) -> int:
    """Largest number of elements of a tile: `chosen`, else what suits the device."""
    return chosen or by_device.get(device.type, by_device["cuda"])


def tile_scores(recompute: bool, scores: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """`scores(*arguments)`; with `recompute` its intermediate results are computed again in backward, not kept."""
    if recompute:
        return checkpoint(scores, *arguments, use_reentrant=False, preserve_rng_state=False)
    return scores(*arguments)
