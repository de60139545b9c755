"""Long texts: DOCCI, Urban1k, and FLAIR's single sentences; which splits are taken, in which order, and what is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes

from harness import datasets
from harness.backbones.words import coverage
from harness.errors import InvalidDataset
from harness.settings.components import Component


def opened(root: Path, **options: Any) -> datasets.base.Dataset:
    return datasets.open_dataset({"root": str(root), **options})


@pytest.fixture
def reference(tmp_path):
    return datasets.open_dataset({"root": str(shapes.karpathy(tmp_path / "karpathy")), "captions_per_image": 1})


def refused(root: Path, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


# --- DOCCI --------------------------------------------------------------------------------------------------------


def test_docci_holds_what_the_karpathy_layout_of_the_same_data_holds(tmp_path, reference, caplog):
    caplog.set_level(logging.INFO)
    root = shapes.docci(tmp_path)
    assert datasets.identify(root) == "docci"
    dataset = opened(root)
    assert dataset.splits == ("train", "val", "test")
    for split in dataset.splits:
        ours, theirs = dataset.split(split), reference.split(split)
        assert ours.captions == theirs.captions
        assert ours.image_ids == tuple(name.removesuffix(".jpg") for name in theirs.image_ids)
        rows = range(len(ours.image_ids))
        np.testing.assert_array_equal(ours.images.pixels(rows, 16), theirs.images.pixels(rows, 16))
    assert "taken train, qual_dev as val, test; left out qual_test (1)" in caplog.text


def test_docci_s_small_test_split_is_an_option(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    dataset = opened(shapes.docci(tmp_path), test_name="qual_test")
    assert dataset.split("test").image_ids == ("qual_test_00000",)
    assert "taken train, qual_dev as val, qual_test as test; left out test (6)" in caplog.text


def lines_of(root: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    path = root / "docci_descriptions.jsonlines"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    shapes.write_lines(path, [json.dumps(row) for row in (change(rows) or rows)])
    return root


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda v: v[2].pop("description") and None, "line 3: field 'description' is missing; expected DOCCI's schema"),
        (
            lambda v: v[2].update(split="validation"),
            "line 3: field 'split': input should be 'train', 'test', .*got 'valid",
        ),
        (
            lambda v: v[2].update(image_file=None),
            "line 3: field 'image_file': input should be a valid string, got None",
        ),
        (lambda v: v[2].update(image_file="../../x.jpg"), "names the path '../../x.jpg', which leaves"),
        (lambda v: v[-2].update(example_id=v[-3]["example_id"]), "1 image ids appear more than once"),
        (lambda v: [*v[:2], [1], *v[3:]], "line 3.* must hold a JSON object, got list"),
        (lambda v: v[-2].update(image_file="gone.jpg"), "1 of 6 images are missing .*gone.jpg"),
    ],
)
def test_bad_files_of_docci(tmp_path, harm, message):
    refused(lines_of(shapes.docci(tmp_path), harm), message)


def test_a_line_that_is_cut_off_is_named(tmp_path):
    root = shapes.docci(tmp_path)
    path = root / "docci_descriptions.jsonlines"
    path.write_text(path.read_text()[:-9])
    refused(root, "cannot read .*docci_descriptions.jsonlines: line 19 as JSON")


# --- Urban1k ------------------------------------------------------------------------------------------------------


def test_urban1k_stands_in_the_order_of_its_numbers(tmp_path, reference):
    root = shapes.urban1k(tmp_path)
    assert datasets.identify(root) == "urban1k"
    dataset, theirs = opened(root), reference.split("test")
    ours = dataset.split("test")
    assert (dataset.title, dataset.splits) == ("urban1k", ("test",))
    assert ours.image_ids == ("6", "7", "8", "9", "10", "11")
    assert ours.captions == theirs.captions
    np.testing.assert_array_equal(ours.images.pixels(range(6), 16), theirs.images.pixels(range(6), 16))


def test_only_the_first_line_is_the_caption_and_a_line_says_so(tmp_path, caplog):
    root = shapes.urban1k(tmp_path)
    (root / "caption" / "7.txt").write_text("the café’s façade\nmore of it\n", encoding="utf-8")
    assert opened(root).split("test").captions[1] == "the café’s façade"
    assert "1 caption file with more than one line: the first line is the caption" in caplog.text


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda r: (r / "caption" / "7.txt").unlink(),
            r"1 of 6 files have no caption of the same name \(first: image/7.jpg",
        ),
        (
            lambda r: (r / "image" / "7.jpg").unlink(),
            r"1 of 6 files have no image of the same name \(first: caption/7.txt",
        ),
        (lambda r: (r / "image" / "7.png").touch(), "holds two files for '7': image/7.jpg and 7.png"),
        (lambda r: (r / "caption" / "7.txt").write_bytes(b"\xff"), "7.txt is not UTF-8 text"),
        (
            lambda r: (r / "caption" / "7.txt").unlink() or (r / "caption" / "7.txt").symlink_to("/etc/hostname"),
            "7.txt is a link to /etc/hostname, which leaves",
        ),
        (lambda r: (r / "image").rename(r / "images"), "of no known layout"),
    ],
)
def test_bad_files_of_urban1k(tmp_path, harm, message):
    root = shapes.urban1k(tmp_path)
    harm(root)
    refused(root, message)


# --- FLAIR's sentences --------------------------------------------------------------------------------------------


def test_an_image_may_have_any_number_of_sentences(tmp_path, reference):
    root = shapes.flair_sentences(tmp_path)
    assert datasets.identify(root) == "flair"
    dataset = opened(root)
    split = dataset.split("test")
    assert (dataset.title, dataset.splits) == ("docci", ("test",))
    assert np.bincount(split.caption_image).tolist() == [1, 2, 3, 4, 5, 1]
    assert split.captions[:3] == (shapes.of("test")[0].captions[0], *shapes.of("test")[1].captions[:2])
    pixels = reference.split("test").images.pixels(range(6), 16)
    np.testing.assert_array_equal(split.images.pixels(range(6), 16), pixels)
    assert len(opened(root, captions_per_image=2).split("test").captions) == 1 + 2 * 4 + 1


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda v: v[3].pop("caption"), "annotation 3: field 'caption' is missing; expected FLAIR's schema"),
        (
            lambda v: v[2].update(image="images/other.jpg"),
            "annotation 2: image .* is images/other.jpg, but was images/",
        ),
        (lambda v: [a.update(image="../x.jpg") for a in v], "names the path '../x.jpg', which leaves"),
        (lambda v: v.clear(), "of no known layout"),
    ],
)
def test_bad_files_of_flair(tmp_path, harm, message):
    root = shapes.flair_sentences(tmp_path)
    value = json.loads((root / "annotations.json").read_text())
    harm(value["annotations"])
    shapes.write_json(root / "annotations.json", value)
    refused(root, message)


# --- length -------------------------------------------------------------------------------------------------------


def test_captions_beyond_clip_s_77_tokens_are_counted_in_one_line(tmp_path, caplog):
    root = shapes.urban1k(tmp_path)
    fits, cut = " ".join(["dog"] * 75), " ".join(["dog"] * 76)  # a start and an end token beside the words
    for number, text in ((6, fits), (7, cut), (8, cut)):
        shapes.write_lines(root / "caption" / f"{number}.txt", [text])
    coverage.report(Component(name="open_clip", options={"model": "ViT-B-32"}), opened(root))
    line = "urban1k: text backbone open_clip: captions cut at 77 tokens: test 2 of 6"
    assert caplog.text.count(line) == 1
