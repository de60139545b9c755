"""Methods compared on any scores: paired by picture, with the families of tests declared beforehand.

The engine is that of retrieval: whole numbers per picture, one sign matrix for all pairs and scores, claims about
checkpoints or about methods.

Shape letters: M methods, K scores, N pictures, H differences, G groups of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.corrections import Correction, adjust, checked_resamples
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.hits import ImageColumns
from harness.reports.statistics.intervals import t_interval, t_p_value
from harness.reports.statistics.joint import Hypotheses, resample
from harness.reports.statistics.outcomes.scores import Score
from harness.reports.statistics.power import minimum_detectable
from harness.reports.statistics.refusals import MINIMUM_SEEDS, Claim, refuse_few_images
from harness.reports.statistics.settings import check_choices
from harness.reports.statistics.variance import SeedDraws, VarianceSplit, clustered_variance, combine

#: Sums of absolute numerators stay below this many bits, so that they and their doubles are exact.
_BITS = 49
#: Fractions finer than this are rounded to `_BITS`.
_FINEST = 2**40
Outcome = Literal["same answers", "A higher", "B higher", "inconclusive"]


@dataclass(frozen=True)
class Subject:
    """A score that methods are compared on.

    Args:
        key: unique.
        scores: by method; a method without it is not compared on it.
        primary: whether it belongs to the primary family (Holm) or the secondary one (maxT).
    """

    key: str
    scores: Mapping[str, Score]
    primary: bool


@dataclass(frozen=True)
class Difference:
    """Method a minus method b on one score."""

    a: str
    b: str
    key: str
    family: Literal["primary", "secondary"]
    m: int  # tests of the family
    correction: Correction
    a_score: float
    b_score: float
    difference: float
    low: float
    high: float
    p: float  # raw: sign flip for checkpoints, Satterthwaite t for methods
    p_adjusted: float
    significant: bool
    wins: int  # pictures that add more to a, as much, less than to b
    ties: int
    losses: int
    detectable: float  # found with 80 % power at alpha / m
    variance: VarianceSplit

    @property
    def se(self) -> float:
        """Standard error of the difference."""
        return self.variance.se

    @property
    def outcome(self) -> Outcome:
        """What was found; a difference that is not significant is not called none."""
        if self.wins == self.losses == 0:
            return "same answers"
        if self.significant and self.difference:
            return "A higher" if self.difference > 0 else "B higher"
        return "inconclusive"


@dataclass(frozen=True)
class Declared:
    """What is declared before the scores are looked at."""

    pairs: Sequence[tuple[str, str]]  # every method pair to compare
    claim: Claim = "checkpoint"
    alpha: float = 0.05
    resamples: int = 10_000
    seed: int = 0


def compare_scores(subjects: Sequence[Subject], declared: Declared) -> tuple[Difference, ...]:
    """All differences of some pairs of methods on some scores, score by score.

    Args:
        subjects: K scores of the same N pictures.
        declared: pairs, claim and level.

    Raises:
        InvalidSetting: nothing to compare, or scores of different pictures.
        TooFewImages: fewer than 30 pictures.
        TooFewSeeds: a claim about methods of fewer than 2 seeds.
    """
    check_choices(declared.claim, "holm", declared.alpha, declared.resamples, declared.seed)
    named = [
        (a, b, k)
        for k, subject in enumerate(subjects)
        for a, b in declared.pairs
        if a in subject.scores and b in subject.scores
    ]
    if not named:
        raise InvalidSetting("a comparison needs two methods that have the same score, there are none")
    names = list(dict.fromkeys(name for a, b, _ in named for name in (a, b)))
    place = {name: number for number, name in enumerate(names)}
    first, second, metric = np.asarray([(place[a], place[b], k) for a, b, k in named], dtype=np.int64).T
    hypotheses = Hypotheses(first, second, metric)
    columns = columns_of(names, subjects)
    for subject in {k: subjects[k] for *_, k in named}.values():
        refuse_few_images(min(score.pictures for score in subject.scores.values()))
    return _differences(names, subjects, columns, hypotheses, declared)


def columns_of(names: Sequence[str], subjects: Sequence[Subject]) -> ImageColumns:
    """Scores as whole numbers per picture; zeros where a method has no score.

    Raises:
        InvalidSetting: scores of different pictures.
    """
    sizes = {score.influence.shape[1] for subject in subjects for score in subject.scores.values()}
    if len(sizes) != 1:
        raise InvalidSetting(f"scores must be of the same pictures, got {sorted(sizes)} of them")
    (size,) = sizes
    numerators = np.zeros((len(names), len(subjects), size), dtype=np.int64)
    scale = np.ones(len(subjects))
    # Pictures that have no part in a score add nothing to it, so that each set of pictures is a group of its own.
    groups: dict[bytes, NDArray[np.bool_]] = {}
    means: dict[tuple[int, int, bytes], float] = {}
    for k, subject in enumerate(subjects):
        own = {m: subject.scores[name] for m, name in enumerate(names) if name in subject.scores}
        scale[k] = _unit(list(own.values()))
        for m, score in own.items():
            numerators[m, k] = np.rint(score.parts / scale[k]).astype(np.int64)
            key = score.support.tobytes()
            groups.setdefault(key, score.support)
            means[m, k, key] = float(numerators[m, k].sum()) * scale[k] / score.pictures
    order = list(groups)
    group_means = np.zeros((len(names), len(subjects), len(order)))
    for (m, k, key), mean in means.items():
        group_means[m, k, order.index(key)] = mean
    return ImageColumns(
        metrics=tuple(subject.key for subject in subjects),
        numerators=numerators,
        scale=scale,
        groups=np.stack([groups[key] for key in order]).astype(np.int64),
        group_means=group_means,
        fold=np.zeros(size, dtype=np.int64),
        seed_scores=tuple(_seed_scores(name, subjects) for name in names),
    )


def _unit(scores: Sequence[Score]) -> float:
    """The value of 1 in whole numbers: the largest that all parts are multiples of, else a tiny power of two."""
    if not scores:
        return 1.0
    exact = math.lcm(*(score.denominator * len(score.values) for score in scores))
    if 0 < exact <= _FINEST:
        return 100.0 / exact
    largest = max(float(np.abs(score.parts).sum()) for score in scores)
    return 2.0 ** (math.ceil(math.log2(largest)) - _BITS) if largest > 0 else 1.0


def _seed_scores(name: str, subjects: Sequence[Subject]) -> NDArray[np.float64]:
    """(S, K) of each seed; 0 where the method has no score."""
    own = {k: subject.scores[name].values for k, subject in enumerate(subjects) if name in subject.scores}
    seeds = {len(values) for values in own.values()}
    if len(seeds) > 1:
        raise InvalidSetting(f"'{name}' has different numbers of seeds on different scores: {sorted(seeds)}")
    found = np.zeros((max(seeds, default=1), len(subjects)))
    for k, values in own.items():
        found[:, k] = values
    return found


def _differences(
    names: Sequence[str],
    subjects: Sequence[Subject],
    columns: ImageColumns,
    hypotheses: Hypotheses,
    declared: Declared,
) -> tuple[Difference, ...]:
    primary = np.asarray([subjects[k].primary for k in hypotheses.metric])
    families = [np.flatnonzero(primary), np.flatnonzero(~primary)]
    kinds: list[tuple[Literal["primary", "secondary"], Correction]] = [("primary", "holm"), ("secondary", "maxt")]
    resamples = declared.resamples
    for family, (_, correction) in zip(families, kinds, strict=True):
        if len(family):
            resamples = max(resamples, checked_resamples(resamples, len(family), declared.alpha, correction))
    splits = [_split(names, subjects, columns, hypotheses, h, declared.claim) for h in range(len(hypotheses.metric))]
    differences = hypotheses.numerators(columns).sum(axis=1) * columns.scale[hypotheses.metric]
    t = [abs(d) / s.se if s.se > 0 else math.inf if d else 0.0 for d, s in zip(differences, splits, strict=True)]
    about_methods = declared.claim == "method"
    joint = resample(
        columns,
        hypotheses,
        [family for family in families if len(family)],
        t_observed=np.asarray(t),
        alpha=declared.alpha,
        resamples=resamples,
        seed=declared.seed,
        draws=SeedDraws(columns.seed_scores, np.random.SeedSequence([declared.seed, 1])) if about_methods else None,
    )
    raw = joint.p_flip
    if raw is None:
        raw = np.asarray([t_p_value(float(d), s.se, s.df) for d, s in zip(differences, splits, strict=True)])
    rows: dict[int, Difference] = {}
    for family, (name, correction) in zip(families, kinds, strict=True):
        if not len(family):
            continue
        # The p of a claim about methods is that of another distribution than maxT's: a correction never lowers it.
        adjusted = np.maximum(joint.p_maxt, raw)[family] if correction == "maxt" else adjust(raw[family], correction)
        for h, p_adjusted in zip(family.tolist(), adjusted.tolist(), strict=True):
            rows[h] = Difference(
                family=name,
                m=len(family),
                correction=correction,
                p=float(raw[h]),
                p_adjusted=p_adjusted,
                significant=p_adjusted <= declared.alpha,
                detectable=minimum_detectable(splits[h], alpha=declared.alpha, comparisons=len(family)),
                **_alone(names, subjects, columns, hypotheses, h),
                **_bounds(float(differences[h]), splits[h], declared.alpha),
            )
    return tuple(rows[h] for h in range(len(rows)))


def _alone(
    names: Sequence[str], subjects: Sequence[Subject], columns: ImageColumns, hypotheses: Hypotheses, h: int
) -> dict[str, Any]:
    """What a difference is of, and on how many pictures which method has more."""
    a, b, k = (int(index[h]) for index in (hypotheses.first, hypotheses.second, hypotheses.metric))
    units = columns.numerators[a, k] - columns.numerators[b, k]
    return {
        "a": names[a],
        "b": names[b],
        "key": subjects[k].key,
        "a_score": subjects[k].scores[names[a]].mean,
        "b_score": subjects[k].scores[names[b]].mean,
        "wins": int((units > 0).sum()),
        "ties": int((units == 0).sum()),
        "losses": int((units < 0).sum()),
    }


def _bounds(difference: float, split: VarianceSplit, alpha: float) -> dict[str, Any]:
    low, high = t_interval(difference, split.se, split.df, alpha)
    return {"difference": difference, "low": low, "high": high, "variance": split}


def _split(
    names: Sequence[str],
    subjects: Sequence[Subject],
    columns: ImageColumns,
    hypotheses: Hypotheses,
    h: int,
    claim: Claim,
) -> VarianceSplit:
    a, b, k = (int(index[h]) for index in (hypotheses.first, hypotheses.second, hypotheses.metric))
    numerators = columns.numerators[a, k] - columns.numerators[b, k]
    influence = columns.influence(numerators, columns.group_means[a, k] - columns.group_means[b, k], k)
    # The sample are the pictures that have a part in this score, not all that others have.
    own = influence[subjects[k].scores[names[a]].support | subjects[k].scores[names[b]].support]
    images = clustered_variance(own, np.zeros(len(own), dtype=np.int64))
    seeds = [columns.seed_scores[m][:, k] for m in (a, b)] if claim == "method" else []
    return combine(images, len(own) - 1, seeds)


def default_claim(subjects: Sequence[Subject]) -> Claim:
    """The widest claim that every method has the seeds for."""
    seeds = [len(score.values) for subject in subjects for score in subject.scores.values()]
    return "method" if seeds and min(seeds) >= MINIMUM_SEEDS else "checkpoint"
