"""One layer that turns a `Report` into Markdown, a self-contained HTML page, LaTeX tables, JSON and CSV.

The same report gives the same bytes: nothing here knows the time, a random number or a machine. Whatever a template
prints is escaped for its medium, unless a filter has done so.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.errors import UnknownName
from harness.files.writing import atomic_path
from harness.reports.document import escaping, figures, latex, palette, stored
from harness.reports.document.drawings import drawer
from harness.reports.document.file_names import figure_file, photograph_file
from harness.reports.document.grid import column_classes, grid_rows
from harness.reports.document.model import Cell, Figure, Gallery, Picture, Report
from harness.reports.document.templating import TEMPLATES, environment, plain
from harness.reports.document.text import single_line

#: Braces are TeX's own.
_TEX_MARKS: dict[str, Any] = {
    "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<", "variable_end_string": ">>",
    "comment_start_string": "<#", "comment_end_string": "#>",
}  # fmt: skip


def render(report: Report, format: str) -> str:
    """The text of a report in one format.

    Args:
        report: what to render.
        format: one of `FORMATS`.

    Raises:
        UnknownName: not one of the formats.
    """
    if format not in _RENDERERS:
        raise UnknownName("report format", format, FORMATS)
    return _RENDERERS[format](report)


def write(report: Report, folder: Path | str, formats: Sequence[str] | None = None) -> list[Path]:
    """Write `<stem>.<format>` for every format, figures as `<stem>-<key>.svg`, `.png`, `.pdf`, galleries, and attachments.

    Args:
        report: what to write.
        folder: made if it is missing.
        formats: of `FORMATS`; all by default.

    Returns:
        The files, in the order written.

    Raises:
        UnknownName: not one of the formats.
        ResultsNotWritable: the folder cannot be written.
    """
    folder = Path(folder)
    contents = {f"{report.stem}.{format}": render(report, format).encode() for format in formats or FORMATS}
    for figure in report.figures:
        contents[figure_file(report.stem, figure.key, "svg")] = figures.svg(figure.drawing)
        if not isinstance(figure.drawing, bytes):
            contents[figure_file(report.stem, figure.key, "png")] = figures.png(figure.drawing)
            contents[figure_file(report.stem, figure.key, "pdf")] = figures.pdf(figure.drawing)
    contents |= {
        photograph_file(report.stem, gallery.key, number): picture.content
        for gallery in report.galleries
        for number, picture in enumerate(_photographs(gallery))
    }
    contents |= {name: text.encode() for name, text in report.attachments.items()}
    for name, content in contents.items():
        with atomic_path(folder / name) as path:
            path.write_bytes(content)
    return [folder / name for name in contents]


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV whose texts no spreadsheet takes for a formula."""
    safe = frame.map(escaping.spreadsheet).rename(columns=escaping.spreadsheet)
    return safe.to_csv(index=False, lineterminator="\n")


def _markdown(report: Report) -> str:
    def cell(cell: Cell) -> str:
        return escaping.markdown(cell.main) if cell.text else cell.join()

    def file(figure: Figure) -> str:
        return figure_file(report.stem, figure.key, "svg")

    def files(gallery: Gallery) -> list[list[str]]:
        """The files of each tile's pictures."""
        numbers = itertools.count()
        return [
            [photograph_file(report.stem, gallery.key, next(numbers)) for _ in tile.pictures] for tile in gallery.tiles
        ]

    filters = {"cell": cell, "file": file, "paragraph": escaping.paragraph, "alt": escaping.alternative}
    filters["fenced"] = escaping.fenced
    return _filled("report.md.j2", escaping.markdown, filters, report=report, files=files)


def fragment(report: Report) -> str:
    """A report as a piece of HTML without head and style, for a cell of a notebook."""
    return _page("fragment.html.j2", report)


def _html(report: Report) -> str:
    return _page("report.html.j2", report)


def _page(template: str, report: Report) -> str:
    def photograph(picture: Picture) -> str:
        return f"data:image/jpeg;base64,{base64.b64encode(picture.content).decode()}"

    context = {
        "report": report,
        "grid_rows": grid_rows,
        "column_classes": column_classes,
        "drawing": drawer(),
        "photograph": photograph,
        "dark": Markup(palette.dark_rules(".chart")),
    }
    return _filled(template, escaping.html, {"lines": escaping.html_lines}, **context)


def _latex(report: Report) -> str:
    def label(key: str) -> str:
        return "".join(c if c.isascii() and c.isalnum() else "-" for c in key)

    # On one line, everything after % is ignored. The cells are LaTeX already.
    filters = {"cell": str, "label": label, "comment": single_line}
    return _filled("report.tex.j2", escaping.latex, filters, report=report, tables=latex.paper_tables(report))


def _json(report: Report) -> str:
    return json.dumps(plain(stored.content(report)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_RENDERERS: dict[str, Callable[[Report], str]] = {
    "md": _markdown,
    "html": _html,
    "csv": lambda report: csv(report.main),
    "json": _json,
    "tex": _latex,
}
FORMATS = tuple(_RENDERERS)


def _photographs(gallery: Gallery) -> list[Picture]:
    return [picture for tile in gallery.tiles for picture in tile.pictures]


def _filled(name: str, escape: Callable[[str], str], filters: Mapping[str, Any], **context: Any) -> str:
    """A template filled in; what a filter returns is taken as it is, everything else goes through `escape`."""
    marks = _TEX_MARKS if name.endswith(".tex.j2") else {}
    return environment((TEMPLATES,), escape, filters, **marks).get_template(name).render(context)
