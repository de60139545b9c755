"""Layouts that keep all splits in one file, or in files of splits: tables of the hub and Flickr's own files."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapes

from harness import datasets
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset

ALL = [(name, make) for name, makers in shapes.WHOLE.items() for make in makers]
IDS = [make.__name__ for _, make in ALL]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return datasets.open_dataset({"root": str(shapes.karpathy(tmp_path_factory.mktemp("karpathy")))})


def opened(root: Path, **options: Any) -> Dataset:
    return datasets.open_dataset({"root": str(root), **options})


def refused(root: Path, match: str, **options: Any) -> None:
    """The dataset is refused, at the latest when it is checked, by one line."""
    with pytest.raises(InvalidDataset, match=match) as caught:
        opened(root, **options).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_a_layout_holds_what_the_karpathy_layout_of_the_same_data_holds(tmp_path, reference, name, make):
    root = make(tmp_path)
    assert datasets.identify(root) == name
    dataset = opened(root)
    assert dataset.title == ("flickr8k" if make is shapes.flickr8k_text else "flickr30k")
    assert dataset.splits == ("train", "val", "test")
    for split in dataset.splits:
        ours, theirs = dataset.split(split), reference.split(split)
        assert ours.captions == theirs.captions
        assert ours.caption_ids == theirs.caption_ids
        assert ours.image_ids == theirs.image_ids
        np.testing.assert_array_equal(ours.caption_image, theirs.caption_image)
        rows = range(len(ours.image_ids))
        np.testing.assert_array_equal(ours.images.pixels(rows, 16), theirs.images.pixels(rows, 16))
    assert dataset.sha256 == reference.sha256  # the hash covers the content, not the shape


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_limits_apply_in_file_order(tmp_path, reference, name, make):
    test = opened(make(tmp_path), max_test_images=2, captions_per_image=3).split("test")
    assert test.image_ids == reference.split("test").image_ids[:2]
    assert test.captions == tuple(text for picture in shapes.of("test")[:2] for text in picture.captions[:3])


@pytest.mark.parametrize(
    "make", [make for _, make in ALL if make is not shapes.hub_with_pictures], ids=lambda make: make.__name__
)
def test_a_picture_that_is_missing_is_named(tmp_path, make):
    root = make(tmp_path)
    (path,) = tmp_path.rglob(shapes.of("test")[1].file)
    path.unlink()
    refused(root, f"1 of 6 images are missing .*{path.name}")
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()
    refused(root, r"is not in .*; set dataset.images to the folder below dataset.root")


# --- tables -------------------------------------------------------------------------------------------------------


def test_the_hub_s_name_of_a_split_does_not_decide(tmp_path):
    """mteb 1434: all images of `nlphuji/flickr30k` lie in the hub's split `test`."""
    root = shapes.hub_with_pictures(tmp_path)
    assert {path.parent.name for path in root.rglob("*.parquet")} == {"test"}
    assert len(opened(root).split("test").image_ids) == shapes.COUNTS["test"]


