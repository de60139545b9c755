"""Rendering: hostile texts stay texts in every format, numbers read as printed numbers, bytes repeat."""

from __future__ import annotations

import io
import itertools
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from rich.console import Console

from harness.errors import ResultsNotWritable, UnknownName
from harness.reports.document import escaping, figures, templating, terminal
from harness.reports.document.escaping import latex, markdown
from harness.reports.document.model import Column, Figure, Report, Section, Table, cell
from harness.reports.document.placement import name_points
from harness.reports.document.render import FORMATS, render, write
from harness.reports.document.text import MISSING, fixed, significant, single_line

HOSTILE = (
    '<script>alert("1")</script> & | $x_{ \\input{/etc/passwd} % # ~ ^ `code` **b** [a](javascript:x) {{ 7*7 }} {% x %}'
)


def drawing(name: str) -> Figure:
    with figures.canvas(3, 2) as canvas:
        axes = canvas.subplots()
        axes.plot([1, 2], [3, 4], marker="o")
        axes.set_title(figures.label(name, 200))
    return Figure(drawing=canvas, key=name, caption=name, alt=name)


def report(name: str = HOSTILE) -> Report:
    frame = pd.DataFrame({"name": [name, "plain"], "x": [61.24, np.nan], "x_sd": [0.4, None], "x_low": [59.0, None],
                          "x_high": [63.26, None]})  # fmt: skip
    columns = [Column(key="name", title=name, help=name), Column(key="x", title="X", kind="estimate", group=name)]
    table = Table(frame=frame, columns=columns, caption=name, key=name)
    folded = Table(
        frame=frame, columns=columns, caption=name, key="folded", collapsed=True, muted=[0], rule_by=["name"]
    )
    section = Section(
        title=name,
        sentences=[name, name],
        tables=[table, folded],
        figures=[drawing(name)],
        reading=[name],
        footnotes=[name],
    )
    data = {name: np.float64(1.5), "nan": np.nan}
    return Report(title=name, stem="r", sentences=[name], sections=[section], main=frame, data=data)


