"""Scores of many pairs in tiles of bounded size: sides that can be cut, and tiles that training recomputes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

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


Left = TypeVar("Left", bound=Side)
Right = TypeVar("Right", bound=Side)


def budget(chosen: int | None, by_device: dict[str, int], device: torch.device) -> int:
    """Largest number of elements of a tile: `chosen`, else what suits the device."""
    return chosen or by_device.get(device.type, by_device["cuda"])


def scores_of_all_pairs(left: Left, right: Right, pairs: int, scores: Callable[[Left, Right], Tensor]) -> Tensor:
    """`scores` (i, t, ...) of the tiles of at most `pairs` pairs, put together to (I, T, ...).

    In training, several tiles are computed again in backward instead of being kept.
    """
    columns = max(1, min(len(right), pairs))
    rows = max(1, pairs // columns)
    recompute = torch.is_grad_enabled() and pairs < len(left) * len(right)
    strips = []
    for start in range(0, len(left), rows):
        strip = left[start : start + rows]
        tiles = (right[at : at + columns] for at in range(0, len(right), columns))
        strips.append(torch.cat([tile_scores(recompute, scores, strip, tile) for tile in tiles], 1))
    return torch.cat(strips)


def tile_scores(recompute: bool, scores: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """`scores(*arguments)`; with `recompute` its intermediate results are computed again in backward, not kept."""
    if recompute:
        return checkpoint(scores, *arguments, use_reentrant=False, preserve_rng_state=False)
    return scores(*arguments)
