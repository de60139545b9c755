"""Fragments as int8 codes: each has one scale, by which its largest magnitude is 127.

Their products are sums of integers and hence exact; the scales of both sides are applied to the sums.

Shape letters: N items, F fragments, D width; m rows of a tile, P columns.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.packed.layout import Bucket

#: The extra (N, F) float32 that holds the scales of coded fragments.
SCALE = "int8_scale"
_LARGEST = 127


def coded(items: Fragments) -> Fragments:
    """Fragments (N, F, D) as codes, int8, with their scales among the extras.

    >>> items = coded(Fragments(torch.tensor([[[1.0, -0.5]]]), torch.ones(1, 1, dtype=torch.bool)))
    >>> items.features.tolist(), decoded(items).features.tolist()
    ([[[127, -64]]], [[[1.0, -0.5039370059967041]]])
    """
    features = items.features.float()
    scales = features.abs().amax(-1) / _LARGEST
    codes = (features / scales.clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round_().to(torch.int8)
    return Fragments.unchecked(codes, items.mask, {**items.extras, SCALE: scales})


def decoded(items: Fragments) -> Fragments:
    """Coded fragments as float32 ones, without the scales."""
    extras = dict(items.extras)
    features = items.features.float().mul_(extras.pop(SCALE)[..., None])
    return Fragments.unchecked(features, items.mask, extras)


def row_scales(parts: Iterable[Bucket]) -> Tensor:
    """Scales (m,) of the rows of a left tile, by item first."""
    return torch.cat([part.extras()[SCALE].flatten() for part in parts])


def column_scales(parts: Iterable[Bucket]) -> Tensor:
    """Scales (P,) of the columns of a right group, by position first."""
    return torch.cat([part.extras()[SCALE].T.flatten() for part in parts])


def rescaled(sums: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sums of products of codes (m, P) -> float32 similarities."""
    return sums.float().mul_(rows[:, None]).mul_(columns)
