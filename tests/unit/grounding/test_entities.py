"""Flickr30k Entities: the files as they are, phrases on their boxes, and files that are not theirs."""

from __future__ import annotations

import grounding_doubles as doubles
import numpy as np
import pytest

from harness.datasets.base import Split
from harness.datasets.images import ArrayImages
from harness.errors import InvalidDataset
from harness.grounding.entities import entities_probes
from harness.grounding.phrases import read_picture
from harness.grounding.probe import NO_PLACES

CAPTIONS = {
    "1001.jpg": ("A man's dog sits on a red bench.", "Two friends talk"),
    "1002.jpg": ("A woman in a hat waves", "A caption of somebody else"),
    "1003.jpg": ("Nothing is known of this one",),
}
SENTENCES = {
    "1001": "[/EN#1/people A man] 's [/EN#2/animals dog] sits on [/EN#3/other/scene a red bench] .\n"
    "[/EN#0/notvisual Two friends] talk\n",
    "1002": "[/EN#4/people A woman] in [/EN#5/clothing a hat] waves\nAnother caption\n",
}
BOX = "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
SIZE = "<annotation><size><width>{}</width><height>{}</height><depth>3</depth></size>{}</annotation>"
OBJECTS = {
    "1001": BOX.format(1, 1, 32, 64, name="1") + BOX.format(33, 1, 64, 32, name="2") + BOX.format(33, 33, 64, 64, name="2")
    + "<object><name>3</name><scene>1</scene></object>",
    "1002": "<object><name>4</name><name>5</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>56</xmax><ymax>56</ymax></bndbox>"
    "</object>",
}  # fmt: skip


class Photographs:
    """Three square pictures with their captions, as a dataset of Flickr30K gives them."""

    title, sha256 = "flickr30k", "0123456789abcdef" * 4

    def __init__(self, captions=CAPTIONS):
        owner = np.repeat(np.arange(len(captions)), [len(own) for own in captions.values()])
        texts = tuple(text for own in captions.values() for text in own)
        pixels = np.random.default_rng(0).integers(0, 255, (len(captions), 3, 64, 64), dtype=np.uint8)
        images = ArrayImages(pixels, np.zeros((len(captions), 1, 4), np.float32), np.ones(len(captions), np.int64))
        ids = tuple(f"c{number}" for number in range(len(texts)))
        self._split = Split("test", images, tuple(captions), texts, ids, owner)

    def split(self, name):
        assert name == "test"
        return self._split


@pytest.fixture
def root(tmp_path):
    for folder in ("Sentences", "Annotations"):
        (tmp_path / folder).mkdir()
    for picture, text in SENTENCES.items():
        (tmp_path / "Sentences" / f"{picture}.txt").write_text(text)
        (tmp_path / "Annotations" / f"{picture}.xml").write_text(SIZE.format(64, 64, OBJECTS[picture]))
    return tmp_path


def probe_of(root, count=10):
    (probe,) = entities_probes(root, Photographs(), "test", count)
    return probe


def test_phrases_with_boxes_are_asked_about(root):
    probe = probe_of(root)
    split = probe.split
    asked = [(split.captions[one.caption], one.role, one.boxes.tolist()) for one in probe.targets]
    sits, hat = CAPTIONS["1001.jpg"][0], CAPTIONS["1002.jpg"][0]
    assert [(caption, role) for caption, role, _ in asked] == [
        (sits, "people"), (sits, "animals"), (hat, "people"), (hat, "clothing"),
    ]  # fmt: skip
    assert asked[0][2] == [[0.0, 0.0, 0.5, 1.0]]
    area = [sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) for *_, boxes in asked]
    assert area == pytest.approx([0.5, 0.5, 0.75**2, 0.75**2])


def test_what_does_not_fit_is_counted_and_said(root):
    answers = probe_of(root).answers(doubles.model_of(doubles.Everywhere(probe_of(root))))
    assert answers.partial == "1 picture without files; 1 caption worded otherwise than in the files"
    assert answers.counts["without_files"] == 1
    assert "1 phrase left out: nothing visible is named" in answers.remarks
    assert "1 phrase left out: the chain has no box" in answers.remarks
    (root / "train.txt").write_text("1001\n77\n")
    again = probe_of(root).answers(doubles.model_of(doubles.Everywhere(probe_of(root))))
    assert "1 of 2 pictures are in train.txt of Flickr30k Entities" in again.remarks


