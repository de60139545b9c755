"""Results of other harnesses: what is read from them, and the text tables that hold them.

Nothing is filled in: a query without an answer, a truncated list or a missing positive is refused, because a guess would
be counted as a measurement.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord, ItmError, reported_as
from harness.files.kinds import identify, mismatch
from harness.reports.statistics.errors import listing
from harness.reports.statistics.runs import MethodRuns

_TEXTS = ("csv", "tsv", "text", "qrels", "trec-run", "numbers", "yaml", "missing")


@dataclass(frozen=True, eq=False)
class ForeignRun:
    """One method and seed of another harness."""

    runs: MethodRuns
    files: tuple[tuple[str, str], ...]  # name and sha256 of each file that the ranks come from
    dataset: str = ""  # what they are about, empty where the files do not say
    protocol: str = ""
    remark: str = ""  # what a reader must know of the file


def read_table(path: Path, expected: str, names: Sequence[str] = ()) -> pd.DataFrame:
    """A file as a table of texts, indexed by the number of each line; blank lines are left out.

    Args:
        path: the file.
        expected: what it should be, for the message about something else.
        names: columns of a file without a heading whose columns are separated by white space; empty = a CSV.

    Raises:
        InvalidRecord: not a table of text, or a line with more or fewer columns.
    """
    if identify(path).key not in _TEXTS:
        raise InvalidRecord(mismatch(path, expected))
    # one column more than expected, so that a longer line is told by its number
    layout: dict[str, Any] = {"sep": r"\s+", "header": None, "names": [*names, ""], "quoting": 3} if names else {}
    with reported_as(InvalidRecord, f"cannot read {path}"), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # "a loss of data"
        frame = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
            encoding="utf-8-sig",
            **layout,
        )
    frame.index += 1 if names else 2
    frame = frame[frame.ne("").any(axis=1)]
    if names:
        found = frame.ne("").sum(axis=1)
        if line := first_line(found != len(names)):
            raise InvalidRecord(f"{path}, line {line}: {found[line]} columns, {len(names)} expected: {' '.join(names)}")
        frame = frame[list(names)]
    return frame


def numbers(path: Path, column: pd.Series) -> pd.Series:
    """A column of a table as float64; NaN and infinity stay what they are.

    Raises:
        InvalidRecord: another text, with its line.
    """
    values = pd.to_numeric(column, errors="coerce")
    if line := first_line(values.isna() & ~column.str.lower().isin(("nan", "+nan", "-nan"))):
        raise InvalidRecord(f"{path}, line {line}: {column.name} must be a number, got '{column[line]}'")
    return values.astype(np.float64)


def first_line(wrong: pd.Series) -> int | None:
    """The number of the first line of a table that is marked."""
    return next(iter(wrong.index[wrong]), None)


def refuse(error: type[ItmError], ids: Iterable[object], what: str, remedy: str) -> None:
    """Refuse a file for some of its ids, each named once; nothing happens where there are none."""
    if named := list(dict.fromkeys(ids)):
        raise error(f"{what} {listing(named)}; {remedy}")
