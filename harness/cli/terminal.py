"""The one way to a terminal: whatever comes from data is shown as it is, and never obeyed.

Names, captions, paths and error messages may hold an escape sequence, a direction override or rich's markup. Everything
that a command prints goes through `say` or through a console of `console`; both show such characters as text.
"""

from __future__ import annotations

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
    say(f"written: {folder}/{report.stem}.{first}{names}{drawn}")


def show_table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Collection[int] = ()) -> None:
    """Print a table; where no terminal gives a width, every row stays on one line."""
    from harness.reports.document.terminal import grid

    out = console()
    if not out.is_terminal:
        out.width = 500
    out.print(grid(titles, rows, numeric=numeric))


def _acts(c: str) -> bool:
    return c not in _JOINERS and c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