def change_parquet(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    rows = pq.read_table(path).to_pylist()
    shapes.parquet(path, change(rows) or rows)


def test_rows_without_a_split_need_to_be_told_it(tmp_path):
    root = shapes.hub_with_pictures(tmp_path)
    for path in root.rglob("*.parquet"):
        change_parquet(path, lambda rows: [{k: v for k, v in row.items() if k != "split"} for row in rows])
    refused(root, r"has no column 'split'; its file name is no proof .*: set dataset.split to train, val or test")
    dataset = opened(root, split="test")
    assert dataset.splits == ("test",)
    assert len(dataset.split("test").image_ids) == sum(shapes.COUNTS.values())


def test_a_split_for_all_rows_is_refused_where_the_rows_say_theirs(tmp_path):
    root = shapes.hub_beside_pictures(tmp_path)
    refused(root, r"has a column 'split', which decides, so dataset\.split=test would be ignored", split="test")


def test_some_of_the_files_that_a_table_was_cut_into_are_refused(tmp_path):
    root = shapes.hub_beside_pictures(tmp_path)
    whole = root / "data" / "train-00000-of-00001.parquet"
    whole.rename(whole.with_name("train-00001-of-00003.parquet"))
    refused(root, r"2 of 3 files of 'train' are missing \(first: train-00000-of-00003\.parquet\)")
    assert opened(root, table="data/train-00001-of-00003.parquet").splits == ("train",)


def test_restval_is_training_data_as_in_the_karpathy_layout(tmp_path):
    root = shapes.hub_beside_pictures(tmp_path)
    path = root / "data" / "train-00000-of-00001.parquet"
    change_parquet(path, lambda rows: [{**row, "split": "restval"} if k > 5 else row for k, row in enumerate(rows)])
    assert len(opened(root).split("train").image_ids) == 8
    assert len(opened(root, restval=False).split("train").image_ids) == 6


def test_coco_s_rows_have_the_ids_of_coco(tmp_path):
    root = shapes.hub_beside_pictures(tmp_path)
    for path in root.rglob("*.parquet"):
        change_parquet(
            path,
            lambda rows: [
                {**r, "cocoid": r["number"], "sentids": [9 * r["number"] + k for k in range(5)]} for r in rows
            ],
        )
    dataset = opened(root)
    assert dataset.title == "mscoco"
    first = shapes.COUNTS["train"] + shapes.COUNTS["val"]
    assert dataset.split("test").caption_ids[:5] == tuple(str(9 * first + k) for k in range(5))


def test_the_sentences_of_karpathy_s_json_and_a_single_text_are_read_as_captions(tmp_path, reference):
    root = shapes.hub_beside_pictures(tmp_path)
    for path in root.rglob("*.parquet"):
        change_parquet(path, lambda rows: [{**r, "sentences": [{"raw": t} for t in r["sentences"]]} for r in rows])
    assert opened(root).split("val").captions == reference.split("val").captions
    kept = ("filename", "filepath", "split")
    for path in root.rglob("*.parquet"):
        change_parquet(path, lambda rows: [{"caption": f"only {r['number']}", **{k: r[k] for k in kept}} for r in rows])
    assert opened(root).split("val").captions[0] == "only 8"


def test_white_space_is_normalised_and_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root = shapes.hub_beside_pictures(tmp_path)
    path = root / "data" / "test-00000-of-00001.parquet"
    texts = ["ends in a blank ", "ends in a break\n", "two  blanks", "  a\nb  c ", "clean"]
    change_parquet(path, lambda rows: [{**row, "sentences": texts} for row in rows[:1]] + rows[1:])
    assert opened(root).split("test").captions[:5] == (
        "ends in a blank", "ends in a break", "two blanks", "a b c", "clean",
    )  # fmt: skip
    line = (
        "white space of 4 of 90 captions normalised (3 begin or end with it, 2 hold a line break, 2 hold several blanks in a "
        "row)"
    )
    assert caplog.text.count(line) == 1


def set_cell(**values: Any) -> Callable[[Path], None]:
    path = Path("data") / "test-00000-of-00001.parquet"
    return lambda root: change_parquet(root / path, lambda rows: [*rows[:2], {**rows[2], **values}, *rows[3:]])


def drop_column(name: str) -> Callable[[Path], None]:
    path = Path("data") / "test-00000-of-00001.parquet"
    return lambda root: change_parquet(
        root / path, lambda rows: [{k: v for k, v in r.items() if k != name} for r in rows]
    )


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (set_cell(split="tset"), "row 2: field 'split': input should be 'train', 'restval', 'val', .*got 'tset'"),
        (set_cell(split=None), "row 2: field 'split'.*got None"),
        (set_cell(filename=None), "row 2: field 'filename'.*got None"),
        (set_cell(filename="../../x.jpg"), r"names the path '.*\.\./x.jpg', which leaves"),
        (set_cell(filepath="/etc"), r"names the path '/etc/.*', which leaves"),
        (set_cell(sentences=[]), "row 2 .* has no caption"),
        (set_cell(sentences=["a", None]), "row 2: caption 1: input should be a valid string, got None"),
        (set_cell(sentences=None), "row 2: field 'captions'.*got None"),
        (set_cell(sentids=[1, 2]), "row 2 .* has 5 captions but 2 sentids"),
        (set_cell(filename=shapes.of("test")[0].file), "1 image ids appear more than once"),
        (drop_column("filename"), "has no column 'filename' or 'file_name'; it has split, sentids"),
        (drop_column("sentences"), "has no column 'sentences' or 'caption' or 'captions' or 'raw'"),
        (lambda root: truncate(root / "data" / "test-00000-of-00001.parquet"), "cannot be read as a Parquet file"),
        (
            lambda root: (root / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and nothing"),
            "cannot be read as a Parquet file: .*; download it again",
        ),
    ],
)
def test_bad_tables(tmp_path, harm, message):
    root = shapes.hub_beside_pictures(tmp_path)
    harm(root)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_pictures_in_a_table_are_all_there_and_can_be_decoded(tmp_path):
    root = shapes.hub_with_pictures(tmp_path)
    path = root / "TEST" / "test" / "0001.parquet"
    whole = path.read_bytes()
    change_parquet(path, lambda rows: [*rows[:2], {**rows[2], "image": {"bytes": None, "path": "x"}}, *rows[3:]])
    refused(root, r"0001.parquet/\d+.jpg has no bytes in its row")
    path.write_bytes(whole)
    change_parquet(path, lambda rows: [*rows[:2], {**rows[2], "image": {"bytes": b"<html>", "path": "x"}}, *rows[3:]])
    refused(root, r"0001.parquet/\d+.jpg is not an image that can be read")
    path.write_bytes(whole)
    refused(root, "holds the pictures, so dataset.images would be ignored", images="images")
    change_parquet(path, lambda rows: [{k: v for k, v in row.items() if k != "image"} for row in rows])
    refused(root, "10 rows of 18 hold a picture; all must, or none")


