"""Small line charts as SVG, written directly: a page of a run has five panels, and a results folder hundreds of runs.

matplotlib draws the figures of reports, which also become PNG and PDF. It takes a fifth of a second for five panels; this
takes a few milliseconds. Colours are those of all figures, so that dark mode reaches them; every point tells its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from harness.reports.document.palette import COLOURS, GREY, GRID, PAPER
from harness.reports.document.text import shortened

#: Pixels: a panel without its headings, the room around it, and lines of text.
WIDTH, HEIGHT = 320, 150
_LEFT, _RIGHT, _BOTTOM, _LINE, _GAP = 60, 12, 36, 16, 14
_SIZE = 12.0
_LETTER = 0.6 * _SIZE  # a wide guess: names keep their distance
_MOST_MARKS = 60
_LONGEST_NAME = 24
#: Shapes of markers around (0, 0), so that series are told apart without colours.
_MARKS = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "M-2.7-2.7h5.4v5.4h-5.4z",
    "M0-3.8L3.8 0L0 3.8L-3.8 0z",
    "M0-3.6L3.5 2.6h-7z",
)


@dataclass(frozen=True)
class Line:
    """A series: y over x; points that are not finite are gaps."""

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""  # untrusted; in the legend, if it has one


@dataclass(frozen=True)
class Panel:
    """A pair of axes with its lines."""

    lines: Sequence[Line]
    title: str  # what the vertical axis is, above it
    x_title: str
    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False  # the vertical axis begins at 0
    top: float | None = None  # where it ends; by default above the highest point
    ring: tuple[float, float, str] | None = None  # x, y and name of a point that is ringed
    whole: bool = False  # ticks of x are whole numbers


def chart(panels: Sequence[Panel], columns: int = 2) -> bytes:
    """The panels side by side, row by row, as an SVG file.

    >>> chart([Panel([Line([1, 2], [3.0, 4.0])], "rSum", "epoch")])[:4]
    b'<svg'
    """
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    width = min(columns, len(panels)) * (_LEFT + WIDTH + _RIGHT)
    root = Element("svg", xmlns="http://www.w3.org/2000/svg")
    background = SubElement(root, "rect", x="0", y="0", width=str(width), fill=PAPER)
    y = 0.0
    for row in rows:
        head = max(_head(panel) for panel in row)
        for number, panel in enumerate(row):
            _draw(root, panel, number * (_LEFT + WIDTH + _RIGHT) + _LEFT, y, head)
        y += head + HEIGHT + _BOTTOM + _GAP
    height = f"{y - _GAP:g}"
    background.set("height", height)
    root.attrib |= {"data-size": "small"} if len(panels) == 1 else {}
    root.attrib |= {"width": str(width), "height": height, "viewBox": f"0 0 {width} {height}"}
    return tostring(root)


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round values within a range, at most `most`: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(0, 9), ticks(0.93, 3.1, whole=True)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0])
    """
    raw = max((high - low) / (most - 1), 1.0 if whole else 0.0) or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Values within a range of a logarithmic axis: 1, 2, 5, 10, ..., or powers of ten where it is wide.

    >>> log_ticks(1, 100), log_ticks(1e-4, 1)
    ([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0], [0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low <= 300 else (1,)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _head(panel: Panel) -> float:
    """Height of what stands above a panel: its title and its legend."""
    return _LINE * (1 + len(_legend(panel))) + 6.0


def _legend(panel: Panel) -> list[list[tuple[int, str, float]]]:
    """Lines of names: number of the series, name, and where it begins."""
    named = [(number, shortened(line.name, _LONGEST_NAME)) for number, line in enumerate(panel.lines) if line.name]
    rows: list[list[tuple[int, str, float]]] = []
    x = math.inf
    for number, name in named:
        needed = 18 + _LETTER * len(name) + 8
        if x + needed > WIDTH:
            rows.append([])
            x = 0.0
        rows[-1].append((number, name, x))
        x += needed
    return rows


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    """A range with some room around the values."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    low, high = (min(finite), max(finite)) if finite else (1.0, 1.0)
    if log:
        room = (high / low) ** 0.05 if high > low else 1.5
        return low / room, high * room
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


class _Axis:
    """Values along one side of a panel, and where they lie."""

    def __init__(self, low: float, high: float, log: bool, start: float, end: float):
        self._log, self._low, self._high = log, low, high
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        at, low, high = (math.log(v) if self._log else v for v in (value, self._low, self._high))
        return self._start + (at - low) / (high - low) * (self._end - self._start)

    def holds(self, value: float) -> bool:
        return math.isfinite(value) and self._low <= value <= self._high

    def ticks(self, most: int, whole: bool = False) -> list[float]:
        return log_ticks(self._low, self._high) if self._log else ticks(self._low, self._high, most, whole=whole)


def _draw(root: Element, panel: Panel, left: float, top: float, head: float) -> None:
    xs = [value for line in panel.lines for value in line.x]
    ys = [value for line in panel.lines for value in line.y]
    y_low, y_high = _range(ys, panel.log_y)
    y_low = 0.0 if panel.from_zero else y_low
    y_high = y_high if panel.top is None else panel.top
    floor = top + head + HEIGHT
    across = _Axis(*_range(xs, panel.log_x), panel.log_x, left, left + WIDTH)
    up = _Axis(y_low, max(y_high, y_low + 1e-12), panel.log_y, floor, top + head)
    group = SubElement(root, "g")
    _frame(group, panel, across, up, left, floor)
    _text(group, left - _LEFT + 4, top + _LINE - 3, panel.title, size=_SIZE + 0.5, fill="#000000")
    for row, names in enumerate(_legend(panel)):
        for number, name, x in names:
            y = top + _LINE * (row + 2) - 3
            _mark(group, number, left + x + 6, y - 4)
            _text(group, left + x + 16, y, name)
    for number, line in enumerate(panel.lines):
        _line(group, number, line, across, up, panel.x_title)
    if panel.ring is not None and up.holds(panel.ring[1]):
        x, y, name = panel.ring
        ring = SubElement(
            group, "circle", cx=f"{across(x):.1f}", cy=f"{up(y):.1f}", r="7", fill="none", stroke=COLOURS[5]
        )
        ring.set("stroke-width", "1.6")
        SubElement(ring, "title").text = name


def _frame(group: Element, panel: Panel, across: _Axis, up: _Axis, left: float, floor: float) -> None:
    for value in up.ticks(5):
        y = f"{up(value):.1f}"
        SubElement(group, "line", x1=f"{left:g}", x2=f"{left + WIDTH:g}", y1=y, y2=y, stroke=GRID)
        _text(group, left - 6, up(value) + 4, _number(value), anchor="end", fill=GREY)
    for value in across.ticks(8, panel.whole):
        x = across(value)
        SubElement(group, "line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{floor:g}", y2=f"{floor + 4:g}", stroke=GREY)
        _text(group, x, floor + 17, _number(value), anchor="middle", fill=GREY)
    SubElement(group, "line", x1=f"{left:g}", x2=f"{left + WIDTH:g}", y1=f"{floor:g}", y2=f"{floor:g}", stroke=GREY)
    _text(group, left + WIDTH, floor + 32, panel.x_title, anchor="end")


def _line(group: Element, number: int, line: Line, across: _Axis, up: _Axis, x_title: str) -> None:
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if across.holds(x) and up.holds(y)]
    gaps = [across.holds(x) and up.holds(y) for x, y in zip(line.x, line.y, strict=True)]
    path, pen = [], "M"
    for x, y, drawn in zip(line.x, line.y, gaps, strict=True):
        if drawn:
            path.append(f"{pen}{across(x):.1f} {up(y):.1f}")
        pen = "L" if drawn else "M"
    drawn_line = SubElement(
        group, "path", d="".join(path) or "M0 0", fill="none", stroke=COLOURS[number % len(COLOURS)]
    )
    drawn_line.set("stroke-width", "1.6")
    for x, y in points if len(points) <= _MOST_MARKS else ():
        mark = _mark(group, number, across(x), up(y))
        name = f"{shortened(line.name, _LONGEST_NAME)}, " if line.name else ""
        SubElement(mark, "title").text = f"{name}{x_title} {x:g}: {y:.4g}"


def _mark(group: Element, number: int, x: float, y: float) -> Element:
    shape = _MARKS[(number + number // len(COLOURS)) % len(_MARKS)]
    return SubElement(
        group, "path", d=shape, transform=f"translate({x:.1f} {y:.1f})", fill=COLOURS[number % len(COLOURS)]
    )


def _text(
    group: Element, x: float, y: float, text: str, anchor: str = "start", fill: str = "#000000", size: float = _SIZE
) -> None:
    made = SubElement(group, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill=fill)
    made.attrib |= {"text-anchor": anchor, "font-size": f"{size:g}", "font-family": "DejaVu Sans, sans-serif"}
    made.text = shortened(text, 60)


def _number(value: float) -> str:
    """A tick as people write it.

    >>> _number(1500.0), _number(0.002), _number(2e-7)
    ('1,500', '0.002', '2e-07')
    """
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:g}"
