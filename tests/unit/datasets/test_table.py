"""Tables of the hub, as Parquet and CSV: which rows are which split, pictures in cells, and what is wrong with a table."""

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
from shapes import opened, refused

from harness.errors import InvalidDataset


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


def test_the_json_of_rows_is_strict(tmp_path):
    root = shapes.flickr_csv(tmp_path)
    change_csv(root, lambda rows: [*rows[:2], [json.dumps(["a"] * 5)[:-3], *rows[2][1:]], *rows[3:]])
    refused(root, "row 3, cell 'captions' as JSON: it is not valid JSON")
