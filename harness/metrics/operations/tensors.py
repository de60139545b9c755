"""Counting in torch, on the device of the scores. `harness.metrics.operations.arrays` says what each function does."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.metrics.operations import arrays


def home(values: Tensor) -> object:
    return values.device


def moved(array: np.ndarray, beside: Tensor) -> Tensor:
    return torch.from_numpy(array).to(beside.device)


def as_array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def as_type_of(values: Tensor, scores: Tensor) -> Tensor:
    return values.to(scores.dtype)


def true_places(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)


def distinct(values: Tensor) -> Tensor:
    return torch.unique(values)


def finite(scores: Tensor) -> Tensor:
    return torch.isfinite(scores)


def selected(mask: Tensor, values: Tensor | float, others: Tensor | float) -> Tensor:
    return torch.where(mask, values, others)


def true_counts(mask: Tensor) -> Tensor:
    return mask.sum(1)


def rising(scores: Tensor) -> Tensor:
    """On a processor numpy's sort is many times as fast; half precision becomes float32, exactly."""
    scores = comparable(scores)
    if scores.device.type != "cpu":
        return scores.sort(1).values
    return torch.from_numpy(arrays.rising(scores.numpy()))


def places_in(rising: Tensor, thresholds: Tensor, right: bool) -> Tensor:
    return torch.searchsorted(rising, thresholds, right=right)


def comparable(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def maxima(scores: Tensor) -> Tensor:
    return scores.amax(1)


def minima(scores: Tensor) -> Tensor:
    return scores.amin(1)


def doubled(scores: Tensor) -> Tensor:
    return scores.double()


def repeated(items: Tensor, rows: int) -> Tensor:
    return items.expand(rows, -1)


def joined(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat([left, right], 1)


def taken(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places)


def rising_order(values: Tensor) -> Tensor:
    return values.argsort(1)


def falling_order(values: Tensor) -> Tensor:
    return values.argsort(dim=1, descending=True, stable=True)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """On a processor numpy's partition takes half as long as torch's selection, above all of few items."""
    if scores.device.type != "cpu":
        values, places = scores.topk(count + 1, dim=1)
        return values[:, :count], places[:, :count], values[:, count]
    found = arrays.largest(scores.numpy(), count)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1]), torch.from_numpy(found[2])


def lowest(rows: Tensor, count: int) -> Tensor:
    return rows.topk(count, dim=1, largest=False).values
