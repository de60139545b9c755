"""From ranks to the second reading: posterior differences, probabilities and variances, beside the frequentist ones.

Images and captions are read with a prior under which one pair alone, without seeds, has exactly the cluster-t interval,
whoever else is compared: the covariance of the scores is inverse-Wishart with as many degrees of freedom per pair as the
images have. Method effects are flat, so posterior means are the observed differences. All that can differ from the
frequentist interval is how seeds are counted, see `model`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.reports.statistics.hierarchical.model import Diagnostics, seed_variances
from harness.reports.statistics.hierarchical.moments import Floats, Moments, moments
from harness.reports.statistics.refusals import MINIMUM_SEEDS, aligned
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.settings import RECALL_TARGET, RSUM_TARGET

#: Scores drawn for each draw of the seeds' variances; half of them mirror the other half, so that means are exact.
_SCORES_PER_DRAW = 4
#: The prior's scale of seeds is halved and doubled to see what it decides.
_SCALES = (1.0, 0.5, 2.0)
#: Points squared; one hit of one caption among a million adds more.
_NO_NOISE = 1e-10


@dataclass(frozen=True)
class PairReading:
    """One difference, a minus b, in points."""

    a: str
    b: str
    mean: float
    low: float  # equal-tailed interval of the posterior
    high: float
    p_a_better: float  # P(A > B)
    rope: float | None  # the declared margin
    p_in_rope: float | None  # P(-rope < difference < rope)
    equivalent: bool | None  # P(in ROPE) at least 1 - alpha
    width_narrow: float  # width of the interval with half the prior's scale of seeds
    width_wide: float  # with twice the scale
    images: float  # posterior median of the variance from images, captions apart, in points squared; may be negative
    captions: float | None  # from what differs between captions of an image
    seeds: float  # from seeds


@dataclass(frozen=True)
class MethodReading:
    """One method of the comparison."""

    method: str
    p_best: float
    seed_sd: float  # posterior median of the SD of one seed, in points, less its noise on images
    seed_sd_low: float
    seed_sd_high: float
    seed_sd_observed: float


@dataclass(frozen=True)
class SecondReading:
    """The whole second reading, or why it failed: then it has no pairs and no methods."""

    metric: str
    alpha: float
    seed_scale: float  # of the prior, in points
    seed: int
    diagnostics: tuple[Diagnostics, ...]  # of the fit, then of those with other priors
    pairs: tuple[PairReading, ...]
    methods: tuple[MethodReading, ...]
    failures: tuple[str, ...] = ()

    def of(self, a: str, b: str) -> PairReading:
        """The reading of a pair that was compared."""
        return next(pair for pair in self.pairs if (pair.a, pair.b) == (a, b))


def second_reading(
    methods: Sequence[MethodRuns],
    metric: str,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    margins: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> SecondReading:
    """Read a method claim by the hierarchical model.

    Args:
        methods: M >= 2 methods that answered the same queries.
        metric: `rsum` or a recall such as `t2i_r1`.
        pairs: the differences to report; all by default.
        margins: ROPE in points, by metric.
        alpha: 0.05 for 95 % intervals.
        seed: of all drawing.

    Raises:
        MissingPackage: NumPyro cannot be imported.
        InvalidComparison: methods that cannot be compared.
    """
    methods = aligned(methods)
    scale = RSUM_TARGET if metric == "rsum" else RECALL_TARGET
    names = [run.name for run in methods]
    few = [f"{run.name} has {len(run.seeds)}" for run in methods if len(run.seeds) < MINIMUM_SEEDS]
    if few:
        why = f"it is about methods and needs {MINIMUM_SEEDS} seeds of each ({', '.join(few)})"
        return SecondReading(metric, alpha, scale, seed, (), (), (), (why,))
    data = moments(methods, metric)
    wanted = list(pairs) if pairs is not None else list(itertools.combinations(names, 2))
    fits = _seed_fits(data, scale * np.asarray(_SCALES), seed)
    failures = tuple(dict.fromkeys(failure for _, found in fits for failure in found.failures))
    diagnostics = tuple(found for _, found in fits)
    if failures:
        return SecondReading(metric, alpha, scale, seed, diagnostics, (), (), failures)
    scores = [
        posterior_scores(data, seeds, np.random.default_rng([seed, number])) for number, (seeds, _) in enumerate(fits)
    ]
    place = {name: m for m, name in enumerate(names)}
    margin = (margins or {}).get(metric)
    found = [
        _pair(data, (a, b), (place[a], place[b]), scores, fits[0][0], alpha=alpha, margin=margin) for a, b in wanted
    ]
    return SecondReading(
        metric, alpha, scale, seed, diagnostics, tuple(found), _methods(data, names, scores[0], fits[0][0], alpha)
    )


def _seed_fits(data: Moments, scales: Floats, seed: int) -> list[tuple[Floats, Diagnostics]]:
    """Variances of the seeds (D, M) for each scale; 0 for methods whose seeds answer alike, which have nothing to pool."""
    vary = data.image_noise > _NO_NOISE
    if not vary.any():
        none = Diagnostics(1.0, math.inf, 0, 1000)
        return [(np.zeros((none.draws, len(vary))), none) for _ in scales]
    rounding = (100.0 / data.size) ** 2 / 12.0
    noise_df = data.images_df * (data.seeds - 1.0)
    fits = []
    for drawn, found in seed_variances(
        data.between[vary],
        data.image_noise[vary],
        data.seeds[vary].astype(np.float64),
        noise_df[vary].astype(np.float64),
        scales=scales,
        rounding=rounding,
        seed=seed,
    ):
        full = np.zeros((len(drawn), len(vary)))
        full[:, vary] = drawn
        fits.append((full, found))
    return fits


def posterior_scores(data: Moments, seeds: Floats, generator: np.random.Generator) -> Floats:
    """Posterior draws (D', M) of the scores, in points, given draws (D, M) of the variance of the seeds."""
    seeds = np.repeat(seeds, _SCORES_PER_DRAW // 2, axis=0)
    draws, size = seeds.shape
    values, vectors = np.linalg.eigh(data.images)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # singular where methods answer alike
    # Ω = root (W/ν)⁻¹ root' with W Wishart; W = L L' by Bartlett, whose degrees of freedom leave ν for every pair.
    factor = np.zeros((draws, size, size))
    for m in range(size):
        factor[:, m, m] = np.sqrt(generator.chisquare(data.images_df + size - 1 - m, draws))
        factor[:, m, :m] = generator.standard_normal((draws, m))
    normal = generator.standard_normal((draws, size))
    inverse = np.linalg.solve(factor.transpose(0, 2, 1), normal[..., None])[..., 0]
    images = math.sqrt(data.images_df) * inverse @ root.T
    shift = images + np.sqrt(seeds / data.seeds) * generator.standard_normal((draws, size))
    return np.concatenate([data.scores + shift, data.scores - shift])


def _pair(
    data: Moments,
    names: tuple[str, str],
    rows: tuple[int, int],
    scores: Sequence[Floats],
    seeds: Floats,
    *,
    alpha: float,
    margin: float | None,
) -> PairReading:
    a, b = rows
    draws = [own[:, a] - own[:, b] for own in scores]
    ends = [np.quantile(own, [alpha / 2, 1 - alpha / 2]).tolist() for own in draws]
    contrast = np.zeros(len(data.scores))
    contrast[a], contrast[b] = 1.0, -1.0
    total, captions = (float(contrast @ matrix @ contrast) for matrix in (data.images, data.captions))
    inside = None if margin is None else float((np.abs(draws[0]) < margin).mean())
    return PairReading(
        *names,
        mean=float(data.scores[a] - data.scores[b]),
        low=ends[0][0],
        high=ends[0][1],
        p_a_better=float((draws[0] > 0).mean() + 0.5 * (draws[0] == 0).mean()),
        rope=margin,
        p_in_rope=inside,
        equivalent=None if inside is None else inside >= 1.0 - alpha,
        width_narrow=ends[1][1] - ends[1][0],
        width_wide=ends[2][1] - ends[2][0],
        images=total - captions,
        captions=captions if data.captions_df else None,
        seeds=float(np.median(seeds[:, a] / data.seeds[a] + seeds[:, b] / data.seeds[b])),
    )


def _methods(
    data: Moments, names: Sequence[str], scores: Floats, seeds: Floats, alpha: float
) -> tuple[MethodReading, ...]:
    best = scores == scores.max(axis=1, keepdims=True)
    p_best = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    low, middle, high = np.sqrt(np.quantile(seeds, [alpha / 2, 0.5, 1 - alpha / 2], axis=0)).tolist()
    return tuple(
        MethodReading(name, float(p_best[m]), middle[m], low[m], high[m], math.sqrt(data.between[m]))
        for m, name in enumerate(names)
    )
