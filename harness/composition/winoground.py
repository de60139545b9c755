"""Winoground: two pictures and two captions of the same words, each true of one picture.

The files are gated and are read where they lie: a Parquet table that holds the pictures, or `examples.jsonl` beside a folder
of pictures, which it names without their endings. Text, image and group score as the paper has them; ties are wrong.

Source:
    Thrush et al., Winoground, CVPR 2022; files of facebook/winoground.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictInt, StrictStr

from harness.composition.examples import CROSSED, Example, Kind, Shown, Suite, kind_of
from harness.composition.files import bounded, find_files
from harness.datasets.files import require_inside
from harness.datasets.schema import checked, checked_lines
from harness.datasets.table.parquet import Cell, columns_of, rows_of
from harness.errors import InvalidDataset

_FOLDERS = ("", "data", "winoground", "winoground/data")
_LINES = ("examples.jsonl", "winoground.jsonl")
_COLUMNS = ("image_0", "image_1")
_EXPECTED = "an example of Winoground"
_UNSAFE = re.compile(r"[^\w.-]+")


class _Captions(BaseModel):
    id: StrictInt | StrictStr
    caption_0: StrictStr
    caption_1: StrictStr


class _Line(_Captions):
    image_0: StrictStr
    image_1: StrictStr


def recognise(root: Path) -> list[Path]:
    """The tables that are there, or else the file of lines."""
    tables = [
        path
        for folder in _FOLDERS
        for path in sorted((root / folder).glob("*.parquet"))
        if {"caption_0", "caption_1", *_COLUMNS} <= set(columns_of(path))
    ]
    return tables or list(find_files(root, _FOLDERS, _LINES).values())[:1]


def load(root: Path) -> list[Kind]:
    """All examples as one kind.

    Raises:
        InvalidDataset: a file that cannot be read, or with rows that do not fit.
    """
    paths = [require_inside(root, path) for path in recognise(root)]
    found = [example for path in paths for example in (_cells if path.suffix == ".parquet" else _lines)(path)]
    return [kind_of("all", CROSSED, found, str(paths[0]))] if paths else []


def _lines(path: Path) -> Iterator[Example]:
    bounded(path)
    for _, row in checked_lines(_Line, path, _EXPECTED):
        yield _example(row, Shown(row.image_0), Shown(row.image_1))


def _cells(path: Path) -> Iterator[Example]:
    for number, (values, group, row) in enumerate(rows_of(path, _COLUMNS)):
        where = f"{path}: row {number}"
        captions = checked(_Captions, {name: values.get(name) for name in _Captions.model_fields}, where, _EXPECTED)
        yield _example(captions, *(Shown(_file(path, values, group, row, name, where)) for name in _COLUMNS))


def _file(path: Path, values: dict[str, Any], group: int, row: int, column: str, where: str) -> str | Cell:
    """The cell that holds a picture, or the name of its file where a table holds names."""
    told = values.get(column)
    if isinstance(told, str):
        return told
    if not isinstance(told, dict):
        raise InvalidDataset(f"{where}: field '{column}' must hold a picture or the name of one, got {told!r:.60}")
    named = told.get("path")
    name = _UNSAFE.sub("-", named.rpartition("/")[2]) if isinstance(named, str) and named else ""
    return Cell(path, group, row, f"{group}-{row}-{column}-{name}", column)


def _example(row: _Captions, first: Shown, second: Shown) -> Example:
    return Example(str(row.id), (first, second), (row.caption_0, row.caption_1))


SUITE = Suite(
    description="two pictures, two captions of the same words: which belongs to which?",
    files="*.parquet with image_0, image_1, caption_0 and caption_1, or examples.jsonl",
    pictures="in the table, or images/ beside examples.jsonl",
    recognise=recognise,
    load=load,
)
