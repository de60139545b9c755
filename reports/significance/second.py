"""The section "A second reading": the hierarchical model beside the tests, pair by pair. Never the headline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.errors import counted
from harness.reports.document.model import Column, Section, Table
from harness.reports.document.text import fixed, interval, p_value
from harness.reports.significance.tables import NAMES
from harness.reports.statistics.hierarchical.reading import SecondReading
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.results import Comparison, PairRow

TITLE = "A second reading"


def sections(reading: SecondReading | None, comparison: Comparison) -> list[Section]:
    """The section, or nothing where nobody asked for it."""
    if reading is None:
        return []
    if reading.failures:
        why = f"No second reading of {metric_name(reading.metric)}: {'; '.join(reading.failures)}."
        return [Section(title=TITLE, sentences=[why, "The results above do not depend on it."])]
    rows = comparison.of_metric(reading.metric)
    return [
        Section(
            title=TITLE,
            sentences=_sentences(reading, rows),
            tables=[_pairs(reading, rows), _variances(reading, rows), _methods(reading)],
            reading=_reading(reading),
        )
    ]


def brief(reading: SecondReading | None, comparison: Comparison) -> list[Table | str]:
    """What a terminal shows of it."""
    found = sections(reading, comparison)
    shown: list[Table | str] = []
    for section in found:
        shown += ["", f"{TITLE}:", *section.sentences, *section.tables[:1]]
    return shown


def flat_values(reading: SecondReading | None, row: PairRow) -> dict[str, Any]:
    """The columns of the CSV for one row, empty for metrics that were not read a second time."""
    if reading is None:
        return {}
    pair = reading.of(row.a, row.b) if row.metric == reading.metric and not reading.failures else None
    keys = ("mean", "low", "high", "p_a_better", "p_in_rope")
    return {f"posterior_{key}": None if pair is None else getattr(pair, key) for key in keys}


def as_data(reading: SecondReading | None) -> dict[str, Any]:
    """What the JSON file holds of it."""
    return {} if reading is None else {"second_reading": asdict(reading)}


def _sentences(reading: SecondReading, rows: Sequence[PairRow]) -> list[str]:
    differ = []
    for row in rows:
        pair = reading.of(row.a, row.b)
        if (pair.low > 0 or pair.high < 0) != (row.low > 0 or row.high < 0):
            differ.append(f"{row.a} and {row.b}")
    ratios = [(pair.high - pair.low) / (row.high - row.low) for pair, row in _both(reading, rows) if row.high > row.low]
    spelled = " to ".join(dict.fromkeys((fixed(min(ratios), 2), fixed(max(ratios), 2)))) if ratios else "-"
    first = (
        f"A hierarchical Bayesian model reads the claim about the methods a second time, on {metric_name(reading.metric)}. Its "
        f"intervals are {spelled} times as wide as those of the tests."
    )
    if not differ:
        return [first, "No pair's uncorrected interval excludes 0 in one reading and includes it in the other."]
    return [
        first,
        f"The two disagree on whether the interval of one pair alone includes 0 for {counted(len(differ), 'pair')}: "
        f"{'; '.join(differ)}. The verdicts above stand.",
    ]


def _both(reading: SecondReading, rows: Sequence[PairRow]) -> list[tuple[Any, PairRow]]:
    return [(reading.of(row.a, row.b), row) for row in rows]


def _pairs(reading: SecondReading, rows: Sequence[PairRow]) -> Table:
    digits = decimals(reading.metric)
    shown = [
        {
            "a": pair.a,
            "b": pair.b,
            "mean": pair.mean,
            "mean_low": pair.low,
            "mean_high": pair.high,
            "better": _probability(pair.p_a_better),
            "rope": "" if pair.p_in_rope is None else f"±{pair.rope:g}: {_probability(pair.p_in_rope)}",
            "frequentist": interval(row.low, row.high, digits),
            "p": row.p,
            "tost": f"p {p_value(row.equivalence.p)}" if row.equivalence else "",
            "prior": f"{_ratio(pair.width_narrow, pair)} / {_ratio(pair.width_wide, pair)}",
        }
        for pair, row in _both(reading, rows)
    ]
    margins = any(pair.rope is not None for pair in reading.pairs)
    level = f"{100 * (1 - reading.alpha):g} %"
    columns = [
        *NAMES,
        Column("mean", "Posterior", "estimate", digits, help=f"mean and {level} interval, points"),
        Column("better", "P(A > B)", help="not corrected for the number of pairs"),
        *([Column("rope", "P(in ROPE)", help="that the difference lies within the declared margin")] if margins else []),
        Column("frequentist", "Tests' interval", help="of the pair alone, by the tests"),
        Column("p", "Raw p", "p"),
        *([Column("tost", "TOST", help="p of the two one-sided tests of equivalence")] if margins else []),
        Column("prior", "Prior ½ / 2", wide=True, help="width with half and with twice the prior's scale of seeds, "
               "over the width"),
    ]  # fmt: skip
    caption = f"{metric_name(reading.metric)} by the hierarchical model and by the tests"
    return Table(frame=pd.DataFrame(shown), columns=columns, caption=caption, key="posterior", for_paper=False)


def _variances(reading: SecondReading, rows: Sequence[PairRow]) -> Table:
    shown = [
        {
            **{key: getattr(pair, key) for key in ("a", "b", "images", "captions", "seeds")},
            "tests_images": row.variance.images,
            "tests_seeds": sum(row.variance.seeds),
        }
        for pair, row in _both(reading, rows)
    ]
    captions = any(pair.captions is not None for pair in reading.pairs)
    columns = [
        *NAMES,
        Column("images", "Images", "number", 2, group="Model", help="the image itself, and what its captions share"),
        *([Column("captions", "Captions", "number", 2, group="Model", help="what differs between captions of an "
                  "image")] if captions else []),
        Column("seeds", "Seeds", "number", 2, group="Model", help="posterior median, noise on images apart"),
        Column("tests_images", "Images", "number", 2, group="Tests", help="with their captions"),
        Column("tests_seeds", "Seeds", "number", 2, group="Tests", help="with the seeds' noise on images"),
    ]  # fmt: skip
    caption = "Variance of the differences in points squared, by the model and by the tests"
    return Table(frame=pd.DataFrame(shown), columns=columns, caption=caption, key="components", for_paper=False)


def _methods(reading: SecondReading) -> Table:
    shown = [
        {
            "method": one.method,
            "best": _probability(one.p_best),
            "interval": f"{fixed(one.seed_sd, 1)} {interval(one.seed_sd_low, one.seed_sd_high, 1)}",
            "observed": one.seed_sd_observed,
        }
        for one in reading.methods
    ]
    columns = [
        Column("method", "Method"),
        Column("best", "P(best)", help="posterior probability of the highest score among these methods"),
        Column("interval", "Seed SD", help="posterior median and interval, points"),
        Column("observed", "Observed", "number", 1, help="SD of the seeds' scores, noise on images included"),
    ]
    caption = "P(best) and seed SD of each method"
    return Table(frame=pd.DataFrame(shown), columns=columns, caption=caption, key="best", for_paper=False)


def _reading(reading: SecondReading) -> list[str]:
    worst = max(one.r_hat for one in reading.diagnostics)
    least = min(one.ess for one in reading.diagnostics)
    return [
        "P(A > B) is the posterior probability that A scores higher on new images and with new seeds; it is not 1 − p and is "
        "not corrected for the number of pairs. P(best) compares these methods only, under a flat prior on their scores.",
        f"Seeds: half-t(3) prior with scale {reading.seed_scale:g} points on the common SD, log-normal pooling over methods "
        "(SD 0.5). Noise of a seed on images is told apart from the seed's effect; the tests count it in both parts.",
        f"Diagnostics, worst of {len(reading.diagnostics)} fits: R-hat {worst:.3f}, effective sample size "
        f"{'unlimited' if least == float('inf') else fixed(least, 0)}, "
        f"{sum(one.divergences for one in reading.diagnostics)} divergences. Seed of the sampler: {reading.seed}.",
    ]


def _ratio(width: float, pair: Any) -> str:
    return fixed(width / (pair.high - pair.low), 2) if pair.high > pair.low else "-"


def _probability(value: float) -> str:
    """Draws resolve no more than three decimals."""
    return "> 0.999" if value > 0.999 else "< 0.001" if value < 0.001 else fixed(value, 3)
