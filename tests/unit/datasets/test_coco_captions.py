"""COCO's own caption files: which file is which split, white space, ids, and what is wrong with one in one line."""

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
from harness.errors import InvalidDataset


def opened(root: Path, **options: Any) -> datasets.base.Dataset:
    return datasets.open_dataset({"root": str(root), **options})


def change(root: Path, change: Callable[[dict[str, Any]], object], name: str = "captions_val2017.json") -> Path:
    path = root / "annotations" / name
    value = json.loads(path.read_text())
    change(value)
    shapes.write_json(path, value)
    return root


def test_a_file_holds_what_the_karpathy_layout_of_the_same_data_holds(tmp_path):
    root = shapes.coco_captions(tmp_path / "own")
    reference = datasets.open_dataset({"root": str(shapes.karpathy(tmp_path / "karpathy"))})
    assert datasets.identify(root) == "coco_captions"
    dataset = opened(root)
    assert (dataset.title, dataset.splits) == ("coco-val2017", ("test",))
    ours, theirs = dataset.split("test"), reference.split("test")
    assert (ours.image_ids, ours.captions) == (theirs.image_ids, theirs.captions)
    assert ours.caption_ids[:6] == ("0", "1", "2", "3", "4", "100")  # COCO's annotation ids
    np.testing.assert_array_equal(ours.caption_image, theirs.caption_image)
    np.testing.assert_array_equal(ours.images.pixels(range(6), 16), theirs.images.pixels(range(6), 16))
    assert dataset.image_digests("test") == reference.image_digests("test")


