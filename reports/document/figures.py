"""Figures that are the same bytes every time: one style, colours that survive greyscale, SVG and PNG writers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from harness.reports.document.palette import COLOURS, FAINT, GREY, GRID, PAPER
from harness.reports.document.text import shortened

__all__ = ["COLOURS", "FAINT", "GREY", "canvas", "label", "mark", "plain_ticks", "png", "rows_down", "style", "svg"]

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine draws the same glyphs
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "svg.hashsalt": "itm-harness",
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """The style in which figures are drawn and saved; matplotlib's settings are as before afterwards."""
    settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"} | _STYLE
    with matplotlib.rc_context(rc=settings):
        yield


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure, inches, outside pyplot's registry, to be drawn on in the style of all figures."""
    with style():
        yield Figure(figsize=(width, height), layout="constrained")


def mark(number: int) -> dict[str, Any]:
    """Colour and marker of a series by its number; pairs repeat after 49 series only."""
    size = len(COLOURS)
    return {"color": COLOURS[number % size], "marker": MARKERS[(number + number // size) % size]}


def rows_down(axes: Axes, names: Sequence[str], limit: int = 40) -> None:
    """Names of rows beside the vertical axis, the first on top."""
    axes.set_yticks(range(len(names)), [label(name, limit) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor="black")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def plain_ticks(*scales: Axis) -> None:
    """Ticks of a logarithmic scale as people write them: 1, 2, 5, 10, ... with thousands as 5k."""
    for scale in scales:
        low, high = scale.get_view_interval()
        decades = math.log10(high / low)
        scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=20))
        scale.set_major_formatter(lambda value, _: EngFormatter(sep="")(value) if value >= 1 else f"{value:g}")
        scale.set_minor_formatter(NullFormatter())
        scale.grid(which="minor", visible=False)


def label(text: str, limit: int = 48) -> str:
    """Untrusted text for a figure: one line, never read as a formula, cut to a length."""
    return shortened(text, limit).replace("$", r"\$")


def svg(figure: Figure | bytes) -> bytes:
    """The figure as SVG, without a date and with reproducible ids; that of a stored report is one already."""
    if isinstance(figure, bytes):
        return figure
    buffer = io.BytesIO()
    with style():
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG, without a software tag."""
    buffer = io.BytesIO()
    with style():
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
