"""The tables of a robustness report, and the flat rows of its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reports.document.linking import linked
from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed, interval, p_value
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.robustness.testing import Tested
from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.outcomes.comparison import Difference
from harness.reports.statistics.outcomes.scores import Score

#: A table of more rows than this is folded.
_LONGEST_OPEN = 12
_SAID = {"A higher": "A higher", "B higher": "B higher", "inconclusive": "inconclusive", "same answers": "same answers"}


def estimate(quantity: Quantity, method: str, alpha: float) -> dict[str, float | None]:
    """The columns of an estimate: value, spread over seeds, interval."""
    score = quantity.scores.get(method)
    if score is None:
        return {}
    return bounded(score, quantity, alpha)


def bounded(score: Score, quantity: Quantity, alpha: float) -> dict[str, float | None]:
    """The same of another score in the range of a quantity; no interval of a single picture."""
    if score.pictures < 2:
        return {quantity.key: score.mean}
    return score.interval(alpha, quantity.low, quantity.high).columns(quantity.key)


def main_table(tested: Tested, methods: Sequence[str], runs: Mapping[str, str]) -> Table | None:
    """A row per method, a column per quantity that is not of a single level; chance as a row of its own."""
    found = tested.findings
    shown = [one for one in found.quantities if one.scores and (not one.level or found.family == "truth")]
    if not shown:
        return None
    rows: list[dict[str, Any]] = [
        {"method": method} | {k: v for one in shown for k, v in estimate(one, method, tested.alpha).items()}
        for method in methods
    ]
    columns = [Column("method", "Method", pinned=True), *(_column(one) for one in shown)]
    muted = []
    if any(one.chance is not None for one in shown) and found.family == "composition":
        muted = [len(rows)]
        rows.append({"method": "chance", **{one.key: one.chance for one in shown}})
    caption = f"{_captions(found.family)}; {_level(tested.alpha)} intervals over pictures{_and_seeds(shown)}"
    table = Table(pd.DataFrame(rows), columns, caption, found.family, muted=muted)
    return linked(table, ["method"], runs)


def levels_table(tested: Tested, methods: Sequence[str], runs: Mapping[str, str]) -> Table | None:
    """rSum at every level of every probe; None where a family has no such levels."""
    found = tested.findings
    if found.family == "truth":
        return None
    probes = list(dict.fromkeys(one.probe for one in found.quantities if one.level))
    if not probes:
        return None
    titles = {probe.about.name: probe.title for probe in found.asked}
    rows: list[dict[str, Any]] = []
    most = max(len(found.levels_of(probe)) for probe in probes)
    same = len({tuple(one.level for one in found.levels_of(probe)) for probe in probes}) == 1
    for probe in probes:
        levels = found.levels_of(probe)
        for method in methods:
            if any(method in one.scores for one in levels):
                row: dict[str, Any] = {"probe": titles.get(probe, probe), "unit": levels[0].unit, "method": method}
                for number, one in enumerate(levels):
                    values = estimate(one, method, tested.alpha)
                    row |= {key.replace(one.key, f"level{number}"): value for key, value in values.items()}
                if not same:
                    row["levels"] = ", ".join(one.level for one in levels)
                rows.append(row)
    names = [one.level for one in found.levels_of(probes[0])] if same else [f"level {n + 1}" for n in range(most)]
    units = list(dict.fromkeys(row["unit"] for row in rows))
    columns = [
        Column("probe", "Probe", pinned=True),
        Column("method", "Method", pinned=True),
        *([] if len(units) == 1 else [Column("unit", "Score")]),
        *([] if same else [Column("levels", "Levels", prose=True)]),
        *(Column(f"level{number}", name, "estimate") for number, name in enumerate(names)),
    ]
    caption = f"{' or '.join(units)} at every level; {_level(tested.alpha)} intervals"
    table = Table(
        pd.DataFrame(rows), columns, caption, f"{found.family}-levels", collapsed=True, rule_by=["probe"], for_paper=False
    )  # fmt: skip
    return linked(table, ["method"], runs)


def pairs_table(tested: Tested) -> Table | None:
    """All tested differences of a family; None without any."""
    if not tested.rows:
        return None
    titles = {one.key: one for one in tested.findings.quantities}
    rows = [_pair(row, titles[row.key]) for row in tested.rows]
    corrections = list(dict.fromkeys(f"{LABELS[row.correction]}, m = {row.m}" for row in tested.rows))
    columns = [
        Column("quantity", "Of", pinned=True),
        Column("a", "A"),
        Column("b", "B"),
        Column("shown", "A − B", help="with its interval"),
        Column("p", "p", "p"),
        Column("p_adjusted", "p corrected", "p", help="; ".join(corrections)),
        Column("outcome", "Found"),
    ]
    claim = "methods" if tested.claim == "method" else "these trained models"
    caption = f"Differences between {claim}, A minus B; corrected by {' and '.join(corrections)}"
    return Table(
        pd.DataFrame(rows), columns, caption, f"{tested.findings.family}-pairs", collapsed=len(rows) > _LONGEST_OPEN,
        rule_by=["quantity"], for_paper=False,
    )  # fmt: skip


def _pair(row: Difference, quantity: Quantity) -> dict[str, Any]:
    digits = quantity.digits
    return {
        **flat_pair(row, quantity),
        "shown": f"{fixed(row.difference, digits)} {interval(row.low, row.high, digits)}",
        "outcome": _SAID[row.outcome],
    }


def flat_pair(row: Difference, quantity: Quantity) -> dict[str, Any]:
    """A difference at full precision."""
    return {
        "key": row.key, "quantity": quantity.title, "unit": quantity.unit, "a": row.a, "b": row.b, "a_score": row.a_score,
        "b_score": row.b_score, "difference": row.difference, "se": row.se, "df": row.variance.df, "low": row.low,
        "high": row.high, "p": row.p, "p_adjusted": row.p_adjusted, "significant": row.significant, "family": row.family,
        "correction": row.correction, "m": row.m, "wins": row.wins, "ties": row.ties, "losses": row.losses,
        "detectable": row.detectable,
    }  # fmt: skip


def lacking_table(found: Findings) -> Table | None:
    """Why methods have no number; None where all have all."""
    if not found.lacking:
        return None
    frame = pd.DataFrame(found.lacking, columns=["method", "probe", "reason"])
    columns = [Column("method", "Method"), Column("probe", "Probe"), Column("reason", "No number, because", prose=True)]
    return Table(frame, columns, "What has no number, and why", f"{found.family}-lacking", for_paper=False)


def flat_scores(tested: Tested, methods: Sequence[str], runs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every number of a family at full precision: the rows of the CSV."""
    found = tested.findings
    rows = []
    for one in found.quantities:
        for method in methods:
            score = one.scores.get(method)
            if score is not None:
                values = {
                    key.replace(one.key, "value"): value for key, value in bounded(score, one, tested.alpha).items()
                }
                rows.append(
                    {
                        "family": found.family, "probe": one.probe, "quantity": one.title, "key": one.key, "level": one.level,
                        "place": one.place, "unit": one.unit, "method": method, **values, "chance": one.chance,
                        "seeds": len(score.values), "pictures": score.pictures, "run_ids": runs.get(method, ""),
                    }
                )  # fmt: skip
    return rows


