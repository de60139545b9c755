"""Links from the names in a table to the runs behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.reports.document.model import Table


def linked(table: Table, keys: Sequence[str], runs: Mapping[str, str]) -> Table:
    """The table, with its columns of names leading to runs; columns that it does not have are passed over.

    Args:
        table: any.
        keys: of columns of names.
        runs: ids of runs by name, separated by spaces.

    >>> import pandas as pd
    >>> from harness.reports.document.model import Column
    >>> table = Table(pd.DataFrame({"a": ["scan", "other"]}), [Column("a", "A")], "Pairs", "pairs")
    >>> [row[0].runs for row in linked(table, ["a"], {"scan": "0f3a 1b2c"}).rows()]
    [('0f3a', '1b2c'), ()]
    """
    there = [column.key for column in table.columns if column.key in keys and column.key in table.frame]
    found = {f"{key}_runs": [runs.get(str(name), "") for name in table.frame[key]] for key in there}
    columns = [replace(one, link=f"{one.key}_runs") if one.key in there else one for one in table.columns]
    return replace(table, frame=table.frame.assign(**found), columns=columns)
