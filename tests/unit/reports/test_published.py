"""Published figures: every row checked as it is read, kept as printed, found by the names that records use."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from harness.errors import InvalidRecord
from harness.reports.published import rows as published

ROW = {
    "method": "SCAN", "variant": "", "visual_backbone": "BUTD", "text_encoder": "BiGRU", "dataset": "flickr30k",
    "protocol": "1K test", "i2t_r1": "60", "i2t_r5": "80", "i2t_r10": "90", "t2i_r1": "40", "t2i_r5": "70",
    "t2i_r10": "80", "rsum": "420", "source": "a paper",
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    def write(*changes, drop=()):
        path = tmp_path / "published.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [name for name in ROW if name not in drop], extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**ROW, **change} for change in changes)
        return path

    return write


def test_printed_sums_are_checked_against_a_sum_by_hand():
    path = published.FOLDER / "published.csv"
    wrong = {}
    with path.open(newline="") as stream:
        for number, line in enumerate(csv.DictReader(stream)):
            recalls = [line[name] for name in published.RECALLS]
            if line["rsum"] and all(recalls):
                gap = float(line["rsum"]) - math.fsum(map(float, recalls))
                if abs(gap) > 0.15 + 1e-9:
                    wrong[number] = gap
    frame = published.load()
    found = frame["rsum_error"].dropna()
    assert found.to_dict() == pytest.approx(wrong)
    assert len(wrong) > 0
    assert frame.loc[found.index, "note"].str.contains("printed rSum").all()


def test_figures_are_kept_as_printed(file):
    frame = published.load(file({"rsum": "425.0"}, {"rsum": ""}, {"rsum": "420.1"}, {"i2t_r1": ""}))
    assert frame["rsum"].tolist() == [425.0, 420.0, 420.1, 420.0]
    assert frame["rsum_printed"].tolist() == [True, False, True, True]
    assert frame["rsum_error"].dropna().to_dict() == {0: pytest.approx(5.0)}
    assert frame["note"].iloc[0] == "printed rSum is 5.0 above the sum of its recalls"
    assert frame["note"].iloc[2] == ""
    assert (frame["origin"] == "published").all()


@pytest.mark.parametrize(
    ("dataset", "protocol", "places"),
    [
        ("flickr30k", "full", {("flickr30k", "full", 1000)}),
        ("flickr8k", "full", {("flickr8k", "full", 1000)}),
        ("mscoco", "coco_1k", {("mscoco", "coco_1k", 5000)}),
        ("coco", "coco_5k", {("mscoco", "coco_5k", 5000)}),
        ("scenes", "full", set()),
        ("flickr30k", "coco_5k", set()),
    ],
)
def test_rows_are_found_by_the_names_of_records(dataset, protocol, places):
    rows = published.rows_for(dataset, protocol)
    assert set(zip(rows["dataset"], rows["protocol"], rows["images"], strict=True)) == places
    sums = rows["rsum"].dropna().tolist()
    assert sums == sorted(sums, reverse=True)


def test_rows_of_one_method_whatever_its_spelling():
    names = set(published.rows_for("flickr30k", "full", "vse_inf")["method"])
    assert names == {"VSE-inf"}
    assert set(published.rows_for("flickr30k", "full", "Scan")["method"]) == {"SCAN"}


def test_every_shipped_row_has_a_place_that_records_use():
    assert (published.load()["images"] > 0).all()


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("ablation: w/o SA", "ablation"),
        ("README updated results, ensemble of SGR and SAF", "ensemble"),
        ("zero-shot, pretrained=openai", "zero-shot"),
        ("fine-tuned on MSCOCO, pretrained=x", "fine-tuned"),
        ("region feature", "single"),
        ("", "single"),
    ],
)
def test_kinds(variant, kind):
    assert published.kind(variant) == kind


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"i2t_r1": "160"}, r"line 2: i2t_r1 must be 0 to 100, got 160"),
        ({"t2i_r5": "seventy"}, r"line 2: t2i_r5 must be 0 to 100, got seventy"),
        ({"rsum": "-1"}, r"line 2: rsum must be 0 to 600"),
        ({"source": ""}, r"line 2: a published figure needs a method and a source"),
    ],
)
def test_impossible_figures_are_refused(file, changes, message):
    with pytest.raises(InvalidRecord, match=message):
        published.load(file(changes))


def test_files_of_another_shape_are_refused(file, tmp_path):
    with pytest.raises(InvalidRecord, match="lacks the columns t2i_r10"):
        published.load(file({}, drop=("t2i_r10",)))
    with pytest.raises(InvalidRecord, match="cannot read"):
        published.load(tmp_path / "missing.csv")


def test_the_figures_lie_inside_the_package():
    """They ship with the wheel (`tests/end_to_end/test_wheel.py`) and need no results folder."""
    assert Path(published.__file__).resolve().parent / "data" == published.FOLDER


def test_a_caller_cannot_change_what_the_next_one_reads():
    frame = published.load()
    frame["rsum"] = 0.0
    assert published.load()["rsum"].max() > 0
