"""What each part of a method buys: its variants less the whole, in the headline of every family, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from harness.reports.document.linking import linked
from harness.reports.document.model import Column, Section, Table
from harness.reports.document.text import fixed, listed, signed
from harness.reports.robustness.quantities import Quantity
from harness.reports.robustness.summary import headlines
from harness.reports.robustness.testing import Tested
from harness.reports.runs.groups import Group
from harness.reports.statistics.outcomes.comparison import Difference

#: Titles of families whose headline says only that it is a mean.
_TITLES = {
    "images": "Kept under perturbed pictures",
    "captions": "Kept under perturbed captions",
    "regions": "Kept under perturbed regions",
}


def whole_of(methods: Sequence[str]) -> str | None:
    """The method that all others are variants of; None where there is none.

    >>> whole_of(["grm.no_prompting", "grm", "grm.no_uncertainty"]), whole_of(["grm", "grm.no_prompting", "scan"])
    ('grm', None)
    """
    for whole in methods:
        others = [method for method in methods if method != whole]
        if others and all(method.startswith(f"{whole}.") for method in others):
            return whole
    return None


def parts_section(
    results: Sequence[Tested], groups: Sequence[Group], whole: str, runs: Mapping[str, str]
) -> Section | None:
    """What each part buys, as a section; None where no variant of the method was compared with it.

    Args:
        results: of all families, tested against `whole`.
        groups: the methods, for what their queries cost.
        whole: the method whose variants are shown.
        runs: run ids by method, for links.
    """
    table = parts_table(results, groups, whole, runs)
    if table is None:
        return None
    return Section(
        title=f"What each part of {whole} buys",
        sentences=parts_sentences(results, groups, whole),
        tables=[table],
        reading=(
            "Below 0 the variant has less of what the column counts, whether or not that is told apart. It then lacks something "
            "that helped, except under unlabelled truth and strata, where neither less nor more is better. Tests are corrected "
            "within each family.",
        ),
    )


def parts_table(
    results: Sequence[Tested], groups: Sequence[Group], whole: str, runs: Mapping[str, str]
) -> Table | None:
    """A row per variant, a column per headline: variant minus whole; None without variants or differences.

    Args:
        results: of all families, tested against `whole`.
        groups: the methods, for what their queries cost.
        whole: the method whose variants are shown.
        runs: run ids by method, for links.
    """
    variants = [group.label for group in groups if group.label.startswith(f"{whole}.")]
    shown = [
        (one, quantity, rows)
        for one in results
        for quantity in headlines(one.findings)
        if (rows := _less(one.of(quantity), whole, variants))
    ]
    if not variants or not shown:
        return None
    costs = {group.label: cost for group in groups if (cost := _query_ms(group)) is not None}
    table: list[dict[str, Any]] = []
    for method in variants:
        row: dict[str, Any] = {"method": method, "query_ms": costs.get(method)}
        for _, quantity, rows in shown:
            if method in rows:
                found = rows[method]
                row |= {
                    quantity.key: found.difference, f"{quantity.key}_low": found.low, f"{quantity.key}_high": found.high,
                    f"{quantity.key}_p": found.p_adjusted,
                }  # fmt: skip
        table.append(row)
    columns = [
        Column("method", "Variant", pinned=True),
        *(_column(one, quantity) for one, quantity, _ in shown),
        *([Column("query_ms", "Query, ms", "number", 2, help="median of one query, mean over seeds")] if costs else []),
    ]
    alpha = results[0].alpha
    beside = f"; a query of {whole} takes {fixed(costs[whole], 2)} ms" if whole in costs else ""
    caption = f"What each part buys: variant minus {whole}, with {100 * (1 - alpha):g} % intervals{beside}"
    return linked(Table(pd.DataFrame(table), columns, caption, "parts"), ["method"], runs)


def parts_sentences(results: Sequence[Tested], groups: Sequence[Group], whole: str) -> list[str]:
    """For each headline, the variants that are told apart from the whole, and how many are not."""
    variants = [group.label for group in groups if group.label.startswith(f"{whole}.")]
    said = []
    for one in results:
        for quantity in headlines(one.findings):
            rows = _less(one.of(quantity), whole, variants)
            real = {method: row for method, row in rows.items() if row.significant and row.difference}
            if not rows:
                continue
            title = _title(one, quantity)
            if not real:
                said.append(f"{title}: no variant is told apart from {whole}.")
                continue
            each = listed([f"{method} {signed(row.difference, quantity.digits)}" for method, row in real.items()])
            rest = len(rows) - len(real)
            others = f"; {rest} more {'is' if rest == 1 else 'are'} not told apart" if rest else ""
            said.append(f"{title}, {quantity.unit or 'points'} more or less than {whole}: {each}{others}.")
    return said


def _less(rows: Sequence[Difference], whole: str, variants: Sequence[str]) -> dict[str, Difference]:
    """The differences variant minus whole, by variant."""
    return {row.a: row for row in rows if row.b == whole and row.a in variants}


def _title(one: Tested, quantity: Quantity) -> str:
    return _TITLES.get(one.findings.family, quantity.title)


def _column(one: Tested, quantity: Quantity) -> Column:
    title = f"{_title(one, quantity)}, {quantity.unit}" if quantity.unit else _title(one, quantity)
    return Column(quantity.key, title, "estimate", quantity.digits)


def _query_ms(group: Group) -> float | None:
    found = [record.cost.query_ms_p50 for record in group.records if record.cost.query_ms_p50 is not None]
    return fmean(found) if found else None
