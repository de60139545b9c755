"""The first table: one row per method with the headline of every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reports.document.linking import linked
from harness.reports.document.model import Column, Table
from harness.reports.robustness.perturbed import clean, worst
from harness.reports.robustness.quantities import Findings, Quantity
from harness.reports.robustness.tables import bounded, estimate

#: Columns that have no room in a table across a page.
_NOT_IN_PAPERS = ("worst_kind", "strata/", "truth/")
_SELECTED = "least of all kinds and severities: it was selected, so its interval is too narrow"
#: Title of a family's headline column, with its group.
_HEADS = {
    "images": ("pictures", "Clean rSum kept, %"),
    "captions": ("captions", "Clean rSum kept, %"),
    "regions": ("regions", "Clean rSum kept, %"),
    "clutter": ("", "Clutter"),
    "strata": ("", "Strata"),
    "composition": ("", "Composition, %"),
    "grounding": ("", "Grounding"),
    "truth": ("", "Errors that are true, %"),
}


def summary_table(
    found: Sequence[Findings], methods: Sequence[str], runs: Mapping[str, str], alpha: float
) -> Table | None:
    """A row per method; None where no family has a headline."""
    rows: list[dict[str, Any]] = [{"method": method} for method in methods]
    columns = [Column("method", "Method", pinned=True)]
    base = clean(found)
    if base is not None:
        columns.append(
            Column(base.key, "Clean rSum", "estimate", 1, help="on the sample of the perturbations", better="higher")
        )
        _fill(rows, base, alpha)
    for one in found:
        for quantity in headlines(one):
            title, group = _HEADS.get(one.family, ("", ""))
            title = title or _short(one.family, quantity.title)
            said = f"{quantity.title}; {quantity.unit}"
            columns.append(
                Column(quantity.key, title, "estimate", quantity.digits, group=group, help=said, better=quantity.better)
            )
            _fill(rows, quantity, alpha)
        if one.family == _last_perturbed(found):
            columns += _worst(rows, found, alpha)
    if len(columns) < 2:
        return None
    caption = (
        f"Summary: what each method keeps, loses and finds; {100 * (1 - alpha):g} % intervals over pictures and seeds"
    )
    paper = [column.key for column in columns if not column.key.startswith(_NOT_IN_PAPERS)]
    return linked(Table(pd.DataFrame(rows), columns, caption, "summary", paper=paper), ["method"], runs)


def _short(family: str, title: str) -> str:
    """The end of a title, whose beginning the heading of its columns says.

    >>> _short("clutter", "objects in the picture: slope"), _short("truth", "errors that are true, image to text")
    ('slope', 'image to text')
    """
    mark = {"clutter": ": ", "strata": ": ", "truth": ", "}.get(family, "")
    return title.rpartition(mark)[2] if mark else title


def headlines(found: Findings) -> list[Quantity]:
    """The quantities of a family that the summary shows."""
    primary = [one for one in found.of_role("primary") if one.scores]
    if found.family == "truth":
        return primary[:2]
    if found.family == "clutter" and primary:  # who has little loses little: the slope stands beside what is left
        return [primary[0], *(one for one in found.quantities if one.key == primary[0].key.replace("/slope", "/left"))]
    return primary[:3]


def _last_perturbed(found: Sequence[Findings]) -> str:
    there = [one.family for one in found if one.family in ("images", "captions", "regions")]
    return there[-1] if there else ""


def _fill(rows: Sequence[dict[str, Any]], quantity: Quantity, alpha: float) -> None:
    for row in rows:
        row |= estimate(quantity, row["method"], alpha)


def _worst(rows: Sequence[dict[str, Any]], found: Sequence[Findings], alpha: float) -> list[Column]:
    """The columns of the worst case: what it was, and what was kept."""
    least = worst([one for one in found if one.family in ("images", "captions", "regions")])
    if not least:
        return []
    for row in rows:
        if row["method"] in least:
            level, kept = least[row["method"]]
            values = bounded(kept, Quantity("worst", "", "", {}, low=0.0), alpha)
            row |= {**values, "worst_kind": level.title}
    group = "Worst case, %"
    return [
        Column(
            "worst",
            "kept",
            "estimate",
            group=group,
            better="higher",
            help=_SELECTED,
        ),
        Column("worst_kind", "of", group=group),
    ]
