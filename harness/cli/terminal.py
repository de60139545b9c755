"""The one way to a terminal: whatever comes from data is shown as it is, and never obeyed.

Names, captions, paths and error messages may hold an escape sequence, a direction override or rich's markup. Everything
that a command prints goes through `say` or through a console of `console`; both show such characters as text.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.reports.document.model import Report

#: Format characters that scripts and emoji need and that change nothing around them.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def visible(text: str) -> str:
    r"""Text with each control, direction-changing or unencodable character written out; newlines stay.

    >>> visible("\x1b[31mred")
    '\\x1b[31mred'
    """
    return "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)


def one_line(text: object) -> str:
    """`visible` text on one line."""
    return visible(" ".join(str(text).split()))


def say(text: object, *, err: bool = False) -> None:
    """Print text, which may have several lines, to stdout or stderr."""
    click.echo(visible(str(text)), err=err)


def say_file(what: str, file: Path, text: str = "") -> None:
    """Print where a file is; a terminal that knows links opens it by a click (OSC 8).

    Args:
        what: it is, in a word: "written".
        file: to open.
        text: that is shown; the file's path by default.
    """
    click.echo(f"{what}: {_link(visible(text or str(file)), file)}")


def complain(text: object) -> None:
    """Print the one line of an error to stderr, as every command words it."""
    say(f"itm: error: {one_line(text)}", err=True)


def console(**options: Any) -> Console:
    """A rich console that reads no markup and no emoji codes, and shows what would act on the terminal.

    Args:
        options: of `rich.console.Console`.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return SafeConsole(markup=False, emoji=False, highlight=False, **options)


def show_page(report: Report, folder: Path) -> None:
    """Print the brief form of a report and where its files are."""
    from harness.reports.document.terminal import Page

    console().print(Page(report))
    written(report, folder)


def written(report: Report, folder: Path) -> None:
    """Print where the files of a report are."""
    from harness.reports.document.render import FORMATS

    first, *others = FORMATS
    names = "".join([*(f", .{format}" for format in others), *(f", {name}" for name in report.attachments)])
    drawn = f"; {len(report.figures)} figures as .svg, .png, .pdf" if len(report.figures) > 1 else ""
    drawn = "; its figure as .svg, .png, .pdf" if len(report.figures) == 1 else drawn
    page = folder / f"{report.stem}.html"
    say_file("written", page, f"{folder}/{report.stem}.{first}{names}{drawn}")


def show_table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Collection[int] = ()) -> None:
    """Print a table, or a block per row in a narrow terminal; where none gives a width, every row stays on one line."""
    from harness.reports.document.terminal import blocks, fits, grid

    out, listed = console(), [list(row) for row in rows]
    if not out.is_terminal:
        out.width = 100_000  # longer than any row
    if fits(titles, listed, numeric, out.width):
        out.print(grid(titles, listed, numeric=numeric, width=out.width))
    else:
        out.print(*blocks(titles, listed, out.width), sep="\n")


def _link(text: str, file: Path) -> str:
    """Text as a link, on a terminal that is not dumb and whose user wants more than plain text."""
    stream = sys.stdout
    plain = not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return text if plain else f"\x1b]8;;{file.absolute().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\"


def _acts(c: str) -> bool:
    return c not in _JOINERS and c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
