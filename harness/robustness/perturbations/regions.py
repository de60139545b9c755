"""Perturbations of region features at five severities, as a worse detector would make them.

They know nothing of what the columns are: a detector's file does not say which of them are boxes, if any. So a box that is
part of a region's features is jittered like the rest of them, and moves with its region.

Randomness is the same at every severity of a picture: severity 3 drops the regions that severity 2 dropped, and more.

Shape letters: R regions of one picture, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.robustness.perturbations.severities import SEVERITIES

#: Raise it when a perturbation makes other features than before.
GENERATOR = 1

#: (R, D) floating point, the amount, and draws -> features of at least one region, of the same type.
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

_REPEATED = 4  # one in so many regions is found again and again


@dataclass(frozen=True)
class RegionPerturbation:
    """One kind of damage.

    Args:
        title: in a few words, for tables.
        unit: what an amount is.
        amounts: at severities 1 to 5.
        change: applies an amount.
    """

    title: str
    unit: str
    amounts: Sequence[float]
    change: Change

    def apply(self, features: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
        """Perturbed regions of one picture, at least one; the same ones at severity 0.

        Args:
            features: (R, D) floating point, real regions only, at least one.
            severity: 0 to 5.
            draws: the picture's own; give equal ones to every severity.
        """
        assert severity in (0, *SEVERITIES)
        return features if severity == 0 else self.change(features, self.amounts[severity - 1], draws)


def dropped(features: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """Without `amount` of the regions, and the rest in its order; one stays in any case.

    Where `amount` times R is no whole number, it is rounded up or down by chance, so that few regions lose as many on average.

    >>> dropped(np.arange(6.0)[:, None], 0.5, np.random.default_rng(0)).shape
    (3, 1)
    """
    count = len(features)
    gone = min(count - 1, math.floor(amount * count + draws.uniform()))
    return features[np.sort(draws.permutation(count)[gone:])]


def jittered(features: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """Independent Gaussian noise on every value, `amount` times the root mean square of the region's own values.

    An amount of 1 is as much noise as signal: the cosine with the features as they were is 0.71 then. The scale is that of
    each region by itself, so that it depends on no other region and on no other picture.
    """
    values = features.astype(np.float32)
    scale = np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=1, keepdims=True)).astype(np.float32)
    return (values + amount * scale * draws.standard_normal(values.shape, np.float32)).astype(features.dtype)


def duplicated(features: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """With `amount` times R copies at the end, all of them of one in four regions (at least one), each copied as often.

    A detector finds what is large or salient again and again; what averages over regions then hears of little else.
    """
    count = len(features)
    more = math.floor(amount * count + draws.uniform())
    chosen = draws.permutation(count)[: math.ceil(count / _REPEATED)]
    return np.concatenate([features, features[np.resize(chosen, more)]])


def shuffled(features: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """`amount` of the regions, at least two, at each other's places. What does not read their order does not change.

    >>> sorted(shuffled(np.arange(6.0)[:, None], 1.0, np.random.default_rng(0)).ravel().tolist())
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    places = draws.permutation(len(features))[: max(2, round(amount * len(features)))]
    moved = features.copy()
    moved[places] = features[np.roll(places, 1)]
    return moved


#: By name, in the order of tables.
REGION_PERTURBATIONS = {
    "dropped": RegionPerturbation("dropped regions", "regions dropped", (0.15, 0.3, 0.45, 0.6, 0.75), dropped),
    "jittered": RegionPerturbation("jittered regions", "noise to signal", (0.2, 0.4, 0.6, 0.8, 1.0), jittered),
    "duplicated": RegionPerturbation("duplicated regions", "copies per region", (0.2, 0.4, 0.6, 0.8, 1.0), duplicated),
    "shuffled": RegionPerturbation("shuffled regions", "regions moved", (0.2, 0.4, 0.6, 0.8, 1.0), shuffled),
}
