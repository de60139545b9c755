"""What every figure of a report keeps: nothing overprints, dark mode, hover texts, safe SVG, PDF for papers."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import figure_cases
import numpy as np
import pytest
from overprinting import overprinted

from harness.reports.document import figures, palette
from harness.reports.document.inline import inline_svg
from harness.reports.profile.figures import pareto_figure
from harness.reports.profile.rows import AXES, rows_of

SVG = "{http://www.w3.org/2000/svg}"
#: One of each kind, with hostile names where there is room for them.
KINDS = (
    "leaderboard untimed", "leaderboard of 7", "significance of 3 level", "profile of 2", "sweep of 2 trials",
    "ablation of 7", "description of 3",
)  # fmt: skip


def drawn(case: str) -> list[tuple[figures.Drawing, ElementTree.Element]]:
    return [
        (figure.drawing, ElementTree.fromstring(figures.svg(figure.drawing)))
        for figure in figure_cases.figures_of(case)
    ]


@pytest.mark.parametrize("case", figure_cases.CASES)
def test_nothing_overprints(case):
    made = figure_cases.figures_of(case)
    assert made
    assert {figure.key: overprinted(figure.drawing) for figure in made} == {figure.key: [] for figure in made}


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([(0.5, 0.5), (0.52, 0.5)], ["'text 0' and 'text 1'"]),
        ([(0.1, 0.1), (0.9, 0.9)], []),
        ([(0.999, 0.5)], ["'text 0' leaves the canvas"]),
    ],
)
def test_overprinting_is_found_where_it_is(places, found):
    with figures.canvas(4, 3) as drawing:
        axes = drawing.subplots()
        for number, (x, y) in enumerate(places):
            axes.text(x, y, f"text {number}", transform=axes.transAxes).set_in_layout(False)
    assert overprinted(drawing) == found


def test_a_legend_over_a_marker_is_found():
    with figures.canvas(4, 3) as drawing:
        axes = drawing.subplots()
        axes.plot([0, 1], [0, 1], "o", label="marks")
        axes.legend(loc="upper right")
    assert overprinted(drawing) == ["a legend hides 1 markers"]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


DARK = {light.lower(): dark for light, dark in palette.DARK.items()}


@pytest.mark.parametrize("colour", ["#000000", palette.GREY])
def test_texts_can_be_read_in_both_modes(colour):
    assert contrast(colour, palette.PAPER) >= 4.5
    assert contrast(DARK[colour], DARK[palette.PAPER]) >= 4.5


@pytest.mark.parametrize("colour", [*palette.COLOURS, palette.FAINT])
def test_marks_stand_out_in_the_dark(colour):
    assert contrast(DARK[colour.lower()], DARK[palette.PAPER]) >= 3


def test_dark_series_stay_apart_and_dominated_points_stay_muted():
    dark = [DARK[colour.lower()] for colour in palette.COLOURS]
    for a, b in itertools.combinations(dark, 2):
        assert sum(abs(int(a[i : i + 2], 16) - int(b[i : i + 2], 16)) for i in (1, 3, 5)) > 90, (a, b)
    paper = DARK[palette.PAPER]
    assert contrast(DARK[palette.FAINT], paper) < min(contrast(colour, paper) for colour in dark)
    assert 1.1 < contrast(DARK[palette.GRID], paper) < contrast(DARK[palette.FAINT], paper)


def test_shades_of_evidence_rise_from_the_paper_in_both_modes():
    """Weak evidence is close to the paper; what is written in a cell can be read on every shade."""
    for mode in (dict(zip(DARK, DARK, strict=True)), DARK):
        paper, shades = mode[palette.PAPER], [mode[shade] for shade in palette.SHADES]
        steps = [contrast(paper, shade) for shade in shades]
        assert steps == sorted(steps)
        inks = [mode["#000000"]] * 3 + [paper]
        assert all(contrast(ink, shade) >= 4.5 for ink, shade in zip(inks, shades, strict=True))


@pytest.mark.parametrize("case", KINDS)
def test_every_colour_of_a_figure_has_a_dark_one(case):
    for _, root in drawn(case):
        used = {element.get(paint) for element in root.iter() for paint in ("fill", "stroke")} - {None, "none"}
        # A style sheet does not reach the copies that markers are: their colours are those of the `use`.
        assert not [
            path for defs in root.iter(f"{SVG}defs") for path in defs.findall(f"{SVG}path") if path.get("stroke")
        ]
        assert {colour for colour in used if not colour.startswith("url(")} <= DARK.keys()


@pytest.mark.parametrize("case", KINDS)
def test_figures_hold_no_style_but_the_dark_one_and_no_comment(case):
    for drawing, root in drawn(case):
        text = figures.svg(drawing).decode()
        assert "<!" not in text
        assert 'style="' not in text
        (style,) = root.iter(f"{SVG}style")
        assert style.text == palette.dark_rules()
        assert text.count("http") == 2  # the two name spaces
        assert inline_svg(text.encode(), "f1", "").count("<path") == text.count("<path")


@pytest.mark.parametrize("case", KINDS)
def test_every_described_mark_says_what_it_is(case):
    for drawing, root in drawn(case):
        said = [mark.title for marks in drawing.descriptions.values() for mark in marks]
        titles = [title.text for title in root.iter(f"{SVG}title")]
        assert titles
        assert sorted(titles) == sorted(said)


def test_names_reach_the_hover_text_whole_and_as_text():
    ((_, root),) = drawn("leaderboard untimed")
    titles = {title.text for title in root.iter(f"{SVG}title")}
    name = figure_cases.HOSTILE[0]
    assert any(title.startswith(f"{name}: rSum 600.0 [592.0, 608.0]") for title in titles)
    assert not list(root.iter(f"{SVG}script"))


def test_a_marker_that_is_not_drawn_leaves_the_others_undescribed_rather_than_wrong():
    with figures.canvas(4, 3) as drawing:
        axes = drawing.subplots()
        (line,) = axes.plot([0, 1, 2], [0, np.nan, 1], "o")
        figures.describe_each(line, [(f"mark {number}", {}) for number in range(3)])
    assert b"<title>" not in figures.svg(drawing)


def test_points_of_a_profile_carry_their_values():
    made = figure_cases.profile(figure_cases.many_points(figure_cases.SEVEN[:3]))
    rows = rows_of(made, {})
    for axis in AXES:
        root = ElementTree.fromstring(figures.svg(pareto_figure(rows, axis, ["a"]).drawing))
        points = {g.get("data-label"): g for g in root.iter(f"{SVG}g") if g.get("data-x")}
        expected = {row["label"]: row for row in rows if row[axis.column] is not None and not row["is_fine"]}
        assert points.keys() == expected.keys()
        assert {p.get("data-noisy") for p in points.values()} == ({"true", "false"} if axis.measured else {"false"})
        for label, point in points.items():
            row = expected[label]
            assert float(point.get("data-x")) == row[axis.column]
            assert float(point.get("data-rsum")) == row["rsum"]
            assert point.get("data-noisy") == str(axis.noisy(row)).lower()
            assert point.get("data-front") == str(bool(row[f"front_{axis.key}"])).lower()
            colours = {(use.get("fill"), use.get("stroke")) for use in point.iter(f"{SVG}use")}
            muted = not row[f"front_{axis.key}"] and not axis.noisy(row)
            for fill, edge in colours:
                assert (fill == palette.PAPER) is axis.noisy(row)  # hollow
                assert (palette.FAINT in (fill, edge)) is muted


def test_a_pdf_is_the_same_every_time_and_holds_its_fonts(true_type, monkeypatch):
    for key, value in true_type.items():
        monkeypatch.setitem(figures._STYLE, key, value)
    drawing = figure_cases.figures_of("leaderboard of 7")[0].drawing
    first, again = figures.pdf(drawing), figures.pdf(drawing)
    assert first == again
    assert first.startswith(b"%PDF-")
    assert b"/FontFile2" in first  # TrueType, which publishers accept
    assert b"/Type3" not in first
    assert not re.search(rb"CreationDate|Producer|Creator|/ID", first)
