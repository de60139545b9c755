"""What a comparison returns: rows of differences, the families they were corrected in, warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnknownName
from harness.reports.statistics.corrections import Correction
from harness.reports.statistics.hits import primary_metric
from harness.reports.statistics.intervals import Equivalence
from harness.reports.statistics.queries import QueryDiagnostics
from harness.reports.statistics.refusals import Claim, Notice
from harness.reports.statistics.variance import VarianceSplit

Outcome = Literal["same answers", "A better", "B better", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Family:
    """Tests that are corrected together: m tests, all pairs on these metrics."""

    name: Literal["primary", "secondary", "exploratory"]
    metrics: tuple[str, ...]
    correction: Correction
    m: int


@dataclass(frozen=True)
class PairRow:
    """One difference, method a minus method b on one metric. Points are percent for recalls and 0 to 600 for rSum."""

    a: str
    b: str
    metric: str
    family: Family
    difference: float  # points, as all to `simultaneous_high`; the interval is difference ± t(df) se
    low: float
    high: float
    simultaneous_low: float  # holds for all of the family together (maxT); never narrower than the interval
    simultaneous_high: float
    p: float  # raw: sign flip for checkpoints, Satterthwaite t for methods
    p_adjusted: float  # after the family's correction; never below p
    p_cluster_t: float  # cross-check, from images alone
    significant: bool  # p_adjusted <= alpha
    wins: int  # images on which a scores more, as much, less than b
    ties: int
    losses: int
    diagnostics: QueryDiagnostics
    detectable: float  # points found with 80 % power at alpha, see `power`
    detectable_corrected: float  # at alpha / m
    target: float  # a difference worth finding, in points
    images_needed: float  # to find it at alpha / m
    variance: VarianceSplit
    equivalence: Equivalence | None  # if a margin was declared for the metric

    @property
    def se(self) -> float:
        """Standard error of the difference, in points."""
        return self.variance.se

    @property
    def df(self) -> float:
        """Degrees of freedom of the interval."""
        return self.variance.df

    @property
    def outcome(self) -> Outcome:
        """What was found, in two words."""
        if self.diagnostics.disagreement == 0.0:
            return "same answers"
        if self.significant and self.difference != 0.0:
            return "A better" if self.difference > 0 else "B better"
        return "equivalent" if self.equivalence is not None and self.equivalence.equivalent else "inconclusive"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All differences of one call, with what was declared and what to be warned of."""

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: NDArray[np.float64]  # (M, K) points, averaged over seeds
    seeds: tuple[int, ...]  # number of seeds of each method
    claim: Claim
    alpha: float
    resamples: int  # after raising
    seed: int
    images: int
    captions: int
    rows: tuple[PairRow, ...]  # pair by pair within metric by metric
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
