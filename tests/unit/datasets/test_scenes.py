"""Scenes: the same bytes everywhere, honest pixels and regions, settings and the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_scenes import scenes

from harness.datasets.scenes import grammar as _grammar
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.detector import CROP, FEATURE_WIDTH, describe, detect
from harness.datasets.scenes.rendering import CLUTTER, RGB, place, render
from harness.datasets.scenes.world import COLOURS, TEXTURES, Draws, sample_scene
from harness.errors import InvalidDataset, InvalidSpec


def digest(clutter: str) -> str:
    """Of everything a user can read from the splits."""
    total = hashlib.sha256()
    dataset = scenes(clutter=clutter, test_images=6)
    for name in ("train", "val", "test"):
        split = dataset.split(name)
        rows = range(len(split.images))
        regions = split.images.regions(rows)
        arrays = (split.images.pixels(rows, 32), regions.features.numpy(), regions.mask.numpy(), split.relevance)
        for array in arrays:
            assert array is not None
            total.update(array.tobytes())
        total.update("\n".join((*split.captions, *split.caption_ids)).encode())
    return total.hexdigest()


#: A change here means that every record of scenes is of other data: raise GENERATOR in scenes.py with it.
DIGESTS = {
    "none": "e4fc66394c2d230c0fcefd6d7973ba7467f134bbd6e4f3a0f8652dbe2dc63fa8",
    "high": "41340c65759a9ef961a9a490086215b4c6a698ba4b4d22ea7f8ab2bcb770a08e",
}


@pytest.mark.parametrize("clutter", DIGESTS)
def test_bytes_are_those_of_every_other_machine(clutter):
    assert digest(clutter) == DIGESTS[clutter]


def test_same_bytes_in_another_process(tmp_path):
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_scenes; print(test_scenes.digest('high'))"
    environment = {
        **os.environ,
        "ITM_CACHE": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONHASHSEED": "7",
    }
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    assert subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip() == digest("high")


def test_another_seed_or_split_gives_other_scenes():
    assert scenes().scenes("test") != scenes(seed=1).scenes("test")
    assert scenes().scenes("test")[:4] != scenes().scenes("val")


def test_an_image_does_not_depend_on_how_many_there_are():
    few, many = scenes(test_images=5).split("test"), scenes(test_images=9).split("test")
    assert few.captions == many.captions[:25]
    np.testing.assert_array_equal(few.images.pixels(range(5), 32), many.images.pixels(range(5), 32))


# --- pixels and regions -------------------------------------------------------------------------------------------


def test_an_object_is_painted_in_its_colour_within_its_radius():
    size = 96
    for index in range(40):
        draws = Draws(1, index)
        placed = place(sample_scene(draws, 2, 3), draws, size)
        full = render(placed, CLUTTER["none"], Draws(2, index), size).astype(int)
        for number, obj in enumerate(placed):
            without = render(placed[:number] + placed[number + 1 :], CLUTTER["none"], Draws(2, index), size).astype(int)
            ys, xs = np.nonzero((full != without).any(axis=2))
            assert abs(xs.max() + xs.min() + 1 - 2 * obj.x) < 0.45 * obj.radius
            assert 1.6 * obj.radius < xs.max() - xs.min() + 1 < 2.3 * obj.radius + 2
            assert (np.hypot(xs + 0.5 - obj.x, ys + 0.5 - obj.y) < 1.35 * obj.radius + 1).all()
            row, column = divmod(obj.object.cell, 3)
            assert int(obj.y / size * 3) == row
            assert int(obj.x / size * 3) == column
            if TEXTURES[obj.object.texture] == "plain":
                painted = full[ys, xs]
                values, counts = np.unique(painted, axis=0, return_counts=True)
                expected = np.clip(np.array(RGB[COLOURS[obj.object.colour]]) + obj.shade, 0, 255)
                assert values[counts.argmax()].tolist() == expected.tolist()


def test_clutter_levels_are_ever_further_from_the_clean_picture():
    placed = place(sample_scene(Draws(3), 3, 3), Draws(4), 64)
    detail = {}
    for level, clutter in CLUTTER.items():
        images = np.stack([render(placed, clutter, Draws(5, i), 64) for i in range(10)]).astype(int)
        detail[level] = abs(np.diff(images, axis=2)).mean()
    assert list(detail) == sorted(detail, key=detail.__getitem__)


def overlap(box: np.ndarray, obj) -> float:
    """Intersection over union of a box and an object's square."""
    other = np.array([obj.x - obj.radius, obj.y - obj.radius, obj.x + obj.radius, obj.y + obj.radius])
    width, height = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    both = max(width, 0) * max(height, 0)
    return both / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - both)


def detections(clutter: str) -> tuple[int, int, int, int]:
    """Over 300 pictures: objects, objects found, boxes, boxes on no object."""
    objects = found = boxes = false = 0
    for index in range(300):
        placed = place(sample_scene(Draws(7, index), 2, 4), Draws(8, index), 64)
        detected = detect(placed, clutter, Draws(9, index), 64)
        assert len(detected) >= 1
        assert (detected >= 0).all()
        assert (detected <= 64).all()
        assert (detected[:, 2:] > detected[:, :2]).all()
        hits = np.array([[overlap(box, obj) > 0.4 for obj in placed] for box in detected])
        objects, found = objects + len(placed), found + int(hits.any(axis=0).sum())
        boxes, false = boxes + len(detected), false + int((~hits.any(axis=1)).sum())
    return objects, found, boxes, false