def p_phrase(row: Difference) -> str:
    """The p-value of a difference in a sentence."""
    shown = p_value(row.p_adjusted)
    name = f"{LABELS[row.correction]} p" if row.m > 1 else "p"
    return f"{name} {shown}" if shown.startswith("<") else f"{name} = {shown}"


def _column(one: Quantity) -> Column:
    return Column(one.key, one.title, "estimate", one.digits, better=one.better, help=one.unit)


def _captions(family: str) -> str:
    return {
        "images": "Perturbed pictures: percent of the clean rSum that is kept, severities together",
        "captions": "Perturbed captions: percent of the clean rSum that is kept, severities together",
        "regions": "Perturbed regions: percent of the clean rSum that is kept, severities together",
        "clutter": "Clutter: change of rSum, and percent left at the last level",
        "strata": "Strata of the test split: differences between the last and the first",
        "composition": "Composition: percent of examples whose true caption or picture scores highest",
        "grounding": "Grounding: percent of words, and of attention, in the right place",
        "truth": "Truth: percent of queries, of errors, and of correct items",
    }.get(family, family)


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g} %"


def _and_seeds(shown: Sequence[Quantity]) -> str:
    several = any(len(score.values) > 1 for one in shown for score in one.scores.values())
    return " and seeds (± SD over seeds)" if several else ""
