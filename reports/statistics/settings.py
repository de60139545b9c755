"""What a caller of `compare` declares before the data are looked at, checked and spelled out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.errors import UnknownName
from harness.reports.statistics.checks import level, resample_count, whole
from harness.reports.statistics.corrections import Correction, checked_correction
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.hits import components, primary_metric
from harness.reports.statistics.intervals import checked_bound
from harness.reports.statistics.joint import Hypotheses
from harness.reports.statistics.refusals import Claim
from harness.reports.statistics.results import Family

# Differences worth finding, in points, for which the images needed are stated.
RSUM_TARGET, RECALL_TARGET = 5.0, 1.0
Pairs = Literal["all"] | str | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Settings:
    """The declared part of a comparison; see `compare` for the meaning of each field."""

    claim: Claim
    alpha: float
    seed: int
    margins: Mapping[str, float]  # of equivalence, by metric


def checked_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics as a tuple, each known and named once."""
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not names or len(set(names)) < len(names):
        raise InvalidSetting(f"metrics must name at least one metric and each once, got {list(names)}")
    for name in names:
        components(name)
    return names


def check_choices(claim: str, correction: str, alpha: float, resamples: int, seed: int) -> None:
    """Refuse a setting outside its range."""
    if claim not in get_args(Claim):
        raise InvalidSetting(f"claim must be checkpoint or method, got '{claim}'")
    checked_correction(correction)
    level(alpha, below=0.5)
    resample_count(resamples)
    whole(seed, "the seed of the resampling")


def pair_hypotheses(names: Sequence[str], pairs: Pairs, metrics: int) -> Hypotheses:
    """Index the pairs: metric by metric, pair by pair within."""
    place = {name: i for i, name in enumerate(names)}
    if isinstance(pairs, str) and pairs == "all":
        chosen = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    elif isinstance(pairs, str):
        reference = _known("method", pairs, place)
        chosen = [(i, place[reference]) for i in range(len(names)) if i != place[reference]]
    else:
        if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
            raise InvalidSetting(f"pairs must be 'all', a reference's name or pairs of names, got {list(pairs)!r:.80}")
        chosen = [(place[_known("method", a, place)], place[_known("method", b, place)]) for a, b in pairs]
    unordered = {frozenset(pair) for pair in chosen}
    if not chosen or len(unordered) < len(chosen) or any(len(pair) < 2 for pair in unordered):
        raise InvalidSetting("pairs must name at least one pair, each of two different methods and each pair once")
    first, second = np.asarray(chosen, dtype=np.int64).T
    return Hypotheses(
        np.tile(first, metrics), np.tile(second, metrics), np.repeat(np.arange(metrics, dtype=np.int64), len(chosen))
    )


def declared_families(metrics: tuple[str, ...], correction: Correction, pairs: int) -> tuple[Family, ...]:
    """Primary and secondary family, or one exploratory family for Benjamini-Hochberg."""
    if correction == "bh":
        return (Family("exploratory", metrics, "bh", pairs * len(metrics)),)
    primary = primary_metric(metrics)
    rest = tuple(name for name in metrics if name != primary)
    secondary = (Family("secondary", rest, "maxt", pairs * len(rest)),) if rest else ()
    return (Family("primary", (primary,), correction, pairs), *secondary)


def checked_margins(
    equivalence: float | Mapping[str, float] | None, metrics: Sequence[str], primary: str
) -> dict[str, float]:
    """Equivalence margins by metric; a bare number is the primary metric's."""
    if equivalence is None:
        return {}
    given = equivalence if isinstance(equivalence, Mapping) else {primary: equivalence}
    return {_known("metric", name, metrics): checked_bound(delta, name) for name, delta in given.items()}


def _known(kind: str, name: str, names: Collection[str]) -> str:
    if name not in names:
        raise UnknownName(kind, name, names)
    return name
