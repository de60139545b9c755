"""A report read back from disk shows what the written one showed; damaged files are refused in one line."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import InvalidRecord
from harness.reports.document import figures
from harness.reports.document.model import (
    Column,
    Figure,
    Gallery,
    Listing,
    Notice,
    Picture,
    Report,
    Section,
    Table,
    Tile,
)
from harness.reports.document.render import render, write
from harness.reports.document.stored import read_report

NAME = '<b>a|b</b> "$1$"'


def photograph() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def report() -> Report:
    frame = pd.DataFrame(
        {
            "method": [NAME, "b", "c"], "tier": [1, 1, 2], "seeds": pd.array([3, None, 2], "Int64"), "p": [0.01, np.nan, 1],
            "x": [61.24, np.nan, 3], "x_sd": [0.4, None, None], "x_low": [59.0, None, 1], "x_high": [63.26, None, 5],
            "noisy": [True, False, False], "runs": ["r1 r2", "", "r3"],
        }
    )  # fmt: skip
    columns = [
        Column("method", NAME, pinned=True, link="runs", help="who"),
        Column("tier", "Tier", "count", group="place", wide=True),
        Column("seeds", "Seeds", "count", group="place"),
        Column("x", "X", "estimate", 2, noise="noisy"),
        Column("p", "p", "p", prose=True),
    ]
    tables = [
        Table(frame, columns, NAME, "first", muted=range(1, 2), rule_by=("tier",)),
        Table(frame.head(1), columns[:1], "folded", "second", collapsed=True, for_paper=False),
    ]
    with figures.canvas(3, 2) as canvas:
        canvas.subplots().plot([1, 2], [3, 4])
    tile = Tile([Picture(photograph(), NAME, "left"), Picture(photograph(), "b")], NAME, ["one", NAME])
    section = Section(
        title=NAME,
        sentences=["s", NAME],
        notices=[Notice("warning", NAME)],
        listings=[Listing("a:\n  - `b`  c"), Listing(NAME, NAME, collapsed=True)],
        tables=tables,
        galleries=[Gallery([tile], "some", NAME)],
        figures=[Figure(canvas, "curve", NAME, "alt")],
        reading=["r"],
        footnotes=["f"],
    )
    return Report(title=NAME, stem="page", sentences=[NAME], sections=[section], main=frame, data={"run_ids": ["r1"]})


@pytest.fixture
def page(tmp_path):
    write(report(), tmp_path)
    return tmp_path / "page.json"


@pytest.mark.parametrize("format", ["html", "md", "tex", "json"])
def test_a_report_read_back_renders_to_the_same_text(page, format):
    assert render(read_report(page), format) == render(report(), format)


def test_it_can_be_written_again(page, tmp_path):
    write(read_report(page), tmp_path / "again", ["html", "json"])
    for name in ("page.html", "page.json", "page-curve.svg", "page-some/00.jpg", "page-some/01.jpg"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def changed(page, change):
    values = json.loads(page.read_text())
    change(values)
    page.write_text(json.dumps(values))


def table_of(values):
    return values["sections"][0]["tables"][0]


def test_tables_of_earlier_versions_show_their_values_under_their_keys(page):
    changed(page, lambda values: table_of(values).pop("columns"))
    (table, _) = read_report(page).tables
    assert [column.title for column in table.columns][:3] == ["method", "tier", "seeds"]
    assert table.rows()[0][0].main == NAME


@pytest.mark.parametrize("file", ["page-curve.svg", "page-some/00.jpg"])
def test_a_figure_or_picture_whose_file_is_gone_is_left_out(page, tmp_path, file):
    whole = read_report(page)
    (tmp_path / file).unlink()
    part = read_report(page)
    count = [len(r.figures) + sum(len(t.pictures) for g in r.galleries for t in g.tiles) for r in (whole, part)]
    assert count == [3, 2]


def test_a_link_to_a_file_elsewhere_is_not_followed(page, tmp_path):
    secret = tmp_path.parent / "secret.svg"
    secret.write_text("<svg/>")
    (tmp_path / "page-curve.svg").unlink()
    (tmp_path / "page-curve.svg").symlink_to(secret)
    assert not read_report(page).figures


DAMAGE = {
    "schema": (lambda v: v.update(schema_version=2), "schema version 2, expected 1"),
    "no sections": (lambda v: v.pop("sections"), "sections"),
    "title": (lambda v: v.update(title=3), "title"),
    "kind": (lambda v: table_of(v)["columns"][1].update(kind="image"), "kind"),
    "digits": (lambda v: table_of(v)["columns"][3].update(digits=10**9), "digits"),
    "number": (lambda v: table_of(v)["rows"][0].update(x="<b>"), "'x' of table 'first' holds '<b>'"),
    "interval": (lambda v: table_of(v)["rows"][0].update(x_low=[1]), "'x_low' of table 'first'"),
    "number beyond floats": (lambda v: table_of(v)["rows"][0].update(x=10**400), "'x' of table 'first'"),
    "tier": (
        lambda v: table_of(v).pop("columns") and table_of(v)["rows"][1].update(tier="b"),
        "'tier' of table 'first'",
    ),
    "half of a character": (lambda v: table_of(v)["rows"][0].update(method="\ud800"), "half of a character"),
    "half in a title": (lambda v: v.update(title="\udfff"), "half of a character"),
    "level": (lambda v: v["sections"][0]["notices"][0].update(level="fatal"), "level"),
}


@pytest.mark.parametrize(("change", "problem"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_report_is_refused_in_one_line(page, change, problem):
    changed(page, change)
    with pytest.raises(InvalidRecord) as caught:
        read_report(page)
    message = str(caught.value)
    assert problem in message
    assert "page.json" in message
    assert "\n" not in message


def test_settings_of_later_versions_are_passed_by(page):
    changed(page, lambda values: table_of(values)["columns"][0].update(sparkline=True))
    assert read_report(page).tables[0].columns[0].pinned
