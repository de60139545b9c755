"""Tables for papers: they fit the text, show the chosen columns, and set the best in bold by the rule of their caption."""

from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest

from harness.errors import UnknownName
from harness.reports.document.best import best_rows
from harness.reports.document.latex import require_columns
from harness.reports.document.model import Column, Paper, Report, Section, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.document.render import render
from harness.reports.leaderboard.report import paper_columns

RECALLS = recall_columns("estimate")
COLUMNS = (
    Column("name", "Method"),
    Column("empty", "Nothing"),
    *RECALLS,
    Column("rsum", "rSum", "estimate", better="higher", pinned=True),
    Column("medr", "Med r", "number", better="lower"),
    Column("ms", "Time (ms)", "significant", better="lower", noise="ms_noisy"),
    Column("seeds", "Seeds", "count", wide=True),
    Column("backbone", "Backbone"),
)


def frame(**columns: list) -> pd.DataFrame:
    """Three measured methods and a published one."""
    recalls = {column.key: [50.0, 50.04, 49.0, 60.0] for column in RECALLS}
    spread = {f"{column.key}_sd": [0.5, 1.2, 10.4, None] for column in RECALLS}
    bounds = {f"{c.key}_{end}": [c_, c_, c_, None] for c in RECALLS for end, c_ in (("low", 40.0), ("high", 60.0))}
    own = {
        "name": ["first", "second", "third", "printed"],
        "empty": [None] * 4,
        "rsum": [300.0, 300.24, 294.0, 360.0],
        "rsum_sd": [3.0, 7.2, 62.4, None],
        "medr": [3.0, 1.0, 1.0, 2.0],
        "ms": [2.0, 1.0, 3.0, None],
        "ms_noisy": [False, True, False, False],
        "seeds": [3, 3, 3, None],
        "backbone": ["ViT-B/32 and a bidirectional GRU"] * 4,
        "origin": ["re-implementation"] * 3 + ["published"],
    }
    return pd.DataFrame(own | recalls | spread | bounds | columns)


def latex(paper: Paper | None = None, columns=COLUMNS, **more) -> str:
    table = Table(frame(), columns, "Accuracy", "accuracy", **more)
    return render(Report(title="t", sections=[Section(title="s", tables=[table])], paper=paper or Paper()), "tex")


def cells(text: str) -> list[list[str]]:
    """The rows of the first table's body."""
    body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    return [line.strip().removesuffix(r"\\").split(" & ") for line in body.splitlines() if line.endswith(r"\\")]


def headings(text: str) -> list[str]:
    line = next(line for line in text.splitlines() if r"\multicolumn{1}{l}" in line)
    return re.findall(r"\\multicolumn\{1\}\{[lc]\}\{([^}]*)\}", line)


@pytest.mark.parametrize(
    ("key", "better", "published", "rows"),
    [
        ("i2t_r1", "higher", False, {0, 1}),  # 50.04 is printed as 50.0
        ("i2t_r1", "higher", True, {3}),
        ("rsum", "higher", False, {1}),
        ("medr", "lower", False, {1, 2}),
        ("medr", "lower", True, {1, 2}),
        ("medr", "", False, set()),
        ("ms", "lower", False, {0}),  # the fastest was measured in noise
    ],
)
def test_the_best_by_direction_ties_and_what_takes_no_part(key, better, published, rows):
    column = next(column for column in COLUMNS if column.key == key)
    column = Column(key, column.title, column.kind, better=better, noise=column.noise)
    assert best_rows(column, frame().to_dict("records"), published=published) == rows


def test_one_value_is_no_best():
    only = frame(medr=[3.0, None, None, 1.0]).to_dict("records")
    assert best_rows(Column("medr", "Med r", "number", better="lower"), only) == set()


def test_published_methods_among_themselves_have_a_best():
    printed = frame(origin=["published"] * 4).to_dict("records")
    assert best_rows(Column("rsum", "rSum", "number", better="higher"), printed) == {3}


def test_the_caption_says_what_bold_means():
    text = latex(Paper(columns=("name", "rsum", "ms")))
    assert [row[1].startswith(r"\textbf{") for row in cells(text)] == [False, True, False, False]
    assert [row[2].startswith(r"\textbf{") for row in cells(text)] == [True, False, False, False]
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    assert caption.startswith("Accuracy. Bold: the best value of a column and all printed like it")
    assert r"marked \textasciitilde{} were measured in noise" in caption
    assert "published rows are not compared" in caption
    assert "published" not in re.search(r"\\caption\{(.*)\}", latex(Paper(published=True)))[1]


def test_no_table_is_scaled_unless_asked():
    assert "resizebox" not in latex()
    shrunk = latex(Paper(shrink=True))
    assert r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}" in shrunk
    assert "Backbone" in headings(shrunk)  # with all columns


def test_what_does_not_fit_or_says_nothing_is_left_out_and_named():
    text = latex()
    assert headings(text)[:8] == ["Method", "R@1", "R@5", "R@10", "R@1", "R@5", "R@10", "rSum"]
    (line,) = re.findall("% Columns left out: (.*)", text)
    assert "empty" in line.split(", ")
    assert {"seeds", "backbone"} <= set(line.split(", "))


def test_a_table_has_columns_of_its_own_for_papers():
    assert headings(latex()) != ["Method", "Med r"]
    table = Table(frame(), COLUMNS, "Accuracy", "a", paper=("medr", "name"))
    assert headings(render(Report(title="t", sections=[Section(title="s", tables=[table])]), "tex")) == [
        "Method",
        "Med r",
    ]


def test_chosen_columns_stand_in_the_order_of_the_choice():
    text = latex(Paper(columns=("rsum", "name", "empty")))
    assert headings(text) == ["rSum", "Method", "Nothing"]


def test_a_chosen_column_that_no_table_has_is_warned_of(caplog):
    latex(Paper(columns=("name", "tuning_steps")))
    assert "no LaTeX table has a column tuning_steps" in caplog.text


def test_names_of_columns_are_checked():
    require_columns(("rsum", "shown_scorer"), paper_columns())
    with pytest.raises(UnknownName, match="unknown column of the LaTeX tables 'rsun'"):
        require_columns(("rsun",), paper_columns())


@pytest.mark.parametrize(("intervals", "count"), [(False, 0), (True, 18)])
def test_intervals_on_request(intervals, count):
    text = latex(Paper(intervals=intervals))
    assert text.count(r"\shortstack") == count
    assert r"50.0}$_{\pm 0.5}$" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("name", ["first", "a name of some words that goes on_and_on", "x" * 90], ids=len)
def test_a_page_of_an_article_holds_the_table(tmp_path, name, intervals):
    table = Table(frame(name=[name, "b", "c", "d"]), COLUMNS, "Accuracy & more", "accuracy", rule_by=("name",))
    paper = Paper(intervals=intervals)
    body = render(Report(title="t", sections=[Section(title="s", tables=[table])], paper=paper or Paper()), "tex")
    packages = r"\usepackage[letterpaper,margin=1in]{geometry}\usepackage[T1]{fontenc}\usepackage{array,booktabs}"
    (tmp_path / "a.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert not re.search(r"^Overfull.*", said, re.MULTILINE)