def test_without_clutter_every_box_lies_on_an_object_and_a_few_objects_are_missed():
    objects, found, boxes, false = detections("none")
    assert false <= 1  # only where nothing at all was found
    assert 0.93 < found / objects < 0.99
    assert 1.05 < boxes / objects < 1.3


def test_clutter_brings_false_positives():
    assert 0.05 < detections("low")[3] / 300 < 1
    assert 1 < detections("high")[3] / 300 < 4


def test_box_features_are_the_mean_colours_of_the_pixels_inside_and_the_coordinates():
    """Where samples and pixels coincide (a box of 3 x CROP pixels) the feature is a plain block mean."""
    side = 3 * CROP
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    box = np.array([[7.0, 5.0, 7.0 + side, 5.0 + side]])
    crop = image[5 : 5 + side, 7 : 7 + side].astype(float)
    means = np.array(
        [[crop[3 * r : 3 * r + 3, 3 * c : 3 * c + 3].mean(axis=(0, 1)) for c in range(CROP)] for r in range(CROP)]
    )
    feature = describe(image, box)
    assert feature.shape == (1, FEATURE_WIDTH)
    assert feature.dtype == np.float32
    np.testing.assert_allclose(feature[0, :-6], means.ravel() / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(feature[0, -6:], np.array([7, 5, 31, 29, 24, 24]) / 20 - 1, atol=1e-6)


def test_regions_are_ragged_and_describe_the_stored_pixels():
    dataset = scenes()
    images = dataset.split("test").images
    regions = images.regions(range(60))
    assert regions.width == images.region_width == FEATURE_WIDTH
    assert len(set(regions.lengths.tolist())) > 1
    assert regions.features.shape[1] == int(regions.lengths.max())
    for row in (0, 17, 59):
        boxes = (regions.features[row, regions.mask[row], -6:-2].numpy().astype(float) + 1) * 16
        again = describe(np.moveaxis(images.pixels([row], 32)[0], 0, -1), boxes)
        np.testing.assert_allclose(again, regions.features[row, regions.mask[row]].numpy(), atol=0.2)
        assert np.abs(again - regions.features[row, regions.mask[row]].numpy()).mean() < 1e-3


def test_pixels_come_at_any_size_and_in_any_order():
    images = scenes().split("test").images
    whole = images.pixels(range(60), 32)
    assert whole.shape == (60, 3, 32, 32)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels([7, 3, 7], 32), whole[[7, 3, 7]])
    half = images.pixels([3], 16)
    assert half.shape == (1, 3, 16, 16)
    blocks = whole[3].reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.abs(half[0] - blocks).mean() < 8


# --- settings and cache -------------------------------------------------------------------------------------------


def test_the_hash_covers_every_setting():
    others = ({"seed": 1}, {"clutter": "high"}, {"image_size": 40}, {"train_images": 13}, {"minimal_edits": 0.4})
    hashes = {scenes(**other).sha256 for other in ({}, *others, {"max_objects": 3})}
    assert len(hashes) == len(others) + 2


def test_the_title_names_a_clutter_level_that_is_not_the_default():
    assert scenes().title == "scenes"
    assert scenes(clutter="high").title == "scenes-high"


@pytest.mark.parametrize("harm", ["truncate", "empty", "reshape", "remove"])
def test_a_damaged_cache_is_made_again(harm, tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path))
    before = scenes().split("test").images.pixels(range(60), 32)
    file = next(tmp_path.rglob("test-pixels.npy"))
    if harm == "truncate":
        os.truncate(file, file.stat().st_size // 2)
    elif harm == "empty":
        os.truncate(file, 0)
    elif harm == "reshape":
        np.save(file, before[:5])
    else:
        file.unlink()
    np.testing.assert_array_equal(scenes().split("test").images.pixels(range(60), 32), before)
    assert np.load(file).shape == before.shape


def test_the_second_opening_renders_nothing(monkeypatch):
    scenes().split("test")
    monkeypatch.setattr(Scenes, "picture", lambda *_: pytest.fail("rendered again"))
    assert len(scenes().split("test").images) == 60


def test_an_unwritable_cache_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "file"))
    with pytest.raises(InvalidDataset, match=r"^cannot write the cache .*ITM_CACHE.*$"):
        scenes().split("val")


def test_a_failure_while_writing_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path))
    monkeypatch.setattr(_grammar.Truth, "of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scenes().split("val")
    assert not list(tmp_path.rglob("*relevance*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_objects": 4, "max_objects": 3}, "min_objects 4 exceeds max_objects 3"),
        ({"clutter": "wild"}, "clutter"),
        ({"test_images": 0}, "test_images"),
        ({"imagesize": 64}, "did you mean 'image_size'"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InvalidSpec, match=message):
        scenes(**options)


def test_an_unknown_split_is_refused():
    with pytest.raises(InvalidDataset, match="no dev split; it has train, val, test"):
        scenes().split("dev")
