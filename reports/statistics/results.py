"""What a comparison returns: rows of differences, the families they were corrected in, warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnknownName
from harness.reports.statistics.corrections import Correction
from harness.reports.statistics.equivalence import Equivalence
from harness.reports.statistics.hits import primary_metric
from harness.reports.statistics.method_claim import VarianceSplit
from harness.reports.statistics.queries import QueryDiagnostics
from harness.reports.statistics.refusals import Claim, Notice


@dataclass(frozen=True)
class Family:
    """Tests that are corrected together.

    Attributes:
        name: `primary`, `secondary` or `exploratory`.
        metrics: the metrics whose pairs are in it.
        correction: holm, maxt or bh.
        m: number of tests.
    """

    name: Literal["primary", "secondary", "exploratory"]
    metrics: tuple[str, ...]
    correction: Correction
    m: int


@dataclass(frozen=True)
class PairRow:
    """One difference, method a minus method b on one metric. Points are percent for recalls and 0 to 600 for rSum.

    Attributes:
        a, b, metric: what is compared.
        family: its family, with the correction and m.
        difference, se, df, low, high: points; the interval is mean ± t(df) se.
        simultaneous_low, simultaneous_high: intervals that hold for all of the family together (maxT).
        p: raw, sign flip for checkpoints and Satterthwaite t for methods.
        p_adjusted: after the family's correction.
        p_cluster_t: cross-check, from images alone.
        significant: p_adjusted <= alpha.
        wins, ties, losses: images on which a scores more, as much, less than b.
        diagnostics: ICC, design effect, disagreement of queries.
        detectable, detectable_corrected: points found with 80 % power at alpha and at alpha / m.
        target, images_needed: a difference worth finding, and the images to find it at alpha / m.
        variance: images against seeds.
        equivalence: TOST, if a margin was declared for the metric.
    """

    a: str
    b: str
    metric: str
    family: Family
    difference: float
    se: float
    df: float
    low: float
    high: float
    simultaneous_low: float
    simultaneous_high: float
    p: float
    p_adjusted: float
    p_cluster_t: float
    significant: bool
    wins: int
    ties: int
    losses: int
    diagnostics: QueryDiagnostics
    detectable: float
    detectable_corrected: float
    target: float
    images_needed: float
    variance: VarianceSplit
    equivalence: Equivalence | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """All differences of one call, with what was declared and what to be warned of.

    Attributes:
        methods, metrics: names in the order given.
        scores: (M, K) points, averaged over seeds.
        seeds: number of seeds of each method.
        claim, alpha, resamples, seed: the settings; resamples after raising.
        images, captions: queries' counts.
        rows: pair by pair within metric by metric.
        families: as declared.
        notices: warnings.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: NDArray[np.float64]
    seeds: tuple[int, ...]
    claim: Claim
    alpha: float
    resamples: int
    seed: int
    images: int
    captions: int
    rows: tuple[PairRow, ...]
    families: tuple[Family, ...]
    notices: tuple[Notice, ...]

    @property
    def primary(self) -> str:
        """The metric that verdicts and rankings are about."""
        return primary_metric(self.metrics)

    def of_metric(self, metric: str) -> tuple[PairRow, ...]:
        """The rows of one metric, in the order of the pairs.

        Raises:
            UnknownName: the metric was not compared.
        """
        if metric not in self.metrics:
            raise UnknownName("metric", metric, self.metrics)
        return tuple(row for row in self.rows if row.metric == metric)

    def p_matrix(self, metric: str) -> NDArray[np.float64]:
        """(M, M) symmetric adjusted p-values; 1 on the diagonal and NaN for pairs that were not compared."""
        place = {name: i for i, name in enumerate(self.methods)}
        matrix = np.full((len(place), len(place)), np.nan)
        np.fill_diagonal(matrix, 1.0)
        for row in self.of_metric(metric):
            i, j = place[row.a], place[row.b]
            matrix[i, j] = matrix[j, i] = row.p_adjusted
        return matrix
