"""Metrics that break one rule of the contract each on purpose."""

import numpy as np

from harness.metrics.reciprocal import ReciprocalRank

BROKEN: dict[str, list[type]] = {}


def breaks(rule):
    """Registers a double that the rule must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


@breaks("declared")
class SaysNothing(ReciprocalRank):
    description = ""


@breaks("declared")
class BoundsTheWrongWayRound(ReciprocalRank):
    lowest, highest = 100.0, 0.0


@breaks("shape")
class GivesTheMean(ReciprocalRank):
    def values(self, ranks, gallery):
        return super().values(ranks, gallery).mean()


@breaks("shape")
class DividesByTheGalleryLessOne(ReciprocalRank):
    def values(self, ranks, gallery):
        with np.errstate(all="ignore"):
            return 100.0 - 100.0 * ranks / np.float64(gallery - 1)


@breaks("bounds")
class LeavesItsBounds(ReciprocalRank):
    highest = 99.0


@breaks("direction")
class MeanRankThatShouldBeHigh(ReciprocalRank):
    def values(self, ranks, gallery):
        return 100.0 * ranks / gallery


@breaks("direction")
class SameForAll(ReciprocalRank):
    def values(self, ranks, gallery):
        return np.full(len(ranks), 100.0)


@breaks("perfect")
class NeverQuiteHundred(ReciprocalRank):
    def values(self, ranks, gallery):
        return 0.9 * super().values(ranks, gallery)


@breaks("each_alone")
class CentresTheQueries(ReciprocalRank):
    def values(self, ranks, gallery):
        found = super().values(ranks, gallery)
        return found - found.mean() / 2


@breaks("deterministic")
class Draws(ReciprocalRank):
    def values(self, ranks, gallery):
        return super().values(ranks, gallery) * np.random.default_rng().random()


@breaks("inputs_kept")
class CountsInPlace(ReciprocalRank):
    def values(self, ranks, gallery):
        ranks += 1
        return 100.0 / ranks
