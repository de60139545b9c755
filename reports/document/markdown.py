"""A report as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.reports.document.model import Cell, Report, Section, Table
from harness.reports.document.text import single_line

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPECIAL = re.compile(r"([\\`*\[|~$])")
# An underscore inside a word (no_uncertainty) is no emphasis in this dialect and stays readable.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINE_START = re.compile(r"^([#+=-]|\d+(?=[.)]))")


def render(report: Report, figure_files: dict[str, str]) -> str:
    """The report as one Markdown text.

    Args:
        report: what to render.
        figure_files: figure key to the name of its image file, beside the Markdown file.
    """
    parts = [f"# {escape(report.title)}", *map(_paragraph, report.sentences)]
    for section in report.sections:
        parts += _section(section, figure_files)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Untrusted text that shows as it is: no HTML, links, emphasis, cells or formulas come to life."""
    text = _SPECIAL.sub(r"\\\1", single_line(text).translate(_ENTITIES))
    return _UNDERSCORE.sub(r"\\_", text)


def _paragraph(text: str) -> str:
    escaped = escape(text)
    return _LINE_START.sub(lambda m: f"\\{m[1]}" if not m[1].isdigit() else f"{m[1]}\\", escaped)


def _section(section: Section, figure_files: dict[str, str]) -> Iterator[str]:
    yield f"## {escape(section.title)}"
    if section.sentences:
        mark = "- " if len(section.sentences) > 1 else ""
        yield "\n".join(f"{mark}{_paragraph(sentence)}" for sentence in section.sentences)
    for table in section.tables:
        grid = f"**{escape(table.caption)}**\n\n{_grid(table)}"
        if table.collapsed:
            grid = f"<details><summary>{escape(table.caption)}</summary>\n\n{_grid(table)}\n\n</details>"
        yield grid
    for figure in section.figures:
        yield f"![{escape(figure.alt)}]({figure_files[figure.key]})\n\n{_paragraph(figure.caption)}"
    if section.reading:
        yield "### How to read this"
        yield "\n".join(f"- {_paragraph(sentence)}" for sentence in section.reading)
    if section.footnotes:
        yield "\n".join(f"{number}. {_paragraph(note)}" for number, note in enumerate(section.footnotes, 1))


def _grid(table: Table) -> str:
    titles = [escape(f"{column.group}: {column.title}" if column.group else column.title) for column in table.columns]
    marks = ["--:" if column.numeric else ":--" for column in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, marks, *rows))


def _cell(cell: Cell) -> str:
    return escape(cell.main) if cell.text else cell.join()