def test_pictures_of_a_binary_column_are_read_too(tmp_path, reference):
    root = shapes.hub_with_pictures(tmp_path)
    for path in root.rglob("*.parquet"):
        change_parquet(path, lambda rows: [{**row, "image": row["image"]["bytes"]} for row in rows])
    pixels = [dataset.split("train").images.pixels(range(8), 16) for dataset in (opened(root), reference)]
    np.testing.assert_array_equal(*pixels)


def test_a_picture_that_changes_is_other_data(tmp_path):
    root = shapes.hub_with_pictures(tmp_path)
    before = opened(root)
    sha256, digests = before.sha256, before.image_digests("test")
    change_parquet(
        root / "TEST" / "test" / "0000.parquet", lambda rows: [{**rows[0], "image": rows[1]["image"]}, *rows[1:]]
    )
    after = opened(root)
    assert after.sha256 != sha256
    assert after.image_digests("test") == digests
    first, second = after.image_digests("train")[:2]
    assert first == second


def test_an_extension_type_in_a_table_is_not_unpickled(tmp_path):
    root = shapes.hub_beside_pictures(tmp_path)
    path = root / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    told = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": b"cos\nsystem\n(S'exit 1'\ntR.",
    }
    field = pa.field("number", pa.int64(), metadata=told)
    index = table.schema.get_field_index("number")
    pq.write_table(table.set_column(index, field, table.column("number")), path)
    assert len(opened(root).split("test").image_ids) == 6


def change_csv(root: Path, change: Callable[[list[list[str]]], Any]) -> None:
    path = root / "flickr_annotations_30k.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(change(rows) or rows)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda rows: [*rows[:3], ["['single quotes']", *rows[3][1:]], *rows[4:]], "row 4, cell 'captions' as JSON"),
        (
            lambda rows: [*rows[:3], ['{"a": 1}', *rows[3][1:]], *rows[4:]],
            "row 4, cell 'captions' must hold a JSON list",
        ),
        (lambda rows: [*rows[:3], ["[]", "[]", *rows[3][2:]], *rows[4:]], "row 4 .* has no caption"),
        (lambda rows: [*rows[:3], rows[3][:2], *rows[4:]], "row 4 has not as many cells as the first line"),
        (lambda rows: [*rows[:3], [*rows[3], "more"], *rows[4:]], "row 4 has not as many cells as the first line"),
        (lambda rows: [*rows[:3], [*rows[3][:2], "training", *rows[3][3:]], *rows[4:]], "row 4: field 'split'"),
    ],
)
def test_bad_csv_tables(tmp_path, harm, message):
    root = shapes.flickr_csv(tmp_path)
    change_csv(root, harm)
    refused(root, message)


def test_a_csv_table_that_is_no_text_or_no_csv(tmp_path):
    root = shapes.flickr_csv(tmp_path)
    path = root / "flickr_annotations_30k.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\xff\n")
    refused(root, "is not UTF-8 text")
    path.write_bytes(whole + b'"an open quote')
    refused(root, "cannot be read as CSV: unexpected end of data")


def test_tables_of_two_kinds_need_to_be_told_apart(tmp_path):
    root = shapes.flickr_csv(tmp_path)
    (root / "second.csv").write_bytes((root / "flickr_annotations_30k.csv").read_bytes())
    refused(root, "found flickr_annotations_30k.csv, second.csv; set dataset.table to the right one")
    assert opened(root, table="second.csv").splits == ("train", "val", "test")
    refused(root, "dataset.table names the path '../x.csv', which leaves", table="../x.csv")


# --- Flickr's own files -------------------------------------------------------------------------------------------


