"""One layer that turns a `Report` into Markdown, a self-contained HTML page, LaTeX tables, JSON and CSV.

The same report gives the same bytes: nothing here knows the time, a random number or a machine.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from harness.errors import UnknownName
from harness.files.names import safe_name
from harness.files.writing import atomic_path
from harness.reports.document import figures
from harness.reports.document import latex as _latex
from harness.reports.document import markdown as _markdown
from harness.reports.document.model import Figure, Report
from harness.reports.document.text import single_line

FORMATS = ("md", "html", "csv", "json", "tex")
JSON_SCHEMA_VERSION = 1
#: What a spreadsheet takes for the beginning of a formula, or of a cell that hides one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def render(report: Report, format: str) -> str:
    """The text of a report in one format.

    Args:
        report: what to render.
        format: one of `FORMATS`.

    Raises:
        UnknownName: not one of the formats.
    """
    renderers: dict[str, Callable[[], str]] = {
        "md": lambda: _markdown.render(report, {f.key: f"{_figure_stem(report, f)}.svg" for f in report.figures}),
        "html": lambda: _html(report),
        "csv": lambda: csv(report.main),
        "json": lambda: _json(report),
        "tex": lambda: _latex.render(report),
    }
    if format not in renderers:
        raise UnknownName("report format", format, FORMATS)
    return renderers[format]()


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV whose texts no spreadsheet takes for a formula: an apostrophe goes before those that begin like one."""
    return frame.map(_no_formula).rename(columns=_no_formula).to_csv(index=False, lineterminator="\n")


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def write(report: Report, folder: Path | str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `<stem>.<format>` for every format, the figures as `<stem>-<key>.svg` and `.png`, and the attachments.

    Args:
        report: what to write.
        folder: made if it is missing.
        formats: of `FORMATS`.

    Returns:
        The files, in the order written.

    Raises:
        UnknownName: not one of the formats.
        ResultsNotWritable: the folder cannot be written.
    """
    folder = Path(folder)
    contents = {f"{report.stem}.{format}": render(report, format).encode() for format in formats}
    for figure in report.figures:
        contents[f"{_figure_stem(report, figure)}.svg"] = figures.svg(figure.drawing)
        contents[f"{_figure_stem(report, figure)}.png"] = figures.png(figure.drawing)
    contents |= {name: text.encode() for name, text in report.attachments.items()}
    for name, content in contents.items():
        with atomic_path(folder / name) as path:
            path.write_bytes(content)
    return [folder / name for name in contents]


def _figure_stem(report: Report, figure: Figure) -> str:
    """File name of a figure without ending; its key is reduced to letters that need no escaping anywhere."""
    key = safe_name(figure.key).replace(".", "-").replace("_", "-").strip("-")
    return f"{report.stem}-{key}"


def _html(report: Report) -> str:
    return _templates().get_template("report.html.j2").render(report=report, data_uri=_data_uri)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_without_controls,
    )


def _without_controls(value: Any) -> Any:
    return single_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _data_uri(figure: Figure) -> str:
    # Inside <img> an SVG can neither run scripts nor load anything, whatever a method is called.
    return f"data:image/svg+xml;base64,{base64.b64encode(figures.svg(figure.drawing)).decode()}"


def _json(report: Report) -> str:
    content = {
        "schema_version": JSON_SCHEMA_VERSION,
        "title": report.title,
        "sentences": list(report.sentences),
        "sections": [
            {
                "title": section.title,
                "sentences": list(section.sentences),
                "tables": [
                    {"key": t.key, "caption": t.caption, "rows": t.frame.to_dict("records")} for t in section.tables
                ],
                "figures": [{"key": f.key, "caption": f.caption, "alt": f.alt} for f in section.figures],
                "reading": list(section.reading),
                "footnotes": list(section.footnotes),
            }
            for section in report.sections
        ],
        "data": dict(report.data),
    }
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """JSON values only: numpy scalars as Python's, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
