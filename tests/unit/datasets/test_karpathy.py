"""Karpathy's splits: what is read, what is cached, and the one line for everything that can be wrong."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from karpathy_files import annotation, karpathy, photograph, refused, whole, write

FLICKR8K = Path(os.environ.get("ITM_FLICKR8K", Path(__file__).parents[4] / "shared" / "flickr8k"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return whole(tmp_path)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    return folder


def test_splits_captions_and_ids(root):
    dataset = karpathy(root)
    train, val, test = (dataset.split(name) for name in ("train", "val", "test"))
    assert dataset.title == "flickr30k"
    assert train.image_ids == ("0.png", "1.png")  # restval is training data
    assert len(train.captions) == 10  # the first five of six
    assert val.image_ids == ("2.png",)
    assert test.captions[0] == "Picture 3, caption 0."  # the raw text, on one line
    assert test.caption_image.tolist() == [0, 1, 1, 1, 1, 1]
    assert test.caption_ids[:2] == ("3.png#0", "4.png#0")
    assert test.relevance is None
    assert test.images.inputs == {"pixels"}


def test_coco_has_subfolders_its_own_caption_ids_and_the_name_of_published_tables(tmp_path):
    values = annotation(dataset="coco")
    for number, image in enumerate(values["images"]):
        image.update(cocoid=number, filepath="val2014")
        photograph(tmp_path / "images" / "val2014" / image["filename"], number)
    dataset = karpathy(write(tmp_path, values, "dataset_coco.json"))
    assert dataset.title == "mscoco"
    assert dataset.split("test").caption_ids == ("300", "400", "401", "402", "403", "404")
    assert dataset.split("test").images.pixels([1], 8).shape == (1, 3, 8, 8)


def test_how_much_is_used_is_configured(root):
    limited = karpathy(root, captions_per_image=None, max_test_images=1, restval=False)
    assert limited.split("train").image_ids == ("0.png",)
    assert limited.split("test").image_ids == ("3.png",)
    assert len(karpathy(root, captions_per_image=None).split("train").captions) == 11
    assert len(karpathy(root, captions_per_image=2).split("train").captions) == 4


def test_a_blank_caption_is_kept_and_told(root, caplog):
    values = annotation()
    values["images"][4]["sentences"][1]["raw"] = " \n"
    assert karpathy(write(root, values)).split("test").captions[2] == ""
    assert "1 captions of split 'test' are blank" in caplog.text


def test_without_a_name_in_the_json_the_file_gives_it(root):
    values = annotation()
    del values["dataset"]
    assert karpathy(write(root, values)).title == "flickr30k"


# --- identity -----------------------------------------------------------------------------------------------------


def test_the_hash_follows_the_files_and_not_the_folder(root, tmp_path_factory):
    whole = karpathy(root).sha256
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for file in (p for p in root.rglob("*") if p.is_file()):
        (elsewhere / file.relative_to(root)).parent.mkdir(exist_ok=True)
        (elsewhere / file.relative_to(root)).write_bytes(file.read_bytes())
    assert karpathy(elsewhere).sha256 == whole
    assert karpathy(root, max_train_images=1).sha256 != whole
    assert karpathy(root, captions_per_image=1).sha256 != whole
    photograph(root / "images" / "2.png", 2, (31, 20))
    assert karpathy(root).sha256 != whole


def test_the_hash_follows_the_content_of_every_image(root):
    before = karpathy(root).sha256
    path = root / "images" / "3.png"
    dates, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1  # the same name, length and date
    path.write_bytes(bytes(content))
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert karpathy(root).sha256 != before


def test_pictures_that_change_places_are_other_data_and_decoded_anew(root):
    before = karpathy(root)
    pixels = before.split("test").images.pixels([0, 1], 12)
    first, second = (root / "images" / f"{number}.png" for number in (3, 4))
    for source, target in ((first, root / "x"), (second, first), (root / "x", second)):
        source.rename(target)
    after = karpathy(root)
    assert after.sha256 != before.sha256
    np.testing.assert_array_equal(after.split("test").images.pixels([1, 0], 12), pixels)


def test_the_hash_does_not_follow_the_spelling_of_the_json(root):
    before = karpathy(root).sha256
    path = root / "dataset_flickr30k.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(annotation(), indent=2).encode())
    assert karpathy(root).sha256 == before
    values = annotation()
    values["images"][0]["sentences"][0]["raw"] += " More"
    assert karpathy(write(root, values)).sha256 != before


def test_each_file_is_read_once(root, monkeypatch):
    monkeypatch.setattr("harness.datasets.store.facts.SETTLED_SECONDS", -1)
    before = karpathy(root).sha256
    monkeypatch.setattr("harness.datasets.photographs.sources.read_image", lambda *_: pytest.fail("read again"))
    assert karpathy(root).sha256 == before


# --- bad input ----------------------------------------------------------------------------------------------------


def test_a_missing_root(tmp_path):
    refused(tmp_path / "nowhere", "nowhere does not exist; set dataset.root")


def test_a_root_that_is_a_file(root):
    refused(root / "dataset_flickr30k.json", "is not a folder")


def test_no_annotation_and_several(root):
    write(root, annotation(), "dataset_other.json")
    refused(root, "found dataset_flickr30k.json, dataset_other.json; set dataset.annotation")
    assert len(karpathy(root, annotation="dataset_other.json").split("test").image_ids) == 2
    for file in root.glob("*.json"):
        file.unlink()
    refused(root, "found none; set dataset.annotation")


def test_an_annotation_that_is_missing(root):
    refused(root, "cannot read .*gone.json: No such file", annotation="gone.json")


@pytest.mark.parametrize("content", [b'{"images": [', b"", b"\xff\xfe", b"[" * 100_000])
def test_malformed_json(root, content):
    (root / "dataset_flickr30k.json").write_bytes(content)
    refused(root, r"cannot read .*dataset_flickr30k\.json as JSON: it is (not valid JSON|nested too deeply)")


def test_json_that_is_no_object(root):
    (root / "dataset_flickr30k.json").write_text("[]")
    refused(root, "must hold a JSON object, got list")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda v: v.pop("images"), "field 'images' is missing"),
        (lambda v: v.update(images={}), r"field 'images': input should be a valid list, got \{\}"),
        (lambda v: v["images"].insert(0, 3), "image 0: input should be a valid dictionary .*got 3"),
        (lambda v: v["images"][4].pop("filename"), "image 4: field 'filename' is missing"),
        (lambda v: v["images"][4].pop("split"), "image 4: field 'split' is missing"),
        (
            lambda v: v["images"][4].update(split="tset"),
            "field 'split': input should be 'train', 'restval', 'val' or 'test', got 'tset'",
        ),
        (
            lambda v: v["images"][4].update(filename=7),
            "image 4: field 'filename': input should be a valid string, got 7",
        ),
        (
            lambda v: v["images"][4].update(filepath=7),
            "image 4: field 'filepath': input should be a valid string, got 7",
        ),
        (lambda v: v["images"][4].pop("sentences"), "image 4: field 'sentences' is missing"),
        (lambda v: v["images"][4].update(sentences=[]), r"image 4 \('4.png'\) has no caption"),
        (
            lambda v: v["images"][4]["sentences"].insert(1, "x"),
            "image 4: sentence 1: input should be a valid dictionary",
        ),
        (lambda v: v["images"][4]["sentences"][2].pop("raw"), "image 4: sentence 2: field 'raw' is missing"),
        (lambda v: v["images"][4].update(filename="3.png"), "1 image ids appear more than once"),
        (lambda v: v["images"].__delitem__(slice(3, 5)), "has no test split; it has train, val"),
        (lambda v: v["images"][4].update(filename="../secret.png"), "image 4 names the path .* leaves"),
        (lambda v: v["images"][4].update(filepath="a/../../.."), "image 4 names the path .* leaves"),
        (lambda v: v["images"][4].update(filename="..\\secret.png"), "image 4 names the path .* leaves"),
        (lambda v: v["images"][4].update(filename="gone.png"), "1 of 2 images are missing .*gone.png"),
    ],
)
def test_an_annotation_that_breaks_the_schema(root, harm, message):
    values = annotation()
    harm(values)
    write(root, values)
    refused(root, message)


@pytest.mark.parametrize("options", [{"images": "/etc"}, {"images": ".."}, {"annotation": "../x.json"}])
def test_configured_paths_do_not_leave_the_root(root, options):
    refused(root, "leaves .*; paths must lie below the root", **options)


def test_a_key_that_stands_twice_in_the_json(root):
    text = (root / "dataset_flickr30k.json").read_text()
    (root / "dataset_flickr30k.json").write_text(text.replace('{"dataset"', '{"images": [], "dataset"'))
    refused(root, "as JSON: the key 'images' stands twice")


# --- the real thing -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason=f"Flickr8k is not at {FLICKR8K}; set ITM_FLICKR8K")
class TestFlickr8k:
    def test_the_official_splits(self):
        dataset = karpathy(FLICKR8K)
        assert dataset.title == "flickr8k"
        for name, images in (("train", 6000), ("val", 1000), ("test", 1000)):
            split = dataset.split(name)
            assert len(split.image_ids) == images
            assert np.bincount(split.caption_image).tolist() == [5] * images
        assert (
            dataset.split("train").captions[0]
            == "A child in a pink dress is climbing up a set of stairs in an entry way ."
        )
        assert dataset.split("train").caption_ids[0] == "1000268201_693b08cb0e.jpg#0"

    def test_photographs_decode_to_different_pictures(self):
        dataset = karpathy(FLICKR8K, max_test_images=200)
        pixels = dataset.split("test").images.pixels(range(200), 64)
        assert len({hashlib.sha256(image.tobytes()).hexdigest() for image in pixels}) == 200
        assert 60 < pixels.mean() < 180
