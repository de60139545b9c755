"""Compare methods on one dataset and protocol: the one call behind leaderboards, ablations and significance reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import counted
from harness.reports.statistics.corrections import Correction, adjust, checked_resamples
from harness.reports.statistics.hits import METRICS, ImageColumns, image_columns
from harness.reports.statistics.hubs import hub_notices
from harness.reports.statistics.intervals import t_interval, t_p_value, tost
from harness.reports.statistics.joint import Hypotheses, resample
from harness.reports.statistics.power import images_needed, minimum_detectable
from harness.reports.statistics.queries import QueryHits
from harness.reports.statistics.refusals import Claim, Notice, aligned, check_seeds, refuse_few_images, warnings_for
from harness.reports.statistics.results import Comparison, Family, PairRow
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.settings import (
    RECALL_TARGET,
    RSUM_TARGET,
    Pairs,
    Settings,
    check_choices,
    checked_margins,
    checked_metrics,
    declared_families,
    pair_hypotheses,
)
from harness.reports.statistics.telling import Tell, silent, told
from harness.reports.statistics.variance import SeedDraws, VarianceSplit, clustered_variance, combine


@dataclass(frozen=True, eq=False)
class Estimate:
    """One difference before it is tested: method `first` minus `second` (rows in the methods) on a metric."""

    first: int
    second: int
    metric: str
    units: NDArray[np.int64]  # (N,) whole differences of the images
    difference: float  # points
    split: VarianceSplit
    df_images: int  # degrees of freedom of the images alone

    @property
    def t(self) -> float:
        """|difference| over its standard error."""
        return abs(self.difference) / self.split.se if self.split.se > 0 else math.inf if self.difference else 0.0


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
    allow_unequal_seeds: bool = False,
    tell: Tell = silent,
) -> Comparison:
    """Compare methods that answered the same queries, with the image as the unit.

    Families: the primary metric (rSum if asked for, else the first) with `correction`; all other metrics together by
    step-down maxT, the secondary family. With `bh` everything is one exploratory family.

    Args:
        methods: M >= 2 methods on one dataset and protocol.
        metrics: `rsum`, recalls such as `t2i_r1`.
        claim: `checkpoint` for these trained models, `method` for the methods retrained (3 seeds or more).
        correction: of the primary family: `holm`, `maxt` or `bh`.
        alpha: family-wise level (or false discovery rate).
        resamples: rows of signs; raised until alpha (R + 1) / m >= 10 where p-values are counted among them and corrected
            for m. Those of claims about methods are t's, whose size no resampling bounds.
        seed: of all resampling, 0 or more.
        equivalence: a margin in points for the primary metric, or one for each metric named.
        pairs: `all`, the name of a reference (every other method minus it), or named pairs.
        allow_unequal_seeds: accept methods with different numbers of seeds.
        tell: told of how far it is.

    Returns:
        The comparison; the same arguments give the same bits on any number of threads.

    Raises:
        InvalidComparison: one of its subclasses, see `errors` and `refusals`.
        UnknownName: a metric or a method that does not exist.
    """
    names = checked_metrics(metrics)
    check_choices(claim, correction, alpha, resamples, seed)
    ordered = aligned(methods)
    refuse_few_images(len(ordered[0].image_ids))
    check_seeds(ordered, claim, allow_unequal_seeds=allow_unequal_seeds)
    hypotheses = pair_hypotheses([m.name for m in ordered], pairs, len(names))
    families = declared_families(names, correction, len(hypotheses.metric) // len(names))
    primary = families[0].metrics[0]
    settings = Settings(claim, alpha, seed, checked_margins(equivalence, names, primary))
    for family in families:
        counted_among_resamples: Correction = family.correction if claim == "checkpoint" else "maxt"
        resamples = checked_resamples(resamples, family.m, alpha, counted_among_resamples)

    columns = image_columns(ordered, names)
    rows = _rows(ordered, columns, hypotheses, families, settings, resamples, tell)
    notices = (*warnings_for(ordered), *_concordance(rows), *hub_notices(columns, ordered, rows, primary))
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
        notices=notices,
    )


def _estimates(columns: ImageColumns, hypotheses: Hypotheses, settings: Settings) -> Iterator[Estimate]:
    numerators = hypotheses.numerators(columns)
    # From whole numbers, so that swapping a pair negates the difference to the last bit.
    differences = numerators.sum(axis=1) * columns.scale[hypotheses.metric]
    df = len(columns.fold) - int(columns.fold.max()) - 1
    indices = np.stack([hypotheses.first, hypotheses.second, hypotheses.metric], axis=1).tolist()
    for h, influence in enumerate(hypotheses.influence(columns)):
        a, b, k = indices[h]
        scores: list[NDArray[np.float64]] = []
        if settings.claim == "method":
            scores = [columns.seed_scores[a][:, k], columns.seed_scores[b][:, k]]
        split = combine(clustered_variance(influence, columns.fold), df, scores)
        yield Estimate(a, b, columns.metrics[k], numerators[h], float(differences[h]), split, df)


def _rows(
    methods: Sequence[MethodRuns],
    columns: ImageColumns,
    hypotheses: Hypotheses,
    families: Sequence[Family],
    settings: Settings,
    resamples: int,
    tell: Tell,
) -> tuple[PairRow, ...]:
    tell("resampling", 0, resamples)
    estimates = list(_estimates(columns, hypotheses, settings))
    members = [np.flatnonzero([e.metric in family.metrics for e in estimates]) for family in families]
    draws = None
    if settings.claim == "method":
        draws = SeedDraws(columns.seed_scores, np.random.SeedSequence([settings.seed, 1]))
    joint = resample(
        columns,
        hypotheses,
        members,
        t_observed=np.asarray([e.t for e in estimates]),
        alpha=settings.alpha,
        resamples=resamples,
        seed=settings.seed,
        draws=draws,
        progress=partial(tell, "resampling"),
    )
    raw = joint.p_flip
    if raw is None:
        raw = np.asarray([t_p_value(e.difference, e.split.se, e.split.df) for e in estimates])
    queries = QueryHits(methods, columns.metrics)
    rows: dict[int, PairRow] = {}
    for family, member, critical in zip(families, members, joint.critical, strict=True):
        # Drawn seed effects have lighter tails than Satterthwaite's t: without the raw p and the pair's own interval as
        # the least, a correction could make a claim about methods with few seeds look surer.
        maxt = np.maximum(joint.p_maxt, raw)[member]
        adjusted = maxt if family.correction == "maxt" else adjust(raw[member], family.correction)
        tests = list(zip(member.tolist(), adjusted.tolist(), strict=True))
        for h, p_adjusted in told(f"{family.name} tests", tests, tell):
            e = estimates[h]
            alone = _alone(e, family.m, settings)
            rows[h] = PairRow(
                a=methods[e.first].name,
                b=methods[e.second].name,
                metric=e.metric,
                family=family,
                p=float(raw[h]),
                p_adjusted=p_adjusted,
                significant=p_adjusted <= settings.alpha,
                simultaneous_low=min(e.difference - critical * e.split.se, alone["low"]),
                simultaneous_high=max(e.difference + critical * e.split.se, alone["high"]),
                diagnostics=queries.diagnose(e.first, e.second, e.metric, e.split.images),
                **alone,
            )
    return tuple(rows[h] for h in range(len(estimates)))


def _alone(e: Estimate, comparisons: int, settings: Settings) -> dict[str, Any]:
    """What follows from an estimate without the other ones."""
    low, high = t_interval(e.difference, e.split.se, e.split.df, settings.alpha)
    delta = settings.margins.get(e.metric)
    target = RSUM_TARGET if e.metric == "rsum" else RECALL_TARGET
    return {
        "difference": e.difference,
        "low": low,
        "high": high,
        "p_cluster_t": t_p_value(e.difference, math.sqrt(e.split.images), e.df_images),
        "wins": int((e.units > 0).sum()),
        "ties": int((e.units == 0).sum()),
        "losses": int((e.units < 0).sum()),
        "detectable": minimum_detectable(e.split, alpha=settings.alpha),
        "detectable_corrected": minimum_detectable(e.split, alpha=settings.alpha, comparisons=comparisons),
        "target": target,
        "images_needed": images_needed(e.split, len(e.units), target, alpha=settings.alpha, comparisons=comparisons),
        "variance": e.split,
        "equivalence": None
        if delta is None
        else tost(e.difference, e.split.se, e.split.df, delta, alpha=settings.alpha),
    }


def _concordance(rows: Sequence[PairRow]) -> list[Notice]:
    same = [f"{row.a} and {row.b} on {row.metric}" for row in rows if row.outcome == "same answers"]
    if not same:
        return []
    shown = "; ".join(same[:3]) + ("; ..." if len(same) > 3 else "")
    pairs = counted(len(same), "pair")
    return [Notice("no_discordance", f"No query tells {pairs} apart ({shown}): are the runs the same?")]