class Page(HTMLParser):
    """Collects the tags, attributes and visible text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text.append(data)


def test_html_shows_hostile_names_and_executes_none():
    page = Page(render(report(), "html"))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 8  # title, headings, sentences, captions, cells, notes
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.tags.count("svg") == 1
    assert ("aria-label", HOSTILE) in page.attributes
    assert not [name for name, _ in page.attributes if name in ("src", "style")]


def test_html_loads_nothing_from_elsewhere():
    text = render(report("plain"), "html")
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", text)
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_markdown_tables_keep_their_shape():
    lines = render(report(), "md").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 * 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert not any("<script" in line for line in lines)
    assert f"{MISSING} |" in rows[3]
    assert "61.2 ± 0.4 [59.0, 63.3]" in rows[2]


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("<b>", "&lt;b&gt;"),
        ("[x](y)", r"\[x](y)"),
        ("*a* `b` $c$", r"\*a\* \`b\` \$c\$"),
        ("grm.no_uncertainty", "grm.no_uncertainty"),
        ("_a_", r"\_a\_"),
        ("a\n# b", "a # b"),
        ("a\\", "a\\\\"),
    ],
)
def test_markdown_escapes(raw, escaped):
    assert markdown(raw) == escaped


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("50 % & $x_1^2$ #1", r"50 \% \& \$x\_1\textasciicircum{}2\$ \#1"),
        (r"\input{a}", r"\textbackslash{}input\{a\}"),
        ("a–b ± 1", r"a--b $\pm$ 1"),
        ("~<>|", r"\textasciitilde{}\textless{}\textgreater{}\textbar{}"),
        ("Müller 日本", "Müller ??"),
        ("a\nb", "a b"),
    ],
)
def test_latex_escapes(raw, escaped):
    assert latex(raw) == escaped


def test_latex_tables_have_equal_rows_and_no_open_group():
    text = render(report(), "tex")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[{}]", "", body.replace(r"\\", ""))  # neither line breaks nor escaped braces
    assert bare.count("{") == bare.count("}")
    assert "\\input" not in body
    cells = [re.sub(r"\\shortstack.*", "x", line) for line in body.splitlines() if line.strip().endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in cells} == {1}
    assert r"61.2$_{\pm 0.4}$" in body


def test_latex_leaves_out_prose_and_tables_that_are_not_for_papers():
    frame = pd.DataFrame({"a": ["kept"], "b": ["long story"]})
    columns = [Column(key="a", title="A"), Column(key="b", title="B", prose=True)]
    tables = [
        Table(frame=frame, columns=columns, caption="in", key="t1"),
        Table(frame=frame, columns=columns, caption="not-in", key="t2", for_paper=False),
    ]
    text = render(Report(title="t", sections=[Section(title="s", tables=tables)]), "tex")
    assert "kept" in text
    assert "long story" not in text
    assert "not-in" not in text
    assert text.count(r"\begin{table*}") == 1


def test_json_is_strict_and_whole():
    content = json.loads(render(report(), "json"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["title"] == HOSTILE
    assert content["data"] == {HOSTILE: 1.5, "nan": None}
    assert content["sections"][0]["tables"][0]["rows"][1]["x"] is None


def test_csv_reads_back(tmp_path):
    write(report(), tmp_path, formats=["csv"])
    back = pd.read_csv(tmp_path / "r.csv")
    assert back["name"].tolist() == [HOSTILE, "plain"]
    assert back["x"].iloc[0] == 61.24


def test_figures_are_files_beside_the_markdown_and_repeat_to_the_byte(tmp_path):
    first, second = (write(report(), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert {path.suffix for path in first} == {f".{f}" for f in FORMATS} | {".svg", ".png", ".pdf"}
    (link,) = re.findall(r"\]\(([\w.-]+\.svg)\)", (tmp_path / "a" / "r.md").read_text())
    ElementTree.fromstring((tmp_path / "a" / link).read_bytes())
    assert (tmp_path / "a" / link).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.svg(drawing("a").drawing)
    assert dict(matplotlib.rcParams) == before


def test_unknown_formats_and_unwritable_folders_say_so(tmp_path):
    with pytest.raises(UnknownName, match="report format 'docx'"):
        render(report(), "docx")
    (tmp_path / "file").touch()
    with pytest.raises(ResultsNotWritable):
        write(report("plain"), tmp_path / "file", formats=["md"])


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.01234, 3, "0.0123"), (1.235, 3, "1.24"), (99.96, 3, "100"), (9.996, 3, "10.0"), (12345.6, 3, "12,346"),
        (0.0, 3, "0"), (-1.5, 2, "\N{MINUS SIGN}1.5"),
    ],
)  # fmt: skip
def test_significant_digits(value, digits, text):
    assert significant(value, digits) == text


def test_fixed_digits():
    assert fixed(-0.04, 1) == "0.0"
    assert fixed(-3.25, 1) == "\N{MINUS SIGN}3.2"
    assert fixed(1234.5, 0) == "1,234"


def test_a_cell_without_a_deviation_or_interval_shows_only_what_it_has():
    column = Column(key="x", title="X", kind="estimate")
    assert cell(column, {"x": 1.0}).join() == "1.0"
    assert cell(column, {"x": 1.0, "x_low": 0.5, "x_high": 1.5}).join() == "1.0 [0.5, 1.5]"
    assert cell(column, {"x": pd.NA}).join() == MISSING


def test_texts_lose_control_and_direction_characters():
    assert single_line("a\u202eb\x1b[31m\r\nc\u2028d") == "ab[31m c d"


def printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal.Page(Report(title="t", brief=[table, "[red]said[/red]"])))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_narrow_terminal_leaves_wide_columns_and_deviations_to_the_files():
    frame = pd.DataFrame({"tier": [1, 1, 2], "name": ["a", "[b]c[/b]", "d"], "x": 61.24, "x_sd": 0.4, "seeds": 3})
    columns = [Column("name", "Name"), Column("seeds", "Seeds", "count", wide=True), Column("x", "X ± SD", "estimate")]
    table = Table(frame, columns, "Made up", "t", rule_by=["tier"])
    wide, narrow = printed(table, 120), printed(table, 80)
    assert next(line.split() for line in wide if "61.2" in line) == ["a", "3", "61.2", "±", "0.4"]
    assert [line.split() for line in narrow if "61.2" in line] == [["a", "61.2"], ["[b]c[/b]", "61.2"], ["d", "61.2"]]
    assert "X ± SD" in " ".join(wide)
    assert "±" not in " ".join(narrow)
    assert narrow[narrow.index(next(line for line in narrow if line.startswith(" d"))) - 1] == ""  # a new tier
    assert narrow[-1] == "[red]said[/red]"


def test_a_terminal_folds_long_texts_and_cuts_none_that_could_be_told_apart_by_its_end_only():
    names = [f"grm.no_original_level+no_salient_level+no_{end}" for end in ("prompting", "granularity")]
    table = Table(
        pd.DataFrame({"name": names, "x": 61.24}), [Column("name", "Name"), Column("x", "X", "number")], "", "t"
    )
    for width in (120, 40):
        text = "".join("".join(printed(table, width)).replace("61.2", "").split())
        assert all(name in text for name in names), width


def test_rules_stand_where_any_of_their_columns_changes():
    frame = pd.DataFrame({"a": [1, 1, 1, None, None], "b": ["x", "x", "y", "y", "y"]})
    assert Table(frame, [], "", "t", rule_by=["a", "b"]).rules == [2, 3]
    assert Table(frame, [], "", "t").rules == []


def test_names_beside_points_hide_neither_a_point_nor_each_other():
    draw = np.random.default_rng(0)
    points = [(x, y, f"method {i}", i % 2 == 0) for i, (x, y) in enumerate(draw.uniform(1, 9, (24, 2)))]
    with figures.canvas(6, 4) as drawing:
        axes = drawing.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 10))
        name_points(axes, points)
        drawing.draw_without_rendering()
    # The text alone: the box of an annotation spans to the point that it belongs to.
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) > 12
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    spots = axes.transData.transform([(x, y) for x, y, *_ in points])
    assert not [box for box in boxes for spot in spots if box.contains(*spot)]
    assert all(axes.get_window_extent().padded(2).contains(*corner) for box in boxes for corner in box.corners())


def test_what_a_template_compiles_to_is_kept_without_the_filters_and_escapes_of_another_report(tmp_path):
    """Compiled once per medium; a filter of a constant, which Jinja would compute while it compiles, is each report's own."""
    (tmp_path / "a.j2").write_text("{{ 'x' | named }} {{ value }}")

    def filled(name: str, escape) -> str:
        made = templating.environment((tmp_path,), escape, {"named": lambda value: f"{name} {value}"})
        return made.get_template("a.j2").render(value="3_4")

    assert filled("first", str) == "first x 3_4"
    assert filled("second", str) == "second x 3_4"
    assert filled("third", escaping.latex) == r"third x 3\_4"
    (tmp_path / "a.j2").write_text("{{ 'y' | named }}")
    assert filled("fourth", str) == "fourth y"
