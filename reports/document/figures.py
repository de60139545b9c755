"""Figures that are the same bytes every time: one style, colours that survive greyscale, SVG, PNG and PDF writers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from harness.reports.document.palette import COLOURS, FAINT, GREY, GRID, PAPER
from harness.reports.document.text import single_line
from harness.reports.document.vector import Description, finished

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
__all__ = [
    "COLOURS", "FAINT", "GREY", "MARKERS", "Drawing", "canvas", "describe", "describe_each", "label", "legend_below", "mark",
    "pdf", "plain_ticks", "png", "rows_down", "style", "svg", "text_size",
]  # fmt: skip
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
    "pdf.fonttype": 42,  # TrueType: conferences refuse type 3
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
def canvas(width: float, height: float) -> Iterator[Drawing]:
    """An empty figure, inches, outside pyplot's registry, to be drawn on in the style of all figures.

    When the block ends, the layout is made and kept: every format shows the same places, and is written faster.
    """
    with style():
        drawing = Drawing(figsize=(width, height), layout="constrained")
        yield drawing
        drawing.lay_out()


class Drawing(Figure):
    """A figure that knows what its marks are; it is finished when its `canvas` ends."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.descriptions: dict[str, list[Description]] = {}
        self.written: bytes | None = None  # its SVG, which goes into a page and into a file

    def lay_out(self) -> None:
        """Decide once where everything lies, and keep it there. A layout that was made already is kept."""
        engine = self.get_layout_engine()
        if engine is not None:
            engine.execute(self)
            self.set_layout_engine("none")


def describe(artist: Artist, title: str, **data: Any) -> None:
    """Say what a mark shows: its hover text in the SVG, and `data-` attributes for a page's script.

    Args:
        artist: drawn on a `canvas`.
        title: untrusted text, name and value.
        data: values by attribute (`rsum` becomes `data-rsum`); numbers at full precision.
    """
    describe_each(artist, [(title, data)])


def describe_each(artist: Artist, marks: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Say what each marker of a line or a scatter plot shows, in the order drawn; one describes the whole artist."""
    drawing = artist.get_figure(root=True)
    assert isinstance(drawing, Drawing)
    gid = f"mark-{len(drawing.descriptions)}"
    artist.set_gid(gid)
    drawing.descriptions[gid] = [
        Description(single_line(title), {key.replace("_", "-"): _value(value) for key, value in data.items()})
        for title, data in marks
    ]


def mark(number: int) -> dict[str, Any]:
    """Colour and marker of a series by its number; pairs repeat after 49 series only."""
    size = len(COLOURS)
    return {"color": COLOURS[number % size], "marker": MARKERS[(number + number // size) % size]}


def rows_down(axes: Axes, names: Sequence[str]) -> None:
    """Names of rows beside the vertical axis, the first on top; each has passed `label`."""
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", length=0, labelcolor="black")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def legend_below(drawing: Drawing, handles: Sequence[Artist], title: str = "", size: float = 8.0) -> None:
    """A legend below everything, as many columns as fit and the figure as much higher, so that it hides nothing.

    Args:
        drawing: finished but for the legend.
        handles: labelled artists.
        title: what the labels are.
        size: of the type, in points.
    """
    if not handles:
        return
    names = [str(handle.get_label()) for handle in handles]
    # A handle and the gaps beside it are 4.8 letters wide.
    entry = max(text_size(name, size)[0] for name in names) + 4.8 * size
    columns = max(1, min(len(names), int((drawing.get_figwidth() * 72 - 2 * size) // entry)))
    lines = math.ceil(len(names) / columns) + bool(title)
    drawing.set_figheight(drawing.get_figheight() + (lines * 1.7 * size + size) / 72)
    drawing.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=size, title=title or None,
        title_fontsize=size, columnspacing=1.4,
    )  # fmt: skip


def text_size(text: str, size: float) -> tuple[float, float]:
    """Width and height of a text on one line, in points, with room for accents and descenders."""
    font, widths = get_font(font_manager.findfont("DejaVu Sans")), []
    for dpi in (100, 1000):  # letters are fitted to the pixels of a screen, and to nothing in SVG and PDF
        font.set_size(size, dpi)
        font.set_text(text.replace(r"\$", "$"))
        widths.append(font.get_width_height()[0] / 64 * 72 / dpi)
    return max(widths) + 1, 1.25 * size


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
    r"""Untrusted text for a figure: one line, never read as a formula, cut to a length in its middle.

    Long names of methods differ in their last words.

    >>> label("grm.no_original_level+no_prompting", 20), label("cost in $", 20)
    ('grm.no_ori…prompting', 'cost in \\$')
    """
    text = single_line(text)
    if len(text) > limit:
        tail = limit // 2 - 1
        text = f"{text[: limit - 1 - tail]}…{text[-tail:]}"
    return text.replace("$", r"\$")


def svg(figure: Drawing | bytes) -> bytes:
    """The figure as SVG, without a date and with reproducible ids; that of a stored report is one already."""
    if isinstance(figure, bytes):
        return figure
    if figure.written is None:
        buffer = io.BytesIO()
        with style():
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        figure.written = finished(buffer.getvalue(), figure.descriptions)
    return figure.written


def png(figure: Drawing, dpi: int = 160) -> bytes:
    """The figure as PNG, without a software tag."""
    buffer = io.BytesIO()
    with style():
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def pdf(figure: Drawing) -> bytes:
    """The figure as PDF for papers, with its fonts embedded as TrueType and without a date or a tool's name."""
    buffer = io.BytesIO()
    with style():
        metadata = {"CreationDate": None, "Creator": None, "Producer": None}
        FigureCanvasPdf(figure).print_pdf(buffer, metadata=metadata)
    return buffer.getvalue()


def _value(value: Any) -> str:
    """A value as a script reads it: true and false, numbers at full precision, nothing for None.

    >>> _value(True), _value(np.float64(1.5)), _value("a"), _value(None)
    ('true', '1.5', 'a', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return single_line(str(value))
