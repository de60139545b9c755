"""Each layout of photographs gives the splits of the karpathy layout of the same data."""

from __future__ import annotations

import numpy as np
import pytest
import shapes
from shapes import change_lines, opened, refused

from harness import datasets
from harness.datasets.known import KNOWN
from harness.datasets.published import size_problem
from harness.errors import InvalidDataset

ALL = [(name, make) for name, makers in (shapes.SHAPES | shapes.WHOLE).items() for make in makers]
IDS = [make.__name__ for _, make in ALL]
SPLIT_FILES = [make for makers in shapes.SHAPES.values() for make in makers]
BESIDE = [make for _, make in ALL if make is not shapes.hub_with_pictures]  # the others have their pictures in files
TITLES = {shapes.laps_coco: "mscoco", shapes.lavis: "mscoco", shapes.flickr8k_text: "flickr8k"}


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_a_layout_holds_what_the_karpathy_layout_of_the_same_data_holds(tmp_path, reference, name, make):
    root = make(tmp_path)
    assert datasets.identify(root) == name
    dataset = opened(root)
    assert dataset.title == TITLES.get(make, "flickr30k")
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


@pytest.mark.parametrize(
    ("title", "make"),
    [
        ("flickr30k", shapes.laps),
        ("flickr30k", shapes.blip),
        ("flickr30k", shapes.clip_benchmark),
        ("mscoco", shapes.laps_coco),
    ],
)
def test_the_files_that_a_plan_asks_for_are_those_that_a_layout_reads(tmp_path, title, make):
    root = make(tmp_path)
    listed = KNOWN[title].files[datasets.identify(root)]
    assert all((root / file.path).exists() for file in listed if file.path.endswith((".json", ".txt")))


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_limits_apply_in_file_order(tmp_path, reference, name, make):
    test = opened(make(tmp_path), max_test_images=2, captions_per_image=3).split("test")
    assert test.image_ids == reference.split("test").image_ids[:2]
    assert test.captions == tuple(text for picture in shapes.of("test")[:2] for text in picture.captions[:3])


@pytest.mark.parametrize("make", SPLIT_FILES, ids=lambda make: make.__name__)
def test_a_split_that_is_missing_does_not_exist(tmp_path, make):
    root = make(tmp_path)
    for pattern in ("*val*.json", "*val*.txt", "*dev_*"):
        for path in root.rglob(pattern):
            path.unlink()
    dataset = opened(root)
    assert dataset.splits == ("train", "test")
    with pytest.raises(InvalidDataset, match="has no val split; it has train, test"):
        dataset.split("val")


@pytest.mark.parametrize("make", BESIDE, ids=lambda make: make.__name__)
def test_a_picture_that_is_missing_is_named(tmp_path, make):
    root = make(tmp_path)
    (path,) = tmp_path.rglob(shapes.of("test")[1].file)
    path.unlink()
    refused(root, f"1 of 6 images are missing .*{path.name}")


@pytest.mark.parametrize("make", BESIDE, ids=lambda make: make.__name__)
def test_no_pictures_at_all_name_the_places_that_were_tried(tmp_path, make):
    root = make(tmp_path)
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(InvalidDataset, match=r"is not in .*; set dataset.images to the folder below dataset.root"):
        opened(root)


@pytest.mark.parametrize("make", [shapes.laps_above, shapes.blip, shapes.clip_benchmark])
def test_pictures_in_a_folder_of_ones_own_are_found_by_their_names(tmp_path, make, caplog):
    caplog.set_level("INFO")
    root = make(tmp_path)
    (root / "my" / "pictures").mkdir(parents=True)
    for path in list(root.rglob("*.jpg")):
        path.rename(root / "my" / "pictures" / path.name)
    assert len(opened(root, images="my/pictures").split("test").images.pixels(range(6), 8)) == 6
    assert ("the images are found by their file names alone" in caplog.text) == (make is shapes.blip)


def test_a_training_split_that_is_cut_is_told():
    assert "has 28,000 images, but 29,000 behind published tables" in size_problem("flickr30k", "train", 28_000)
    assert not size_problem("mscoco", "train", 113_287)


@pytest.mark.parametrize(
    ("title", "images", "odd"),
    [
        ("flickr30k", 1000, False),
        ("flickr30k", 31_014, True),
        ("mscoco", 5000, False),
        ("mscoco", 1000, False),
        ("mscoco", 40_504, True),
        ("flickr8k", 8091, True),
        ("holidays", 7, False),
    ],
)
def test_a_gallery_of_unpublished_size_is_told(title, images, odd):
    assert bool(size_problem(title, "test", images)) == odd
    assert not size_problem(title, "val", images)


def test_the_size_of_each_gallery_is_one_line(tmp_path, caplog):
    caplog.set_level("INFO")
    root = shapes.karpathy(tmp_path)
    dataset = opened(root)
    for _ in range(2):
        dataset.split("test")
    assert caplog.text.count("flickr30k test: 6 images, 30 captions") == 1
    assert caplog.text.count("flickr30k test has 6 images, but 1,000 in published tables") == 1
    caplog.clear()
    opened(root, max_test_images=5).split("test")  # what a user asks for is not odd
    assert "published tables" not in caplog.text


@pytest.mark.parametrize(
    ("make", "file", "loosen"),
    [
        (shapes.laps, "test_caps.txt", lambda v: [v[0].replace(" ", "   ", 1), *v[1:]]),
        (shapes.clip_benchmark, "flickr30k_test_karpathy.txt", lambda v: [v[0], v[1].replace(" ", "   ", 1), *v[2:]]),
        (shapes.flickr30k_entities, "results_20130124.token", lambda v: [v[0].replace(" ", "   ", 1), *v[1:]]),
    ],
)
def test_white_space_within_a_caption_is_normalised_in_one_line(tmp_path, caplog, reference, make, file, loosen):
    caplog.set_level("INFO")
    root = make(tmp_path)
    change_lines(root / file, loosen)
    dataset = opened(root)
    assert caplog.text.count("white space of 1 of 90 captions normalised (1 hold several blanks in a row)") == 1
    assert all(dataset.split(split).captions == reference.split(split).captions for split in ("train", "val", "test"))
