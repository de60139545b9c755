"""The JSON lists of BLIP and LAVIS: captions beyond five, other JSON beside them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapes
from shapes import change_json, opened

from harness.errors import InvalidDataset


def rows(change: Callable[[list[Any]], Any], split: str = "test") -> Callable[[Path], None]:
    return lambda root: change_json(root / f"flickr30k_{split}.json", change)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (rows(lambda v: [*v, 3]), "row 6 must be an object with image and caption, got 3"),
        (rows(lambda v: [*v, {"caption": ["x"]}]), "row 6: 'image' must be the path of an image, got None"),
        (
            rows(lambda v: [*v, {"image": "x.jpg"}]),
            r"row 6 \('x.jpg'\): 'caption' must be a text or a list of texts, got None",
        ),
        (rows(lambda v: [*v, {"image": "x.jpg", "caption": []}]), "row 6 .* has no caption"),
        (rows(lambda v: [*v, {"image": "x.jpg", "caption": ["a", 7]}]), "must be a text or a list of texts, got 7"),
        (rows(lambda v: [*v, v[0]]), "row 6 lists captions of .*, which row 0 has already"),
        (rows(lambda v: [*v, {**v[0], "image": "../x.jpg"}]), "names the path '../x.jpg', which leaves"),
        (rows(lambda v: [*v, {**v[0], "image": "/etc/x.jpg"}]), "names the path '/etc/x.jpg', which leaves"),
        (rows(lambda v: [*v, {**v[0], "image_id": 99}], "train"), r"gives '.*' the image_id 99, row 0 gives it 0"),
        (rows(lambda v: [*v, {**v[0], "image": "x.jpg"}], "train"), "gives image_id 0 to 'x.jpg', an earlier row to"),
        (rows(lambda v: [*v, {**v[0], "image_id": [1]}], "train"), "'image_id' must be a text or a number"),
        (lambda root: (root / "flickr30k_test.json").write_text('[{"image": "a.jpg", "caption": ["x"]'), "as JSON"),
        (rows(lambda v: {"annotations": v}), "must hold a JSON list, got dict"),
        (
            lambda root: (root / "flickr30k_test.json").write_text("[]"),
            "is an empty list; expected rows with image and caption",
        ),
        (lambda root: [change_json(p, lambda v: {"rows": v}) for p in root.glob("*.json")], "of no known layout"),
        (
            lambda root: (root / "flickr30k_test.json").rename(root / "coco_test.json"),
            "found coco, flickr30k; set dataset.prefix",
        ),
    ],
)
def test_bad_files_of_blip(tmp_path, harm, message):
    root = shapes.blip(tmp_path)
    harm(root)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root)
    assert "\n" not in str(caught.value)


def test_captions_beyond_the_first_five_are_left_out_in_one_line(tmp_path, caplog):
    caplog.set_level("INFO")
    root = shapes.blip(tmp_path)
    rows(lambda v: v[0]["caption"].extend(["a sixth", "a seventh"]))(root)
    assert len(opened(root).split("test").captions) == 30
    line = "2 captions of split 'test' beyond the first 5 of their image left out; captions_per_image=null takes all"
    assert caplog.text.count(line) == 1
    assert len(opened(root, captions_per_image=None).split("test").captions) == 32


def test_other_json_files_beside_blip_s_are_not_its_own(tmp_path):
    root = shapes.blip(tmp_path)
    shapes.write_json(root / "vqa_test.json", [{"image": "a.jpg", "question": "what?", "answer": ["this"]}])
    shapes.write_json(root / "nocaps_val.json", [{"image": "a.jpg", "img_id": 0}])
    shapes.write_json(root / "coco_karpathy_test_gt.json", {"images": [], "annotations": []})
    assert opened(root).title == "flickr30k"
