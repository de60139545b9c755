"""Compare methods on one dataset and protocol: the one call behind leaderboards, ablations and significance reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.corrections import Correction, adjust, checked_resamples
from harness.reports.statistics.equivalence import tost
from harness.reports.statistics.hits import METRICS, ImageColumns, image_columns
from harness.reports.statistics.hubs import hub_notices
from harness.reports.statistics.intervals import clustered_variance, t_interval, t_p_value
from harness.reports.statistics.joint import Hypotheses, resample
from harness.reports.statistics.method_claim import SeedDraws, VarianceSplit, combine
from harness.reports.statistics.power import images_needed, minimum_detectable
from harness.reports.statistics.queries import QueryHits
from harness.reports.statistics.refusals import Claim, Notice, aligned, check_images, check_seeds, warnings_for
from harness.reports.statistics.results import Comparison, Family, PairRow
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.settings import (
    Pairs,
    Settings,
    check_choices,
    checked_margins,
    checked_metrics,
    checked_targets,
    declared_families,
    pair_hypotheses,
)


@dataclass(frozen=True, eq=False)
class Estimates:
    """H differences in points with the variance of each, (H,) and H long."""

    hypotheses: Hypotheses
    numerators: NDArray[np.int64]
    differences: NDArray[np.float64]
    splits: Sequence[VarianceSplit]


def compare(
    methods: Sequence[MethodRuns],
    *,
    metrics: Sequence[str] = METRICS,
    claim: Claim = "checkpoint",
    correction: Correction = "holm",
    alpha: float = 0.05,
    resamples: int = 10_000,
    seed: int = 0,
    equivalence: float | Mapping[str, float] | None = None,
    pairs: Pairs = "all",
    targets: Mapping[str, float] | None = None,
    allow_unequal_seeds: bool = False,
    paired_seeds: bool = False,
    raise_resamples: bool = True,
) -> Comparison:
    """Compare methods that answered the same queries, with the image as the unit.

    Families: the primary metric (rSum if asked for, else the first) with `correction`; all other metrics together by
    step-down maxT, the secondary family. With `bh` everything is one exploratory family.

    Args:
        methods: M >= 2 methods on one dataset and protocol.
        metrics: `rsum`, recalls such as `t2i_r1`.
        claim: `checkpoint` for these trained models, `method` for the methods retrained (3 seeds or more).
        correction: of the primary family.
        alpha: family-wise level (or false discovery rate).
        resamples: rows of signs; raised until alpha (R + 1) / m >= 10.
        seed: of all resampling, 0 or more.
        equivalence: a margin in points for the primary metric, or one for each metric named.
        pairs: `all`, the name of a reference (every other method minus it), or named pairs.
        targets: metric to a difference worth finding, for `images_needed`; 5 rSum and 1 point of recall by default.
        allow_unequal_seeds: accept methods with different numbers of seeds.
        paired_seeds: seeds are paired across methods (same data order and initialisation), S - 1 degrees of freedom.
        raise_resamples: refuse instead of raising when False.

    Returns:
        The comparison; the same arguments give the same bits on any number of threads.

    Raises:
        InvalidComparison: one of its subclasses, see `errors` and `refusals`.
        UnknownName: a metric or a method that does not exist.
    """
    names = checked_metrics(metrics)
    check_choices(claim, correction, alpha, resamples, seed)
    ordered = aligned(methods)
    check_images(ordered)
    check_seeds(ordered, claim, allow_unequal_seeds=allow_unequal_seeds, paired_seeds=paired_seeds)
    hypotheses = pair_hypotheses([m.name for m in ordered], pairs, len(names))
    families = declared_families(names, correction, len(hypotheses.metric) // len(names))
    settings = Settings(
        claim=claim,
        correction=correction,
        alpha=alpha,
        seed=seed,
        margins=checked_margins(equivalence, names, families[0].metrics[0]),
        targets=checked_targets(targets, names),
        paired_seeds=paired_seeds,
    )
    for family in families:
        resamples = checked_resamples(resamples, family.m, alpha, family.correction, raise_to_need=raise_resamples)

    columns = image_columns(ordered, names)
    estimates = _estimate(columns, hypotheses, settings)
    rows = _test(ordered, columns, estimates, families, settings, resamples)
    return Comparison(
        methods=tuple(m.name for m in ordered),
        metrics=names,
        scores=columns.scores,
        seeds=tuple(len(m.seeds) for m in ordered),
        claim=claim,
        alpha=alpha,
        resamples=resamples,
        seed=seed,
        images=len(ordered[0].image_ids),
        captions=len(ordered[0].caption_ids),
        rows=rows,
        families=families,
        notices=(
            *warnings_for(ordered),
            *_concordance(rows),
            *hub_notices(columns, ordered, rows, families[0].metrics[0]),
        ),
    )


def _estimate(columns: ImageColumns, hypotheses: Hypotheses, settings: Settings) -> Estimates:
    numerators = hypotheses.numerators(columns)
    # From whole numbers, so that swapping a pair negates the difference to the last bit.
    differences = numerators.sum(axis=1) * columns.scale[hypotheses.metric]
    df = len(columns.fold) - int(columns.fold.max()) - 1
    splits = []
    for influence, a, b, k in zip(
        hypotheses.influence(columns), hypotheses.first, hypotheses.second, hypotheses.metric, strict=True
    ):
        scores: list[NDArray[np.float64]] = []
        if settings.claim == "method":
            scores = [columns.seed_scores[a][:, k], columns.seed_scores[b][:, k]]
            scores = [scores[0] - scores[1]] if settings.paired_seeds else scores
        splits.append(combine(clustered_variance(influence, columns.fold), df, scores))
    return Estimates(hypotheses, numerators, differences, splits)


def _test(
    methods: Sequence[MethodRuns],
    columns: ImageColumns,
    estimates: Estimates,
    families: Sequence[Family],
    settings: Settings,
    resamples: int,
) -> tuple[PairRow, ...]:
    splits, differences = estimates.splits, estimates.differences
    names = [columns.metrics[k] for k in estimates.hypotheses.metric]
    members = [np.flatnonzero([name in family.metrics for name in names]) for family in families]
    draws = None
    if settings.claim == "method":
        draws = SeedDraws(columns.seed_scores, settings.paired_seeds, np.random.SeedSequence([settings.seed, 1]))
    joint = resample(
        columns,
        estimates.hypotheses,
        members,
        t_observed=np.asarray([_t(float(d), split.se) for d, split in zip(differences, splits, strict=True)]),
        alpha=settings.alpha,
        resamples=resamples,
        seed=settings.seed,
        draws=draws,
    )
    raw = joint.p_flip
    if settings.claim == "method":
        raw = np.asarray([t_p_value(float(d), s.se, s.df) for d, s in zip(differences, splits, strict=True)])
    queries = QueryHits(methods, columns.metrics)
    rows: dict[int, PairRow] = {}
    for family, member, critical in zip(families, members, joint.critical, strict=True):
        adjusted = joint.p_maxt[member] if family.correction == "maxt" else adjust(raw[member], family.correction)
        for h, p_adjusted in zip(member.tolist(), adjusted.tolist(), strict=True):
            rows[h] = _row(
                methods, estimates, h, names[h], family, settings, queries, critical, float(raw[h]), p_adjusted
            )
    return tuple(rows[h] for h in range(len(names)))


def _t(difference: float, se: float) -> float:
    if se > 0:
        return abs(difference) / se
    return math.inf if difference else 0.0


def _row(
    methods: Sequence[MethodRuns],
    estimates: Estimates,
    h: int,
    metric: str,
    family: Family,
    settings: Settings,
    queries: QueryHits,
    critical: float,
    p: float,
    p_adjusted: float,
) -> PairRow:
    first, second = int(estimates.hypotheses.first[h]), int(estimates.hypotheses.second[h])
    split, difference, units = estimates.splits[h], float(estimates.differences[h]), estimates.numerators[h]
    images, folds = len(units), len(np.unique(methods[0].fold))
    low, high = t_interval(difference, split.se, split.df, settings.alpha)
    delta = settings.margins.get(metric)
    return PairRow(
        a=methods[first].name,
        b=methods[second].name,
        metric=metric,
        family=family,
        difference=difference,
        se=split.se,
        df=split.df,
        low=low,
        high=high,
        simultaneous_low=difference - critical * split.se,
        simultaneous_high=difference + critical * split.se,
        p=p,
        p_adjusted=p_adjusted,
        p_cluster_t=t_p_value(difference, math.sqrt(split.images), images - folds),
        significant=p_adjusted <= settings.alpha,
        wins=int((units > 0).sum()),
        ties=int((units == 0).sum()),
        losses=int((units < 0).sum()),
        diagnostics=queries.diagnose(first, second, metric, split.images),
        detectable=minimum_detectable(split.se, alpha=settings.alpha),
        detectable_corrected=minimum_detectable(split.se, alpha=settings.alpha, comparisons=family.m),
        target=settings.targets[metric],
        images_needed=images_needed(
            split, images, settings.targets[metric], alpha=settings.alpha, comparisons=family.m
        ),
        variance=split,
        equivalence=tost(difference, split.se, split.df, delta, alpha=settings.alpha) if delta is not None else None,
    )


def _concordance(rows: Sequence[PairRow]) -> list[Notice]:
    same = [f"{row.a} and {row.b} on {row.metric}" for row in rows if row.diagnostics.disagreement == 0.0]
    if not same:
        return []
    shown = "; ".join(same[:3]) + ("; ..." if len(same) > 3 else "")
    return [Notice("no_discordance", f"No query tells {len(same)} pairs apart ({shown}): are the runs the same?")]
