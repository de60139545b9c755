"""The layout of LAPS and its relatives: ids once or five times, two folders, and what is wrong with its files."""

from __future__ import annotations

import os

import numpy as np
import pytest
import shapes
from shapes import change_json, change_lines, opened

from harness import datasets
from harness.errors import InvalidDataset


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda f: change_lines(f / "test_caps.txt", lambda v: v[:-1]),
            "29 captions and .*test_ids.txt 30 ids; expected 5",
        ),
        (
            lambda f: change_lines(f / "test_caps.txt", lambda v: [*v[:-1], ""]),
            r"29 captions \(1 blank line at its end left",
        ),
        (
            lambda f: change_lines(f / "train_caps.txt", lambda v: v[:32]),
            "32 captions and .*train_ids.txt 8 ids; expected 5",
        ),
        (lambda f: change_lines(f / "dev_caps.txt", lambda v: v[: 2 * 5]), "10 captions and .*dev_ids.txt 20 ids"),
        (
            lambda f: change_lines(f / "test_ids.txt", lambda v: v[5:] + v[:4] + v[5:6]),
            "stands in line 1 and again in line 30",
        ),
        (lambda f: change_lines(f / "train_ids.txt", lambda v: [*v[:7], v[0]]), "stands in line 1 and again in line 8"),
        (
            lambda f: change_lines(f / "test_ids.txt", lambda v: [*v[:5], *["99"] * 5, *v[10:]]),
            r"5 ids are not in id_mapping.json \(line 6: '99'",
        ),
        (
            lambda f: change_lines(f / "test_caps.txt", lambda v: [f"b'{v[0]}'", *v[1:]]),
            "1 captions are bytes printed by Python",
        ),
        (lambda f: (f / "test_ids.txt").unlink(), "cannot read .*test_ids.txt: No such file"),
        (lambda f: (f / "test_caps.txt").write_bytes(b"\xff\xfe"), "is not UTF-8"),
        (lambda f: (f / "test_caps.txt").write_text(""), "0 captions"),
        (lambda f: (f / "id_mapping.json").write_text("[1]"), "must hold a JSON object, got list"),
        (lambda f: (f / "id_mapping.json").write_text('{"0": '), "cannot read .*id_mapping.json as JSON"),
        (
            lambda f: change_json(f / "id_mapping.json", lambda v: {**v, "3": 7}),
            "id '3' must map to the name of an image file, got 7",
        ),
        (
            lambda f: change_json(f / "id_mapping.json", lambda v: {k: f"../../{x}" for k, x in v.items()}),
            "leaves .*; paths must lie below",
        ),
        (
            lambda f: change_json(f / "id_mapping.json", lambda v: dict.fromkeys(v, "/etc/passwd")),
            "leaves .*; paths must lie below",
        ),
        (
            lambda f: change_json(f / "id_mapping.json", lambda v: dict.fromkeys(v, v["0"])),
            "image ids appear more than once",
        ),
        (lambda f: os.mkfifo(f / "val_caps.txt") or (f / "dev_caps.txt").unlink(), "no val split"),
    ],
)
def test_bad_files_of_laps(tmp_path, harm, message):
    root = shapes.laps(tmp_path)
    harm(root)
    with pytest.raises(InvalidDataset, match=message) as caught:
        [opened(root).split(split) for split in ("train", "val", "test")]
    assert "\n" not in str(caught.value)


def test_ids_once_per_caption_may_name_any_number_of_captions(tmp_path):
    root = shapes.laps(tmp_path)
    change_lines(root / "test_caps.txt", lambda lines: lines[:3] + lines[5:])
    change_lines(root / "test_ids.txt", lambda lines: lines[:3] + lines[5:])
    assert np.bincount(opened(root).split("test").caption_image).tolist() == [3, 5, 5, 5, 5, 5]


def test_test_beside_testall_says_which_is_taken(tmp_path, caplog):
    caplog.set_level("INFO")
    root = shapes.laps_coco(tmp_path)
    for kind, each in (("caps", 5), ("ids", 5)):
        lines = (root / f"testall_{kind}.txt").read_text().splitlines()
        shapes.write_lines(root / f"test_{kind}.txt", lines[: 2 * each])
    assert len(opened(root).split("test").image_ids) == 2
    assert "test_* is taken; dataset.test_name=testall takes testall_*" in caplog.text
    assert len(opened(root, test_name="testall").split("test").image_ids) == 6
    with pytest.raises(InvalidDataset, match=r"holds no test5k_caps.txt; correct dataset.test_name"):
        opened(root, test_name="test5k")


def test_two_datasets_below_one_root_are_told_apart(tmp_path):
    shapes.laps(tmp_path)
    shapes.laps_coco(tmp_path)
    assert datasets.recognised(tmp_path) == {"laps": "coco/id_mapping.json, f30k/id_mapping.json"}
    with pytest.raises(InvalidDataset, match=r"found coco, f30k; set dataset.annotations to the folder"):
        opened(tmp_path)
    assert opened(tmp_path, annotations="coco").title == "mscoco"
    with pytest.raises(InvalidDataset, match=r"dataset.annotations names the path"):
        opened(tmp_path, annotations="../f30k")


def test_ids_with_leading_zeros_are_numbers(tmp_path, reference):
    root = shapes.laps(tmp_path)
    change_lines(root / "test_ids.txt", lambda lines: [f"{int(line):012}" for line in lines])
    assert opened(root).split("test").image_ids == reference.split("test").image_ids