def lines_of(path: Path, change: Callable[[list[str]], Any]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    shapes.write_lines(path, change(lines) or lines)


def test_without_files_of_splits_nothing_is_guessed(tmp_path):
    root = shapes.flickr30k_entities(tmp_path)
    for split in shapes.COUNTS:
        (root / f"{split}.txt").unlink()
    refused(
        root,
        r"results_20130124.token lists all images, and no file says which split each is of; put beside it "
        r"Flickr_8k.trainImages.txt, .* or train.txt, val.txt and test.txt \(of Flickr30k Entities\)",
    )


def test_karpathy_s_json_beside_token_files_decides_the_splits(tmp_path):
    root = shapes.karpathy(tmp_path)
    shapes.write_lines(root / "results_20130124.token", ["1.jpg#0\ta dog"])
    assert datasets.identify(root) == "karpathy"


def test_images_of_no_split_are_left_out_in_one_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    opened(shapes.flickr8k_text(tmp_path))
    assert caplog.text.count("1 image of no split left out (first: 2258277193_586949ec62.jpg.1)") == 1


def test_the_row_without_its_separator_is_repaired_in_one_line(tmp_path, caplog):
    opened(shapes.kaggle_results(tmp_path))
    assert caplog.text.count("results.csv: 1 line without a separator read as if it stood there") == 1


def test_a_test_split_alone_is_taken(tmp_path):
    root = shapes.flickr30k_entities(tmp_path)
    for split in ("train", "val"):
        (root / f"{split}.txt").unlink()
    assert opened(root).splits == ("test",)


def test_captions_stand_in_the_order_of_their_numbers(tmp_path, reference):
    root = shapes.flickr30k_entities(tmp_path)
    lines_of(root / "results_20130124.token", lambda lines: lines[::-1])
    assert opened(root).split("test").captions == reference.split("test").captions


@pytest.mark.parametrize(
    ("make", "file", "change", "message"),
    [
        ("flickr30k_entities", "results_20130124.token", lambda v: [*v[:5], "no tab", *v[5:]], "line 6 is not of the form"),
        ("flickr30k_entities", "results_20130124.token", lambda v: [*v, v[7]], "line 91: caption 2 of .*jpg stands twice"),
        ("flickr30k_entities", "results_20130124.token", lambda v: ["a dog", *v], "the first line is 'a dog'; expected <file>#0"),
        ("flickr30k_entities", "results_20130124.token", lambda v: [""], "the first line is ''"),
        ("kaggle_results", "results.csv", lambda v: [*v[:3], "x.jpg| one| a dog", *v[3:]], "line 4 is not of the form"),
        ("kaggle_results", "results.csv", lambda v: v[:1], "holds no captions"),
        ("kaggle_captions", "captions.txt", lambda v: [*v, "no comma"], "line 92 is not of the form"),
        ("flickr30k_entities", "test.txt", lambda v: [*v, "999"], "1 of 7 images have no captions .first: '999'."),
        ("flickr30k_entities", "test.txt", lambda v: [*v, v[0]], "1 image ids appear more than once"),
        ("flickr8k_text", "Flickr8k_text/Flickr_8k.testImages.txt", lambda v: [*v, "../x.jpg"], "1 of 7 images have no captions"),
    ],
)  # fmt: skip
def test_bad_files_of_flickr(tmp_path, make, file, change, message):
    root = getattr(shapes, make)(tmp_path)
    lines_of(root / file, change)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


def test_an_image_name_that_leaves_the_root_is_refused(tmp_path):
    root = shapes.flickr30k_entities(tmp_path)
    shapes.write_lines(root / "results_20130124.token", ["../x.jpg#0\ta dog"])
    for split in shapes.COUNTS:
        shapes.write_lines(root / f"{split}.txt", ["../x.jpg"])
    refused(root, "names the path '../x.jpg', which leaves")


def test_several_files_of_captions_or_of_a_split_need_to_be_told_apart(tmp_path):
    root = shapes.flickr30k_entities(tmp_path)
    (root / "results.csv").write_bytes((root / "results_20130124.token").read_bytes())
    refused(root, "found results.csv, results_20130124.token; set dataset.captions to the right one")
    assert opened(root, captions="results_20130124.token").title == "flickr30k"
    (root / "results.csv").unlink()
    shapes.write_lines(root / "splits" / "test.txt", [shapes.of("test")[0].file])
    refused(root, "two files for split 'test': test.txt and splits/test.txt; set dataset.splits")
    assert len(opened(root, splits="splits").split("test").image_ids) == 1


def test_a_numbered_csv_of_kaggle_is_read(tmp_path, reference):
    root = shapes.kaggle_captions(tmp_path)
    with (root / "captions.txt").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image_name", "comment_number", "comment"])
        table.writerows((p.file, k, text) for p in shapes.pictures() for k, text in enumerate(p.captions))
    assert opened(root).split("test").captions == reference.split("test").captions


def test_the_json_of_rows_is_strict(tmp_path):
    root = shapes.flickr_csv(tmp_path)
    change_csv(root, lambda rows: [*rows[:2], [json.dumps(["a"] * 5)[:-3], *rows[2][1:]], *rows[3:]])
    refused(root, "row 3, cell 'captions' as JSON: it is not valid JSON")
