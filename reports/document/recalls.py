"""The six recalls as columns of a table."""

from __future__ import annotations

from typing import Literal

from harness.records.ties import RECALLS
from harness.reports.document.model import Column, Kind

_GROUPS = {"i2t": "Image to text", "t2i": "Text to image"}


def recall_columns(kind: Kind, key: str = "{}", help: str = "") -> list[Column]:
    """A column per recall, grouped by direction.

    Args:
        kind: of all columns.
        key: of a column; `{}` stands for the recall, such as `t2i_r5`.
        help: one line for all columns; without one, each explains its recall.

    >>> [column.key for column in recall_columns("number", "delta_{}")][:2]
    ['delta_i2t_r1', 'delta_i2t_r5']
    """
    columns = []
    better: Literal["", "higher"] = "higher" if key == "{}" else ""  # a difference may be either
    for recall in RECALLS:
        direction, _, k = recall.partition("_r")
        group = _GROUPS[direction]
        what = help or f"{group.lower()}: percent of queries with a correct item among the first {k}"
        columns.append(Column(key.format(recall), f"R@{k}", kind, group=group, help=what, better=better))
    return columns
