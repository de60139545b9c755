"""A significance report in a terminal: the sentences, then one line a pair."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.reports.document.text import fixed, interval, single_line
from harness.reports.significance import text
from harness.reports.significance.examine import Result

_MOST_PAIRS = 30
_LONGEST_NAME = 24
_NAMES = ("A", "B")
_HEADINGS = (*_NAMES, "Difference", "Interval", "Corrected p", "Verdict")


def page(result: Result) -> Group:
    """Verdicts and the compact table of one gallery; names are untrusted and never read as rich's markup."""
    comparison = result.comparison
    first, others = text.verdict_sentences(comparison)
    claim = text.claim_sentence(comparison, by_default=result.claim_by_default)
    lines: list[Any] = [Text(single_line(result.subject.title), style="bold"), Text("")]
    lines += [Text(single_line(sentence)) for sentence in first]
    if others:
        lines.append(Text(f"({len(others)} more verdicts in the files)"))
    lines += [Text(""), Text(claim)]
    warnings = [notice.message for notice in comparison.notices] + list(result.subject.remarks)
    lines += [Text(single_line(f"Warning: {warning}")) for warning in warnings]
    return Group(*lines, _table(result))


def _table(result: Result) -> Table:
    comparison = result.comparison
    metric = comparison.primary
    rows = comparison.of_metric(metric)
    title = Text(f"{text.metric_name(metric)}, A minus B, {100 * (1 - comparison.alpha):g} % interval")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    digits = text.decimals(metric)
    lines = [
        (
            _name(row.a),
            _name(row.b),
            fixed(row.difference, digits),
            interval(row.low, row.high, digits),
            text.p_text(row.p_adjusted),
            text.outcome(row),
        )
        for row in rows[:_MOST_PAIRS]
    ]
    for heading in _HEADINGS:
        # On a narrow terminal the names are folded, not the numbers.
        justify: Any = "left" if heading in (*_NAMES, "Verdict") else "right"
        table.add_column(heading, justify=justify, no_wrap=heading not in _NAMES, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    if len(rows) > _MOST_PAIRS:
        table.caption = Text(f"and {len(rows) - _MOST_PAIRS} more pairs in the files")
    return table


def _name(name: str) -> str:
    name = single_line(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