def test_the_first_five_captions_or_all_are_taken(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    more = {"id": 990, "image_id": 0, "caption": "a sixth"}
    root = change(shapes.coco_captions(tmp_path), lambda v: v["annotations"].append(more))
    assert len(opened(root).split("test").captions) == 30
    assert "1 caption of split 'test' beyond the first 5 of their image left out" in caplog.text
    assert len(opened(root, captions_per_image=None).split("test").captions) == 31


def test_white_space_is_normalised_and_counted(tmp_path, caplog):
    """Of val2017's 25,014 captions 3,541 end in white space, 83 in a line break, and 380 hold several blanks in a row."""
    caplog.set_level(logging.INFO)
    root = shapes.coco_captions(tmp_path)

    def spoil(value: dict[str, Any]) -> None:
        for row, text in enumerate(("A man . ", "A man .\n", "A  man .", "A  man . \n")):
            value["annotations"][row]["caption"] = text

    captions = opened(change(root, spoil)).split("test").captions
    assert [captions[5 * row] for row in range(4)] == ["A man ."] * 4
    line = (
        "white space of 4 of 30 captions normalised (3 begin or end with it, 2 hold a line break, 2 hold several blanks in a "
        "row)"
    )
    assert caplog.text.count(line) == 1


def test_training_images_of_karpathy_s_splits_are_told(tmp_path, caplog):
    opened(shapes.coco_captions(tmp_path / "2017")).split("test")
    line = "3,799 of the 5,000 images of COCO's val2017 are training images of Karpathy's splits"
    assert caplog.text.count(line) == 1
    opened(shapes.coco_captions(tmp_path / "2014", "val2014")).split("test")
    assert "30,504 of the 40,504 images of COCO's val2014" in caplog.text


def test_train_and_val_files_are_the_train_and_test_split(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    shapes.coco_captions(tmp_path, "train2017", "train")
    root = shapes.coco_captions(tmp_path)
    assert opened(root).splits == ("train", "test")
    assert "captions_val2017.json is the test split: COCO publishes no captions of its test images" in caplog.text
    named = opened(root, val="annotations/captions_val2017.json")
    assert named.splits == ("train", "val")
    with pytest.raises(InvalidDataset, match="has no test split; it has train, val"):
        named.split("test")


def test_files_of_two_years_need_to_be_told_apart(tmp_path):
    shapes.coco_captions(tmp_path, "val2014", "val")
    root = shapes.coco_captions(tmp_path)
    with pytest.raises(
        InvalidDataset, match=r"split 'test': captions_val2014.json, captions_val2017.json; set dataset.test"
    ):
        opened(root)
    dataset = opened(root, test="annotations/captions_val2017.json", val="annotations/captions_val2014.json")
    assert {split: len(dataset.split(split).image_ids) for split in dataset.splits} == {"val": 4, "test": 6}
    with pytest.raises(InvalidDataset, match=r"dataset.test names the path '../x.json', which leaves"):
        opened(root, test="../x.json")


def test_clip_benchmark_s_files_of_karpathy_s_splits_are_of_the_same_shape(tmp_path):
    root = tmp_path / "mscoco"
    shapes.images(root / "val2014")
    for split in ("val", "test"):
        own = [f"COCO_val2014_{p.file}" for p in shapes.of(split)]
        for name in own:
            (root / "val2014" / name).write_bytes((root / "val2014" / name.rpartition("_")[2]).read_bytes())
        images = [{"id": row, "file_name": name} for row, name in enumerate(own)]
        annotations = [{"id": 9 + row, "image_id": row, "caption": f"caption {row}"} for row in range(len(own))]
        shapes.write_json(root / f"coco_{split}_karpathy.json", {"images": images, "annotations": annotations})
    dataset = opened(root)
    assert (dataset.title, dataset.splits) == ("mscoco", ("val", "test"))
    assert dataset.split("test").image_ids[0] == f"COCO_val2014_{shapes.of('test')[0].file}"
    dataset.check()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda v: v.pop("images"), "field 'images' is missing; expected COCO's schema"),
        (lambda v: v.pop("annotations"), "field 'annotations' is missing; expected COCO's schema"),
        (lambda v: v.update(annotations=[]), r"holds no captions; take captions_\*.json, not instances_\*.json"),
        (lambda v: v["annotations"][3].pop("caption"), "annotation 3: field 'caption' is missing"),
        (
            lambda v: v["annotations"][3].update(caption=7),
            "annotation 3: field 'caption': input should be a valid string",
        ),
        (
            lambda v: v["annotations"][3].update(image_id=True),
            "annotation 3: field 'image_id': input should be a valid",
        ),
        (lambda v: v["images"][2].update(id=2.0), "image 2: field 'id': input should be a valid"),
        (lambda v: v["annotations"][3].update(image_id=99), "annotation 3 is of image 99, which 'images' lacks"),
        (lambda v: v["annotations"][6].update(id=0), "annotation id 0 stands twice"),
        (lambda v: v["annotations"][1].update(id=0), "1 caption ids appear more than once"),
        (lambda v: v["images"][2].update(id=1), "1 image ids stand more than once"),
        (lambda v: v["images"][2].update(file_name="../x.jpg"), "names the path '../x.jpg', which leaves"),
        (lambda v: v["images"][2].update(file_name="gone.jpg"), "1 of 6 images are missing .*gone.jpg"),
        (lambda v: [i.update(file_name=f"gone{i['id']}.jpg") for i in v["images"]], "is not in .*; set dataset.images"),
    ],
)
def test_bad_files(tmp_path, harm, message):
    root = change(shapes.coco_captions(tmp_path), harm)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


def test_images_without_captions_are_left_out_in_one_line(tmp_path, caplog):
    root = change(
        shapes.coco_captions(tmp_path),
        lambda v: v.update(annotations=[a for a in v["annotations"] if a["image_id"] != 2]),
    )
    assert len(opened(root).split("test").image_ids) == 5
    assert f"1 image without captions left out (first: val2017/{shapes.of('test')[2].file})" in caplog.text


def test_a_broken_file_is_named(tmp_path):
    root = shapes.coco_captions(tmp_path)
    (root / "annotations" / "captions_val2017.json").write_text('{"images": [')
    with pytest.raises(InvalidDataset, match=r"cannot read .*captions_val2017.json as JSON"):
        opened(root)
