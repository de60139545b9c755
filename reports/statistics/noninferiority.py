"""Whether a method is no worse than another by more than a margin: one-sided, with the image as the unit.

The lower end of a one-sided interval of A minus B decides. A test at that end passes at most 1 - confidence of methods that
are worse by exactly the margin (docs/calibration.md). Failing has two reasons, which are told apart: A is shown to be worse
than the margin allows, or the data do not say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from harness.reports.statistics.checks import number
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.joint import Hypotheses
from harness.reports.statistics.power import Part, images_needed, minimum_detectable, power_at
from harness.reports.statistics.refusals import Claim, aligned, check_seeds, default_claim, refuse_few_images
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.settings import pair_hypotheses
from harness.reports.statistics.variance import VarianceSplit, clustered_variance, combine

Outcome = Literal["non-inferior", "worse", "not enough evidence"]


@dataclass(frozen=True)
class NonInferiority:
    """A minus B against a margin; points of the metric."""

    metric: str
    claim: Claim
    min_delta: float  # the smallest difference that is accepted
    confidence: float  # of each end, one-sided
    a_score: float
    b_score: float
    difference: float
    lower: float  # the difference is at least this with that confidence, as it is at most `upper`
    upper: float
    variance: VarianceSplit
    p: float  # one-sided, of a true difference of `min_delta`
    images: int
    seeds: tuple[int, int]  # numbers of A and B
    same_answers: bool  # every seed ranks every query alike: A is B, whatever is claimed
    pass_if_equal: float | None  # chance that equal methods pass; None where the margin does not allow it
    detectable: float  # the margin with which equal methods pass in 80 %
    images_needed: float  # for that at `min_delta`; infinite where the seeds vary too much, or no margin is left

    @property
    def outcome(self) -> Outcome:
        """Passed, or why not."""
        if self.lower >= self.min_delta:
            return "non-inferior"
        return "worse" if self.upper < self.min_delta else "not enough evidence"


def non_inferiority(
    a: MethodRuns,
    b: MethodRuns,
    *,
    min_delta: float,
    metric: str = "rsum",
    claim: Claim | None = None,
    confidence: float = 0.95,
) -> NonInferiority:
    """Decide whether A is no worse than B by more than a margin.

    Args:
        a, b: two methods that answered the same queries; numbers of seeds may differ.
        min_delta: smallest acceptable A minus B, in points; negative to allow a loss.
        metric: `rsum` or a recall such as `t2i_r1`.
        claim: None takes `method` where both have 3 seeds or more, else `checkpoint`.
        confidence: of the one-sided interval, above 0.5.

    Raises:
        InvalidComparison: one of its subclasses, see `refusals`.
        UnknownName: not a metric.

    Source:
        Non-inferiority as one of the two one-sided tests of Schuirmann (1987).
    """
    number(min_delta, "the smallest acceptable difference")
    alpha = 1.0 - number(confidence, "the confidence", above=0.5, below=1)
    ordered = aligned([a, b])
    size = len(ordered[0].image_ids)
    refuse_few_images(size)
    claim = claim or default_claim(ordered)
    check_seeds(ordered, claim, allow_unequal_seeds=True)
    columns = image_columns(ordered, [metric])
    pair: Hypotheses = pair_hypotheses([m.name for m in ordered], "all", 1)
    difference = float(pair.numerators(columns)[0].sum() * columns.scale[0])
    same = _same_answers(*ordered)
    seeds = [scores[:, 0] for scores in columns.seed_scores] if claim == "method" and not same else []
    df = size - int(columns.fold.max()) - 1
    split = combine(clustered_variance(pair.influence(columns)[0], columns.fold), df, seeds)
    reach = float(special.stdtrit(split.df, confidence)) * split.se
    parts = [Part(*part) for part in zip((split.images, *split.seeds), split.dfs, strict=True)]
    # A two-sided test at twice the level has the threshold of the one-sided one.
    twice = 2.0 * alpha
    return NonInferiority(
        metric=metric,
        claim=claim,
        min_delta=float(min_delta),
        confidence=float(confidence),
        a_score=float(columns.scores[0, 0]),
        b_score=float(columns.scores[1, 0]),
        difference=difference,
        lower=difference - reach,
        upper=difference + reach,
        variance=split,
        p=_one_sided(difference - min_delta, split),
        images=size,
        seeds=(len(a.seeds), len(b.seeds)),
        same_answers=same,
        pass_if_equal=power_at(-min_delta, parts, alpha=twice) if min_delta < 0 and split.total > 0 else None,
        detectable=minimum_detectable(split, alpha=twice),
        images_needed=images_needed(split, size, -min_delta, alpha=twice) if min_delta < 0 else math.inf,
    )


def _same_answers(a: MethodRuns, b: MethodRuns) -> bool:
    """Whether the same seeds gave the same ranks, as when nothing that matters changed between two trainings."""
    if sorted(a.seeds) != sorted(b.seeds):
        return False
    first, second = (np.argsort(runs.seeds, kind="stable") for runs in (a, b))
    return all(
        np.array_equal(getattr(a, f"{side}_ranks")[first], getattr(b, f"{side}_ranks")[second])
        for side in ("i2t", "t2i")
    )


def _one_sided(excess: float, split: VarianceSplit) -> float:
    if split.se == 0:
        return 0.0 if excess >= 0 else 1.0
    return float(special.stdtr(split.df, -excess / split.se))
