"""Reports as they lie on disk: the JSON of a report holds all that its page shows, and is read back as a `Report`.

Whoever wrote the file, it is checked before it is shown; figures and pictures are read when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from itertools import count
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic_core import PydanticSerializationError

from harness.errors import InvalidRecord
from harness.files.reading import Damaged, require_file
from harness.records.documents import read_document
from harness.reports.document.file_names import figure_file, photograph_file
from harness.reports.document.model import (
    Column,
    Figure,
    Gallery,
    Kind,
    Listing,
    Notice,
    Picture,
    Report,
    Section,
    Table,
    Tile,
    is_missing,
)
from harness.spec import Spec

#: Version of the JSON. Keys may be added to a version; a reader of an older file finds their defaults.
JSON_SCHEMA_VERSION = 1
#: Largest figure or picture that is read, in bytes.
LARGEST_FILE = 16 * 2**20
_REMEDY = "run the command of this page again"
_COLUMN = {field.name: field for field in fields(Column)}
#: Columns of the frame that belong to an estimate.
_COMPANIONS = ("", "_sd", "_low", "_high")


class _Part(Spec):
    model_config = ConfigDict(extra="ignore")


class _Column(_Part):
    key: str
    title: str
    kind: Kind = "text"
    digits: int | None = Field(None, ge=0, le=12)
    group: str = ""
    help: str = ""
    pinned: bool = False
    prose: bool = False
    wide: bool = False
    better: Literal["", "higher", "lower"] = ""
    noise: str = ""
    link: str = ""
    file: str = ""


class _Table(_Part):
    key: str
    caption: str
    rows: tuple[dict[str, Any], ...]
    columns: tuple[_Column, ...] | None = None  # None: of a version that did not keep them
    muted: tuple[int, ...] = ()
    collapsed: bool = False
    rule_by: tuple[str, ...] = ()
    for_paper: bool = True
    paper: tuple[str, ...] = ()


class _Figure(_Part):
    key: str
    caption: str
    alt: str


class _Picture(_Part):
    alt: str
    label: str = ""


class _Tile(_Part):
    title: str = ""
    lines: tuple[str, ...] = ()
    pictures: tuple[_Picture, ...] = ()


class _Gallery(_Part):
    key: str
    caption: str
    tiles: tuple[_Tile, ...]


class _Notice(_Part):
    level: Literal["error", "warning", "note"]
    text: str


class _Listing(_Part):
    text: str
    title: str = ""
    collapsed: bool = False


class _Section(_Part):
    title: str
    sentences: tuple[str, ...] = ()
    notices: tuple[_Notice, ...] = ()
    listings: tuple[_Listing, ...] = ()
    tables: tuple[_Table, ...] = ()
    galleries: tuple[_Gallery, ...] = ()
    figures: tuple[_Figure, ...] = ()
    reading: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()


class _Document(_Part):
    schema_version: int
    title: str
    sentences: tuple[str, ...] = ()
    sections: tuple[_Section, ...]
    data: dict[str, Any] = Field(default_factory=dict)


def content(report: Report) -> dict[str, Any]:
    """A report for its JSON: everything but its drawings and photographs, which are files beside it."""
    return {
        "schema_version": JSON_SCHEMA_VERSION,
        "title": report.title,
        "sentences": report.sentences,
        "sections": [_section_content(section) for section in report.sections],
        "data": report.data,
    }


def _section_content(section: Section) -> dict[str, Any]:
    more = {
        "notices": [{"level": notice.level, "text": notice.text} for notice in section.notices],
        "listings": [vars(listing) for listing in section.listings],
        "galleries": [
            {"key": gallery.key, "caption": gallery.caption, "tiles": [_tile_content(tile) for tile in gallery.tiles]}
            for gallery in section.galleries
        ],
    }
    return {
        "title": section.title,
        "sentences": section.sentences,
        "tables": [_table_content(table) for table in section.tables],
        "figures": [{"key": figure.key, "caption": figure.caption, "alt": figure.alt} for figure in section.figures],
        "reading": section.reading,
        "footnotes": section.footnotes,
        **{key: value for key, value in more.items() if value},
    }


def _table_content(table: Table) -> dict[str, Any]:
    more = {
        "muted": list(table.muted),
        "collapsed": table.collapsed,
        "rule_by": list(table.rule_by),
        "for_paper": table.for_paper,
        "paper": list(table.paper),
    }
    return {
        "key": table.key,
        "caption": table.caption,
        "columns": [column_settings(column) for column in table.columns],
        "rows": table.frame.to_dict("records"),
        **{key: value for key, value in more.items() if value != _Table.model_fields[key].default},
    }


def _tile_content(tile: Tile) -> dict[str, Any]:
    pictures = [{"alt": picture.alt, "label": picture.label} for picture in tile.pictures]
    return {"title": tile.title, "lines": tile.lines, "pictures": pictures}


def column_settings(column: Column) -> dict[str, Any]:
    """A column for the JSON: its settings that are not the default.

    >>> column_settings(Column("rsum", "rSum", "estimate"))
    {'key': 'rsum', 'title': 'rSum', 'kind': 'estimate'}
    """
    given = {name: getattr(column, name) for name in _COLUMN}
    return {name: value for name, value in given.items() if value != _COLUMN[name].default}


def read_report(path: Path) -> Report:
    """A report from the JSON that `render.write` wrote, with its figures as SVG and its pictures from their files.

    Tables of earlier versions, which did not keep their columns, show every value under its key. A figure or picture
    whose file is gone is left out.

    Args:
        path: `<stem>.json`; figures and pictures lie beside it.

    Raises:
        InvalidRecord: missing, damaged, or no report of this version; one line.
    """
    stored = read_document(path, _Document, JSON_SCHEMA_VERSION, _REMEDY)
    try:
        _require_text(stored)
        sections = [_section(part, path) for part in stored.sections]
    except Damaged as error:
        raise InvalidRecord(f"cannot read {path}: {error}; {_REMEDY}") from None
    return Report(title=stored.title, stem=path.stem, sentences=stored.sentences, sections=sections, data=stored.data)


def _require_text(stored: _Document) -> None:
    """Refuse halves of characters, which JSON can name and no page can hold."""
    try:
        stored.model_dump_json()
    except PydanticSerializationError:
        raise Damaged("it holds half of a character, which is no text") from None


def _section(part: _Section, path: Path) -> Section:
    drawn = [(figure, _file(path.parent, figure_file(path.stem, figure.key, "svg"))) for figure in part.figures]
    return Section(
        title=part.title,
        sentences=part.sentences,
        notices=[Notice(notice.level, notice.text) for notice in part.notices],
        listings=[Listing(**listing.model_dump()) for listing in part.listings],
        tables=[_table(table) for table in part.tables],
        galleries=[_gallery(gallery, path) for gallery in part.galleries],
        figures=[Figure(drawing, figure.key, figure.caption, figure.alt) for figure, drawing in drawn if drawing],
        reading=part.reading,
        footnotes=part.footnotes,
    )


def _table(part: _Table) -> Table:
    frame = pd.DataFrame(list(part.rows), dtype=object)  # whole numbers stay whole beside missing ones
    keys = (
        part.columns if part.columns is not None else [_Column(key=key, title=key) for key in map(str, frame.columns)]
    )
    columns = [Column(**{name: getattr(column, name) for name in _COLUMN}) for column in keys]
    for name in {*(column.key for column in columns), *part.rule_by} - set(frame.columns):
        frame[name] = None
    # A page draws bands by the tier, whether or not it is a column.
    require_numbers(frame, [*columns, *([Column("tier", "Tier", "count")] if "tier" in part.rule_by else [])], part.key)
    settings = part.model_dump(include={"caption", "key", "muted", "collapsed", "rule_by", "for_paper", "paper"})
    return Table(frame, columns, **settings)


def require_numbers(frame: pd.DataFrame, columns: Iterable[Column], table: str) -> None:
    """Refuse what numeric columns cannot show.

    Raises:
        Damaged: one of them, or its spread or interval, holds something else than numbers; names the table.
    """
    for key in (f"{column.key}{companion}" for column in columns if column.numeric for companion in _COMPANIONS):
        for value in frame.get(key, ()):
            if not (is_missing(value) or _is_number(value)):
                raise Damaged(f"'{key:.40}' of table '{table:.40}' holds {str(value)!r:.40}, a number is expected")


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _gallery(part: _Gallery, path: Path) -> Gallery:
    numbers = count()
    tiles = []
    for tile in part.tiles:
        files = [photograph_file(path.stem, part.key, next(numbers)) for _ in tile.pictures]
        found = [(_file(path.parent, file), picture) for file, picture in zip(files, tile.pictures, strict=True)]
        pictures = [Picture(content, picture.alt, picture.label) for content, picture in found if content]
        tiles.append(Tile(pictures, tile.title, tile.lines))
    return Gallery(tiles, part.key, part.caption)


def _file(folder: Path, name: str) -> bytes:
    """The bytes of a file beside a report; empty where there is none, or one that a link brings from elsewhere."""
    path = folder.joinpath(*name.split("/"))
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        return path.read_bytes() if inside and require_file(path).st_size <= LARGEST_FILE else b""
    except (Damaged, OSError):
        return b""
