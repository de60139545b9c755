"""Fingerprints, near-duplicates, files and names: found where they are, and not where they are not."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from harness.datasets.photographs.sources import ImageFiles
from harness.datasets.precomp.features import FeatureRows
from harness.description import hashes
from harness.description.features import feature_facts
from harness.description.hashes import CORRELATION, Prints, near
from harness.description.names import Known, name_of, same_bare, same_name, same_number
from harness.description.pictures import file_facts, look, prints_of


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    return folder


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with large shapes, as photographs have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: as_jpeg(image, 30),
        lambda image: image.resize((60, 45)),
        lambda image: image.convert("L").convert("RGB"),
        lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    ],
    ids=["recompressed", "halved", "grey", "brighter"],
)
def test_a_changed_copy_is_near(change):
    pictures = [scene(seed) for seed in range(30)]
    pairs, bits = near(Prints.of(pictures), Prints.of([change(pictures[7])]))
    assert pairs.tolist() == [[7, 0]]
    assert bits[0] <= hashes.NEAR_BITS


def test_pictures_of_other_things_are_not_near():
    assert len(near(Prints.of([scene(seed) for seed in range(60)]))[0]) == 0


def test_hashes_that_agree_by_chance_are_told_apart_by_their_miniatures():
    bits = np.zeros(2, dtype=np.uint64)
    grey = np.random.default_rng(0).integers(0, 256, (2, 256), dtype=np.uint8)
    assert len(near(Prints(bits, grey, np.ones(2, bool)))[0]) == 0
    assert near(Prints(bits, grey[[0, 0]], np.ones(2, bool)))[0].tolist() == [[0, 1]]


@pytest.mark.parametrize("two_sets", [False, True])
def test_blocks_find_what_a_loop_over_all_pairs_finds(two_sets, monkeypatch):
    monkeypatch.setattr(hashes, "_BLOCK", 7)
    monkeypatch.setattr(hashes, "_AT_ONCE", 5)
    random = np.random.default_rng(3)
    centres = random.integers(0, 2**63, 4, dtype=np.uint64)
    flips = np.array([sum(1 << int(b) for b in random.integers(0, 63, 6)) for _ in range(40)], dtype=np.uint64)
    bits = centres[random.integers(0, 4, 40)] ^ flips
    grey = np.clip(
        random.integers(0, 200, (4, 256))[random.integers(0, 4, 40)] + random.integers(0, 40, (40, 256)), 0, 255
    )
    prints = Prints(bits, grey.astype(np.uint8), random.random(40) < 0.9)
    other = prints.of_rows(np.arange(15, 40)) if two_sets else None
    found, distances = near(prints, other, bits=14)
    expected = []
    second = other or prints
    for i in range(len(prints)):
        for j in range(0 if two_sets else i + 1, len(second)):
            distance = bin(int(prints.bits[i]) ^ int(second.bits[j])).count("1")
            like = np.corrcoef(prints.grey[i].astype(float), second.grey[j].astype(float))[0, 1]
            if prints.known[i] and second.known[j] and distance <= 14 and like >= CORRELATION:
                expected.append((distance, i, j))
    assert len(expected) > 20
    assert [(int(d), *pair) for d, pair in zip(distances, found.tolist(), strict=True)] == sorted(expected)


def test_pictures_of_one_grey_value_are_no_duplicates():
    flat = [Image.new("RGB", (40, 40), (grey, grey, grey)) for grey in (10, 10, 200)]
    prints = Prints.of(flat)
    assert not prints.known.any()
    assert len(near(prints)[0]) == 0


def test_every_kind_of_file_is_looked_at(tmp_path):
    scene(1).save(tmp_path / "plain.jpg")
    scene(2).convert("L").save(tmp_path / "grey.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    scene(3).save(tmp_path / "turned.jpg", exif=turned)
    scene(4).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    Image.new("RGB", (30, 30), "grey").save(tmp_path / "flat.png")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [
        "plain.jpg",
        "grey.png",
        "turned.jpg",
        "cut.jpg",
        "text.jpg",
        "flat.png",
        "link.jpg",
        "pipe.jpg",
        "none.jpg",
    ]
    pictures = look(ImageFiles(tmp_path, names), tmp_path)
    bad = {name: picture for name, picture in zip(names, pictures, strict=True) if picture.problem}
    assert list(bad) == ["cut.jpg", "text.jpg", "link.jpg", "pipe.jpg", "none.jpg"]
    assert [name for name, picture in bad.items() if picture.missing] == ["none.jpg"]
    assert "leaves" in bad["link.jpg"].problem
    assert not bad["link.jpg"].sha256
    facts = file_facts(pictures, prints_of(pictures))
    assert (facts.missing, facts.unreadable, facts.turned, facts.uniform) == (1, 4, 1, 1)
    assert facts.modes == {"RGB": 4, "L": 1}
    assert facts.formats == {"JPEG": 3, "PNG": 2}
    assert facts.sizes == {"120 x 90": 3, "90 x 120": 1, "30 x 30": 1}
    assert (facts.width.smallest, facts.width.largest) == (30, 120)
    assert len(facts.problems) == 5


def test_what_was_found_in_files_is_remembered_until_they_change(tmp_path, monkeypatch):
    for number in range(3):
        scene(number).save(tmp_path / f"{number}.png")
        os.utime(tmp_path / f"{number}.png", (time.time() - 60,) * 2)
    monkeypatch.setattr("harness.datasets.store.facts.SETTLED_SECONDS", -1.0)
    source = ImageFiles(tmp_path, ["0.png", "1.png", "2.png"])
    first = look(source, tmp_path)
    reads = []
    monkeypatch.setattr(
        ImageFiles, "read", lambda self, row, read=ImageFiles.read: reads.append(row) or read(self, row)
    )
    assert look(source, tmp_path) == first
    assert reads == []
    scene(9).save(tmp_path / "1.png")
    again = look(source, tmp_path)
    assert reads == [1]
    assert again[1] != first[1]
    assert again[::2] == first[::2]


def test_quick_decodes_nothing(tmp_path):
    scene(4).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (picture,) = look(ImageFiles(tmp_path, ["cut.jpg"]), tmp_path, quick=True)
    assert (picture.width, picture.height, picture.problem, picture.sha256) == (120, 90, "", "")


@pytest.mark.parametrize(
    ("name", "others", "how"),
    [
        ("COCO_val2014_000000391895.jpg", ["391895"], "number"),
        ("000000391895.jpg", ["COCO_train2014_000000391895.jpg"], "number"),
        ("391895", ["val2014/COCO_val2014_000000391895.jpg"], "number"),
        ("1000268201_693b08cb0e.jpg", ["1000268201.jpg"], "number"),
        ("1000092795.jpg", ["1000092795"], "number"),
        ("images/dog.JPG", ["dog.png"], "name"),
        ("25.jpg", ["25"], "bare"),
        ("25.jpg", ["COCO_val2014_000000000025.jpg"], "number"),
        ("test-000001", ["test-000001"], "nothing"),
        ("dog.jpg", ["cat.jpg"], "nothing"),
        ("COCO_val2014_000000000025.jpg", ["1000092795_693b08cb0e.jpg"], "nothing"),
    ],
)
def test_names_that_state_one_origin(name, others, how):
    own, known = name_of(name), Known.of(map(name_of, others))
    found = {"name": same_name(own, known), "number": same_number(own, known), "bare": bool(same_bare([own], known))}
    assert [way for way, holds in found.items() if holds][:1] == ([] if how == "nothing" else [how])


def test_region_features_are_counted():
    features = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float16)
    features[1, 2] = 0
    features[3] = 0
    features[4] = features[4, 0]
    found = feature_facts(FeatureRows(features, np.array([0, 1, 3, 4])))
    assert (found.rows, found.regions, found.width, found.dtype) == (4, 3, 4, "float16")
    assert (found.zero_regions, found.zero_images, found.equal_regions) == (4, 1, 2)
    norms = [float(np.linalg.norm(features[row, region].astype(float))) for row in (0, 1, 3, 4) for region in range(3)]
    assert found.norms.median == pytest.approx(np.median(norms), rel=1e-6)
    assert found.norms.number == 12
