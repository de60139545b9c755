"""From rows to a table that shows some of their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table

SPLIT = Column("split", "Split", pinned=True)


def if_any(
    rows: Sequence[dict[str, Any]], columns: Sequence[Column], caption: str, key: str, **options: Any
) -> Table | None:
    return Table(frame(rows, columns), columns, caption, key, **options) if rows else None


def frame(rows: Sequence[dict[str, Any]], columns: Iterable[Column]) -> pd.DataFrame:
    """Rows with the columns that are shown."""
    return pd.DataFrame(rows, columns=[column.key for column in columns])
