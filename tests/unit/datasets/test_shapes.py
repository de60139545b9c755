"""Each layout of photographs gives the splits of the karpathy layout of the same data, and one line for what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes

from harness import datasets
from harness.datasets.base import Dataset
from harness.datasets.known import KNOWN
from harness.datasets.published import size_problem
from harness.errors import InvalidDataset

ALL = [(name, make) for name, makers in shapes.SHAPES.items() for make in makers]
IDS = [make.__name__ for _, make in ALL]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return datasets.open_dataset({"root": str(shapes.karpathy(tmp_path_factory.mktemp("karpathy")))})


def opened(root: Path, **options: Any) -> Dataset:
    return datasets.open_dataset({"root": str(root), **options})


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_a_layout_holds_what_the_karpathy_layout_of_the_same_data_holds(tmp_path, reference, name, make):
    root = make(tmp_path)
    assert datasets.identify(root) == name
    dataset = opened(root)
    assert dataset.title == ("mscoco" if make in (shapes.laps_coco, shapes.lavis) else "flickr30k")
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
    dataset = opened(make(tmp_path), max_test_images=2, captions_per_image=3)
    test = dataset.split("test")
    assert test.image_ids == reference.split("test").image_ids[:2]
    assert test.captions == tuple(text for picture in shapes.of("test")[:2] for text in picture.captions[:3])


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_a_split_that_is_missing_does_not_exist(tmp_path, name, make):
    root = make(tmp_path)
    for pattern in ("*val*.json", "*val*.txt", "*dev_*"):
        for path in root.rglob(pattern):
            path.unlink()
    dataset = opened(root)
    assert dataset.splits == ("train", "test")
    with pytest.raises(InvalidDataset, match="has no val split; it has train, test"):
        dataset.split("val")


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_a_picture_that_is_missing_is_named(tmp_path, name, make):
    root = make(tmp_path)
    (path,) = tmp_path.rglob(shapes.of("test")[1].file)
    path.unlink()
    with pytest.raises(InvalidDataset, match=f"1 of 6 images are missing .*{path.name}"):
        opened(root).split("test")


@pytest.mark.parametrize(("name", "make"), ALL, ids=IDS)
def test_no_pictures_at_all_name_the_places_that_were_tried(tmp_path, name, make):
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


# --- traps --------------------------------------------------------------------------------------------------------


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


def change_lines(path: Path, change: Callable[[list[str]], Any]) -> None:
    lines = path.read_text().splitlines()
    shapes.write_lines(path, change(lines) or lines)


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


def text(change: Callable[[list[str]], Any]) -> Callable[[Path], None]:
    return lambda root: change_lines(root / "flickr30k_test_karpathy.txt", change)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (text(lambda v: v[1:]), "the first line must be 'image,caption', got '.*.jpg,a .* , seen near test 0"),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").write_text(""),
            "must be 'image,caption', got an empty file",
        ),
        (text(lambda v: v[:1]), "holds no captions; expected lines <file>.jpg,<caption>"),
        (text(lambda v: [f"{v[0]},more", *v[1:]]), "the first line must be 'image,caption', got 'image,caption,more'"),
        (text(lambda v: [*v, "no file name, a caption"]), r"line 32 must be <file>.jpg,<caption>, got 'no file name"),
        (text(lambda v: [*v, "../x.jpg,a caption"]), "names the path '../x.jpg', which leaves"),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").write_bytes(b"image,caption\na.jpg,\xff\n"),
            "is not UTF-8",
        ),
        (
            lambda root: (root / "flickr30k_test_karpathy.txt").rename(root / "flickr8k_test_karpathy.txt"),
            "set dataset.prefix and",
        ),
        (
            lambda root: [p.rename(root / "captions.txt") for p in root.glob("*.txt")],
            "captions.txt lists all images, and no file says which split each is of",
        ),
    ],
)
def test_bad_files_of_clip_benchmark(tmp_path, harm, message):
    root = shapes.clip_benchmark(tmp_path)
    harm(root)
    with pytest.raises(InvalidDataset, match=message) as caught:
        opened(root).split("test")
    assert "\n" not in str(caught.value)


def test_one_file_of_all_captions_is_no_split(tmp_path):
    root = shapes.clip_benchmark(tmp_path)
    for path in root.glob("*.txt"):
        path.rename(root / "captions.txt")
    with pytest.raises(InvalidDataset, match=r"found none; captions.txt lists all images without their splits; set"):
        datasets.open_dataset({"name": "clip_benchmark", "root": str(root)})


def test_another_language_beside_english_is_an_option(tmp_path, caplog):
    caplog.set_level("INFO")
    root = shapes.clip_benchmark(tmp_path)
    lines = [f"{picture.file},一只狗 {k}" for picture in shapes.of("test") for k in range(5)]
    shapes.write_lines(root / "flickr30k_test_zh.txt", ["image,caption", *lines])
    english, chinese = opened(root), opened(root, language="zh")
    assert "the English captions are taken; dataset.language takes zh" in caplog.text
    assert (english.title, chinese.title) == ("flickr30k", "flickr30k-zh")
    assert (english.splits, chinese.splits) == (("train", "val", "test"), ("test",))
    assert chinese.split("test").captions[0] == "一只狗 0"
    for path in root.glob("*_karpathy.txt"):
        path.unlink()
    assert opened(root).title == "flickr30k-zh"


def test_captions_that_a_csv_writer_quoted_lose_their_quotation_marks(tmp_path, caplog, reference):
    caplog.set_level("INFO")
    root = shapes.clip_benchmark(tmp_path)

    def quoted(lines: list[str]) -> list[str]:
        pairs = (line.split(".jpg,", 1) for line in lines[1:])
        return [lines[0], *('{}.jpg,"{}"'.format(name, text.replace('"', '""')) for name, text in pairs)]

    text(quoted)(root)
    assert opened(root).split("test").captions == reference.split("test").captions
    assert "the quotation marks of a CSV table are taken off 30 captions" in caplog.text


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
