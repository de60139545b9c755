"""Flickr's own files of captions and Kaggle's: splits, numbers, rows without a field, and what is wrong with them."""

from __future__ import annotations

import csv
import logging

import pytest
import shapes
from shapes import change_lines, opened, refused

from harness import datasets
from harness.errors import InvalidDataset


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
    change_lines(root / "results_20130124.token", lambda lines: lines[::-1])
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
    change_lines(root / file, change)
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


def test_captions_that_a_csv_writer_quoted_lose_their_quotation_marks_in_one_line(tmp_path, caplog, reference):
    caplog.set_level(logging.INFO)
    root = shapes.kaggle_captions(tmp_path)
    quoted = sum(',"' in line for line in (root / "captions.txt").read_text(encoding="utf-8").splitlines())
    assert quoted
    assert opened(root).split("test").captions == reference.split("test").captions
    assert f"captions.txt: the quotation marks of a CSV table are taken off {quoted} caption" in caplog.text
