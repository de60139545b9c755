"""Published figures: every row kept as printed, said in our words, found by the names that records use."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from harness.records.ties import RECALLS
from harness.reports.published import rows
from harness.reports.published.rows import FOLDER, published_rows, published_rows_for

NUMBERS = (*RECALLS, "rsum")


@pytest.fixture(scope="module")
def shipped() -> list[dict[str, str]]:
    """The rows of the file, as text."""
    with (FOLDER / "published.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_printed_sums_that_are_wrong_are_marked(shipped):
    """Papers round six recalls to one decimal each; a printed rSum further off than 0.15 is an error in print."""
    wrong = []
    for row in shipped:
        recalls = [row[name] for name in RECALLS]
        off = row["rsum"] and all(recalls) and abs(float(row["rsum"]) - math.fsum(map(float, recalls))) > 0.15 + 1e-9
        wrong.append(bool(off))
    told = ["printed rSum" in row["known_issue"] and "fits" not in row["known_issue"] for row in shipped]
    assert told == wrong
    assert sum(wrong) > 5


def test_figures_are_kept_as_printed(shipped):
    frame = published_rows()
    for name in NUMBERS:
        printed = [float(row[name]) if row[name] else None for row in shipped]
        kept = frame[name].where(frame["rsum_printed"]) if name == "rsum" else frame[name]
        assert [None if math.isnan(value) else value for value in kept] == printed
    summed = frame[~frame["rsum_printed"]]
    assert len(summed) > 0
    for row in summed.to_dict("records"):
        assert row["rsum"] == pytest.approx(sum(row[name] for name in RECALLS), nan_ok=True)


def test_every_figure_can_be(shipped):
    for row in shipped:
        assert row["method"]
        assert row["source"]
        for name in NUMBERS:
            assert not row[name] or 0 <= float(row[name]) <= (600 if name == "rsum" else 100), row


@pytest.mark.parametrize(("printed", "said"), [
    (("visual_backbone",), ("image", "resolution")), (("text_encoder",), ("text", "word_vectors")),
    (("method",), ("key",)), (("variant",), ("direction", "pooling", "pretrained")),
])  # fmt: skip
def test_what_is_printed_alike_is_said_alike(shipped, printed, said):
    seen: dict[tuple, tuple] = {}
    for row in shipped:
        values = tuple(row[name] for name in said)
        assert seen.setdefault(tuple(row[name] for name in printed), values) == values


@pytest.mark.parametrize(
    ("backbone", "families"),
    [
        (("BUTD region", "BiGRU + GloVe"), ("regions", "bigru", "", "glove")),
        (("BUTD region+grid", "BERT-base"), ("regions+grid", "bert", "", "")),
        (("EfficientNet-B4 grid", "BERT-base"), ("grid", "bert", "", "")),
        (("ViT-B/16-384 (24x24)", "BERT-base"), ("vit-b/16", "bert", "384", "")),
        (("Swin-B-224 (7x7)", "BERT-base"), ("swin-b", "bert", "224", "")),
        (("ViT-B-32", "own text tower"), ("clip vit-b-32", "clip", "", "")),
        (("convnext_base_w", "own text tower"), ("clip convnext_base_w", "clip", "", "")),
        (("ResNet-152 (IN)", "BiGRU"), ("resnet-152", "bigru", "", "")),
    ],
)
def test_backbones_are_said_in_our_words(shipped, backbone, families):
    said = {
        (row["image"], row["text"], row["resolution"], row["word_vectors"])
        for row in shipped
        if (row["visual_backbone"], row["text_encoder"]) == backbone
    }
    assert said == {families}


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("ablation: w/o GA (granularity-aware adapter)", "ablation"),
        ("README updated results, ensemble of SGR and SAF", "ensemble"),
        ("zero-shot, pretrained=openai", "zero-shot"),
        ("fine-tuned on MSCOCO, pretrained=mscoco_finetuned_laion2b_s13b_b90k", "fine-tuned"),
        ("region feature", "single"),
    ],
)
def test_kinds(shipped, variant, kind):
    assert {row["kind"] for row in shipped if row["variant"] == variant} == {kind}


def test_the_note_is_the_known_issue_or_the_variant():
    for row in published_rows().to_dict("records"):
        assert row["note"] == (row["known_issue"] or row["variant"])


def test_rows_of_laps_are_known_as_its_own(shipped):
    """On ViT and Swin towers these rows come from LAPS, cited on from paper to paper."""
    cited = {"vsepp", "scan", "sgr", "chan"}
    for row in shipped:
        theirs = row["key"] in cited and row["image"].startswith(("vit", "swin"))
        assert row["reproduced_by"] == ("LAPS" if theirs else "")
        if theirs or row["key"] in ("laps", "avse", "hrem"):
            assert row["selected_on"] == "test"


def test_the_split_of_selection_is_that_of_the_public_code(shipped):
    """LAPS, AVSE and HREM keep the best epoch on test; SCAN, VSE-inf, CHAN, NAAF and SGRAF on dev; GRM's code is not
    public."""
    found: dict[str, set[str]] = {}
    for row in shipped:
        if row["kind"] in ("single", "ensemble") and not row["reproduced_by"] and not row["image"].startswith("clip"):
            found.setdefault(row["key"], set()).add(row["selected_on"])
    for key in ("scan", "vseinfinity", "chan", "naaf", "sgraf"):
        assert found[key] == {"dev"}, key
    for key in ("laps", "avse", "hrem"):
        assert found[key] == {"test"}, key
    assert found["grm"] == {""}
    assert {row["selected_on"] for row in shipped if row["kind"] == "zero-shot"} == {""}


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
    rows = published_rows_for(dataset, protocol)
    assert set(zip(rows["dataset"], rows["protocol"], rows["images"], strict=True)) == places
    sums = rows["rsum"].dropna().tolist()
    assert sums == sorted(sums, reverse=True)


def test_rows_of_one_method_whatever_its_spelling():
    names = set(published_rows_for("flickr30k", "full", "vse_inf")["method"])
    assert names == {"VSE-inf"}
    assert set(published_rows_for("flickr30k", "full", "vse_infinity")["method"]) == names
    assert set(published_rows_for("flickr30k", "full", "vsepp")["method"]) == {"VSE++"}
    assert set(published_rows_for("flickr30k", "full", "Scan")["method"]) == {"SCAN"}


def test_every_shipped_row_has_a_place_that_records_use():
    assert (published_rows()["images"] > 0).all()


def test_the_figures_lie_inside_the_package():
    """They ship with the wheel (`tests/end_to_end/test_wheel.py`) and need no results folder."""
    assert Path(rows.__file__).resolve().parent / "data" == FOLDER


def test_a_caller_cannot_change_what_the_next_one_reads():
    frame = published_rows()
    frame["rsum"] = 0.0
    assert published_rows()["rsum"].max() > 0


def test_what_a_published_row_was_selected_on_is_seen_in_a_file_of_public_code():
    frame = published_rows()
    assert ((frame["selected_on"] != "") == (frame["selected_on_source"] != "")).all()
    named = frame.loc[frame["selected_on"] != "", "selected_on_source"]
    assert named.str.contains(r"[\w-]+/\w+ (?:train|data)\.py at [0-9a-f]{7}: ").all()
    on_test = frame[frame["selected_on"] == "test"]
    assert set(on_test.loc[on_test["reproduced_by"] == "", "key"]) == {"laps", "avse", "hrem"}
    assert on_test.loc[on_test["reproduced_by"] == "LAPS", "selected_on_source"].str.contains("presumed").all()
