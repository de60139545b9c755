"""Text from data reaches each medium as text: nothing in it is obeyed by a terminal, a spreadsheet, TeX or a browser."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table as TerminalTable
from rich.text import Text

from harness.cli.terminal import console, one_line, say, visible
from harness.errors import InvalidSpec
from harness.reports.document import figures, render
from harness.reports.document.model import Column, Figure, Report, Section, Table

ROOT = Path(__file__).parents[3]
HOSTILE = {
    "closing markup": "[/bold]",
    "markup": "[red]a[/red]",
    "emoji code": ":smile:",
    "escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "direction override": "abc\u202edef",
    "line ends": "one\r\ntwo\u2028three",
    "formula": "=HYPERLINK(A1)",
    "formula after a space": " +1+1",
    "at": "@SUM(A1)",
    "minus": "-2+3",
    "tab": "\t=1",
    "mathematics": "$x^2$ and $",
    "TeX": r"\input{x} 100% #1 a_b ~ ^ & {",
    "HTML": "<script>alert(1)</script>",
    "Markdown": "a|b `c` *d* [e](javascript:f) <g>",
    "lone surrogate": "a\udcffb",
    "long": "x" * 3000,
}


#: What a table can hold: a frame's texts are UTF-8.
IN_REPORTS = {name: text for name, text in HOSTILE.items() if name != "lone surrogate"}


def report(text: str) -> Report:
    with figures.canvas(3, 2) as drawing:
        drawing.subplots().set_title(figures.label(text))
    frame = pd.DataFrame({"name": [text, "b"], "value": [-1.5, 2.0], text: ["c", "d"]})
    columns = [Column(key="name", title=text), Column(key="value", title="value", kind="number")]
    table = Table(frame=frame, columns=columns, caption=text, key=text)
    figure = Figure(drawing=drawing, key="f", caption=text, alt=text)
    section = Section(title=text, sentences=[text], tables=[table], figures=[figure], reading=[text], footnotes=[text])
    return Report(title=text, sentences=[text], sections=[section], main=frame, data={text: text})


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_console_shows_it_and_obeys_nothing(text):
    out = io.StringIO()
    shown = console(file=out, width=4000, force_terminal=False)
    table = TerminalTable(title=text)
    table.add_column(text)
    table.add_row(text)
    for renderable in (text, Text(text), table, f"written: {text}"):
        shown.print(renderable, soft_wrap=True)
    printed = out.getvalue()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\ud800-\udfff]", printed.replace("\r", ""))
    assert visible(text.split()[0])[:20] in printed


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_plain_lines_show_it_too(text, capsys):
    say(text)
    say(one_line(text), err=True)
    out, err = capsys.readouterr()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\ud800-\udfff]", out + err)
    assert err.count("\n") == 1


def test_what_acts_is_written_out():
    assert visible("\x1b[1m\u202e\udcff") == r"\x1b[1m\u202e\udcff"
    assert visible("a\n\tb é 中 👩\N{ZERO WIDTH JOINER}💻") == "a\n\tb é 中 👩\N{ZERO WIDTH JOINER}💻"


@pytest.mark.parametrize("text", IN_REPORTS.values(), ids=IN_REPORTS)
def test_no_spreadsheet_takes_it_for_a_formula(text):
    rows = list(csv.reader(io.StringIO(render.csv(pd.DataFrame({"name": [text], "value": [-1.5], text: ["x"]})))))
    for cell in (rows[0][2], rows[1][0]):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
        assert text.replace("\r\n", "\n") in cell.replace("\r\n", "\n")
    assert rows[1][1] == "-1.5"  # a number stays one


@pytest.mark.parametrize("format", render.FORMATS)
@pytest.mark.parametrize("text", IN_REPORTS.values(), ids=IN_REPORTS)
def test_every_file_of_a_report_can_be_written(text, format, tmp_path):
    written = render.write(report(text), tmp_path, [format])
    content = written[0].read_text("utf-8")
    assert all(path.parent == tmp_path for path in written)
    if format == "html":
        assert "<script>alert" not in content
        assert "\x1b" not in content
    if format == "tex":
        assert not re.search(r"^[^%]*\\input\{x\}", content, flags=re.MULTILINE)  # a comment may hold it


def test_an_error_with_markup_is_one_line(capsys, monkeypatch):
    from harness.cli import main

    def fail(*_: object, **__: object) -> None:
        raise InvalidSpec("[/bold]\n\x1b[2J gone")

    monkeypatch.setattr(main.cli, "main", fail)
    with pytest.raises(SystemExit) as stop:
        main.main(["ls"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "itm: error: [/bold] \\x1b[2J gone\n"


def test_commands_print_through_the_terminal_module_only():
    """No command talks to click's or rich's output by itself, where text from data would be obeyed."""
    for path in sorted((ROOT / "harness" / "cli").rglob("*.py")):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("click.echo", "click.secho", "print", "Console"), (
                    f"{path}:{node.lineno}: {called}"
                )