def test_who_knows_the_boxes_points_at_them(root):
    probe = probe_of(root)
    found = {m.name: m for m in probe.answers(doubles.model_of(doubles.Truth(probe))).measures}
    assert (found["pointing"].values[found["reachable"].values == 1] == 1).all()
    assert found["reachable"].values.all()
    assert set(found["pointing"].image) == {"1001.jpg", "1002.jpg"}
    assert [item.rpartition("/")[2] for item in found["pointing"].item] == ["people", "animals", "people", "clothing"]
    even = {m.name: m.values for m in probe.answers(doubles.model_of(doubles.Everywhere(probe))).measures}
    np.testing.assert_allclose(even["pointing"], even["pointing_uniform"], atol=1e-6)


def test_a_photograph_of_another_shape_takes_no_part(root):
    (root / "Annotations" / "1002.xml").write_text(SIZE.format(64, 48, OBJECTS["1002"]))
    probe = probe_of(root)
    assert {probe.split.image_ids[probe.split.caption_image[one.caption]] for one in probe.targets} == {"1001.jpg"}
    answers = probe.answers(doubles.model_of(doubles.Everywhere(probe)))
    assert "1 picture of another shape than the annotated one" in answers.partial


def test_the_identity_follows_the_files(root):
    before = probe_of(root).identity
    assert probe_of(root).identity == before
    assert probe_of(root, 1).identity != before
    (root / "Annotations" / "1002.xml").write_text(SIZE.format(64, 64, OBJECTS["1001"]))
    assert probe_of(root).identity != before


def test_no_phrase_with_a_box_is_a_refusal(root):
    for picture in SENTENCES:
        (root / "Annotations" / f"{picture}.xml").write_text(SIZE.format(64, 64, ""))
    probe = probe_of(root)
    assert probe.refusal(doubles.model_of(doubles.Everywhere(probe))) == "no phrase of these captions has a box"


def test_regions_without_boxes_are_a_refusal_before_any_picture_is_opened(root):
    class Unopened(ArrayImages):
        def original(self, row):
            raise InvalidDataset("this dataset has no pixels")

    dataset = Photographs()
    dataset._split.images.__class__ = Unopened
    (probe,) = entities_probes(root, dataset, "test", 5)
    assert probe.refusal(doubles.model_of(doubles.Everywhere(probe, "regions"))) == NO_PLACES


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("Annotations/1001.xml", "<annotation>", "is not well-formed XML"),
        ("Annotations/1001.xml", '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', "declares a document type"),
        ("Annotations/1001.xml", "<annotation></annotation>", "<size/width> must be a whole number, got ''"),
        ("Annotations/1001.xml", SIZE.format(0, 64, ""), "a picture of 0 x 64 pixels"),
        ("Annotations/1001.xml", SIZE.format(64, 64, BOX.format("x", 1, 2, 3, name="1")), "must be a whole number"),
        ("Sentences/1001.txt", "[/EN#1/people A man", "line 1: expected phrases as"),
        ("Sentences/1001.txt", "a" * 2**21, "bytes; a file of Flickr30k Entities has at most"),
        ("Sentences/1001.txt", b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_files_that_are_not_theirs_are_named(root, file, content, problem):
    (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidDataset) as refusal:
        read_picture(root, "1001")
    assert problem in str(refusal.value)
    assert file.rpartition("/")[2] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_the_files_is_refused(root, tmp_path):
    with pytest.raises(InvalidDataset, match=r"holds no files of entities; expected Sentences/<id>.txt"):
        entities_probes(tmp_path / "nowhere", Photographs(), "test", 5)
    others = Photographs({"a.jpg": ("one",), "b.jpg": ("two",)})
    with pytest.raises(
        InvalidDataset, match="files of none of the 2 pictures of flickr30k test, whose ids are such as"
    ):
        entities_probes(root, others, "test", 5)
