"""What the parts of a report need in the frame of the site: figures inside the page, pictures, files beside the report."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from harness.reports.document.copying import table_copies
from harness.reports.document.drawings import drawer
from harness.reports.document.file_names import figure_file
from harness.reports.document.grid import column_classes, grid_rows
from harness.reports.document.model import Figure, Picture
from harness.reports.document.templating import embedded

#: Of a figure's files, in the order in which they are offered.
_FIGURE_FORMATS = ("svg", "png", "pdf")


def page_parts() -> dict[str, Any]:
    """What `parts.html.j2` takes from its context, for one page."""
    return {
        "grid_rows": grid_rows,
        "column_classes": column_classes,
        "drawing": drawer(),
        "photograph": photograph,
        "table_copies": lambda table: Markup(embedded(table_copies(table))),
    }


def photograph(picture: Picture) -> str:
    """The address of a picture of a report's gallery."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture.content).decode()}"


def figure_files(folder: Path, stem: str, start: Path) -> Callable[[Figure], list[tuple[str, str]]]:
    """What gives the files of a figure: their kinds and links.

    Args:
        folder: of the report.
        stem: of its files.
        start: folder of the page that links to them.
    """

    def files(figure: Figure) -> list[tuple[str, str]]:
        found = [(format, folder / figure_file(stem, figure.key, format)) for format in _FIGURE_FORMATS]
        return [(format.upper(), file_link(path, start)) for format, path in found if path.is_file()]

    return files


def file_link(path: Path, start: Path) -> str:
    """A link to a file from a page that lies in the folder `start`."""
    return quote(os.fsencode(Path(os.path.relpath(path, start)).as_posix()))
