"""Charts that are written directly: where their points lie, what they tell, and that their texts keep apart."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest

from harness.reports.document.charts import Line, Panel, chart, log_ticks, ticks
from harness.reports.document.inline import inline_svg
from harness.reports.document.palette import DARK

NAMES = ("original", "salient", "uncertain", "reconstruction", "kl", "entropy", "a very long name of a loss")


def elements(svg, tag):
    return [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith(f"}}{tag}")]


def training(epochs, log=False, names=NAMES):
    x = [float(n + 1) for n in range(epochs)]
    lines = [Line(x, [10.0 ** (-i) / (n + 1) for n in range(epochs)], name) for i, name in enumerate(names)]
    return Panel(lines, "losses", "epoch", log_y=log, whole=True)


@pytest.mark.parametrize(
    ("low", "high", "whole"),
    [
        (0, 1, False),
        (0.001, 0.0013, False),
        (-3, 7, False),
        (250.1, 431.9, False),
        (1, 2, True),
        (0.5, 30.5, True),
        (0, 1e6, False),
    ],
)
def test_ticks_are_few_round_and_within(low, high, whole):
    found = ticks(low, high, 6, whole=whole)
    assert 2 <= len(found) <= 6
    assert all(low <= value <= high for value in found)
    steps = {round(b - a, 10) for a, b in itertools.pairwise(found)}
    (step,) = steps
    mantissa = step / 10 ** math.floor(math.log10(step))
    assert round(mantissa, 6) in (1, 2, 5, 10)
    assert not whole or all(value == int(value) for value in found)


@pytest.mark.parametrize(("low", "high"), [(1, 100), (0.5, 8), (1e-6, 1), (3, 4000)])
def test_ticks_of_a_logarithmic_axis_lie_within(low, high):
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 9
    assert all(low <= value <= high for value in found)


def test_points_lie_in_proportion_and_tell_their_values():
    svg = chart(
        [Panel([Line([1.0, 2.0, 3.0], [0.0, 5.0, 10.0], "a"), Line([1.0, 3.0], [10.0, math.nan], "b")], "y", "x")]
    )
    marks = [element for element in elements(svg, "path") if element.find("{*}title") is not None]
    assert [mark.find("{*}title").text for mark in marks] == ["a, x 1: 0", "a, x 2: 5", "a, x 3: 10", "b, x 1: 10"]
    places = [tuple(map(float, mark.get("transform")[10:-1].split())) for mark in marks]
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = places
    assert (x2 - x1, y1 - y2) == pytest.approx((x3 - x2, y2 - y3), abs=0.11)
    assert (x4, y4) == (x1, y3)


def test_a_gap_is_not_bridged():
    (line,) = [
        e
        for e in elements(chart([Panel([Line([1, 2, 3, 4], [1, 2, math.nan, 1])], "y", "x")]), "path")
        if e.get("fill") == "none"
    ]
    assert line.get("d").count("M") == 2


def test_a_single_epoch_and_equal_values_have_axes():
    for panel in (training(1), Panel([Line([1, 2], [3, 3])], "y", "x"), Panel([], "y", "x"), training(1, log=True)):
        assert elements(chart([panel]), "text")


@pytest.mark.parametrize("epochs", [1, 2, 5, 30, 200])
@pytest.mark.parametrize("log", [False, True])
def test_no_text_covers_another(epochs, log):
    """By the width of a wide sans-serif type: 0.62 of its size per character."""
    x = [float(n + 1) for n in range(epochs)]
    rate = Panel([Line(x, [3e-8 * (n + 1) for n in range(epochs)])], "learning rate at the end", "epoch", whole=True)
    recall = Panel([Line([1, 10, 100], [1, 50, 100], "image to text")], "recall at K", "K", log_x=True, top=100.0)
    svg = chart([training(epochs, log), rate, recall, training(epochs, names=("b",))])
    root = ElementTree.fromstring(svg)
    boxes = []
    for text in elements(svg, "text"):
        size, x_at, y_at = (float(text.get(key)) for key in ("font-size", "x", "y"))
        width = 0.62 * size * len(text.text)
        left = x_at - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
        boxes.append((left, y_at - 0.8 * size, left + width, y_at + 0.2 * size, text.text))
    for one in boxes:
        assert one[0] >= 0, one
        assert one[2] <= float(root.get("width")), one
        assert one[1] >= 0, one
        assert one[3] <= float(root.get("height")), one
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_every_colour_has_a_dark_counterpart():
    for element in ElementTree.fromstring(chart([training(3, True)])).iter():
        for paint in (element.get("fill"), element.get("stroke")):
            assert paint in (None, "none") or paint.lower() in DARK


def test_a_page_takes_it_as_it_is():
    svg = chart([training(4)])
    markup = ElementTree.fromstring(inline_svg(svg, "figure1", "losses"))
    for tag in ("text", "path", "line", "title"):
        inside = [element for element in markup.iter() if element.tag.split("}")[-1] == tag]
        assert len(inside) == len(elements(svg, tag))


def test_names_are_text():
    svg = chart([Panel([Line([1], [1], "<script>&"), Line([1], [2], "b")], "<b>", "x")])
    assert b"<script" not in svg
    assert "<script>&" in [text.text for text in elements(svg, "text")]
