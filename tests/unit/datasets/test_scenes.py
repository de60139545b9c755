"""Scenes: the same bytes everywhere, captions that say what their forms mean, exact relevance, honest regions."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import open_dataset
from harness.datasets.scenes import grammar as _grammar
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.detector import CROP, FEATURE_WIDTH, describe, detect
from harness.datasets.scenes.grammar import LEVELS, RELATIONS, Form, Truth
from harness.datasets.scenes.rendering import CLUTTER, RGB, place, render
from harness.datasets.scenes.world import ANY, CELLS, COLOURS, SHAPES, TEXTURES, Draws, Object, edit_scene, sample_scene
from harness.errors import InvalidDataset, InvalidSpec
from harness.spec import Component

SMALL = {"train_images": 12, "val_images": 4, "test_images": 60, "image_size": 32}


def scenes(**options: object) -> Scenes:
    dataset = open_dataset(Component(name="scenes", options={**SMALL, **options}))
    assert isinstance(dataset, Scenes)
    return dataset


def forms_of_test(dataset: Scenes) -> list[Form]:
    """The logical form of each caption of the test split."""
    return [
        form
        for index, scene in enumerate(dataset.scenes("test"))
        for form in dataset._captions("test", index, scene)[0]
    ]


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


# --- captions -----------------------------------------------------------------------------------------------------

_NOUN = re.compile(
    rf"an? (?:(?P<size>small|little|large|big) )?(?:(?P<texture>striped|spotted) )?(?P<colour>{'|'.join(COLOURS)}) "
    rf"(?P<shape>{'|'.join(SHAPES)})(?: (?:in|at|on) the (?P<place>[a-z ]+))?$"
)
_PLACE_WORDS = {"top": (0, None), "bottom": (2, None), "left": (None, 0), "right": (None, 2)}


def parse(caption: str) -> Form:
    """A form from the words of a caption alone, written without the generator's tables of places and relations."""
    body = re.sub(r"^(there is|a picture of|a scene with) ", "", caption)
    for phrase, relation in (
        (" to the left of ", "left"),
        (" left of ", "left"),
        (" to the right of ", "right"),
        (" right of ", "right"),
        (" above ", "above"),
        (" over ", "above"),
        (" below ", "below"),
        (" under ", "below"),
    ):
        if phrase in body:
            return Form(tuple(noun(part) for part in body.split(phrase)), relation)
    return Form(tuple(noun(part) for part in re.split(r", | and ", body)))


def noun(text: str) -> Object:
    found = _NOUN.match(text)
    assert found, text
    assert text.startswith("an ") == (text.split(" ", 1)[1][0] in "aeiou")
    cell = ANY
    if found["place"]:
        row = column = 1
        for word in found["place"].split():
            if word in _PLACE_WORDS:
                at_row, at_column = _PLACE_WORDS[word]
                row, column = row if at_row is None else at_row, column if at_column is None else at_column
            else:
                assert word in ("corner", "middle", "centre")
        cell = 3 * row + column
    size = {None: ANY, "small": 0, "little": 0, "large": 1, "big": 1}[found["size"]]
    texture = TEXTURES.index(found["texture"]) if found["texture"] else ANY
    return Object(SHAPES.index(found["shape"]), COLOURS.index(found["colour"]), size, texture, cell)


def test_words_of_every_caption_say_its_form():
    dataset = scenes()
    for caption, form in zip(dataset.split("test").captions, forms_of_test(dataset), strict=True):
        assert parse(caption) == form, caption


def true_in(form: Form, scene: tuple[Object, ...]) -> bool:
    """The meaning of a form, one scene and one assignment of objects at a time."""
    for chosen in itertools.permutations(scene, len(form.objects)):
        fits = all(
            w in (ANY, h)
            for want, have in zip(form.objects, chosen, strict=True)
            for w, h in zip(want, have, strict=True)
        )
        if fits and (not form.relation or stands(form.relation, chosen[0].cell, chosen[1].cell)):
            return True
    return False


def stands(relation: str, first: int, second: int) -> bool:
    if relation in ("left", "right"):
        first, second = first % 3, second % 3
    else:
        first, second = first // 3, second // 3
    return first < second if relation in ("left", "above") else first > second


@pytest.mark.parametrize("most", [2, 5])
def test_relevance_is_what_a_naive_evaluator_finds(most):
    dataset = scenes(max_objects=most, test_images=30)
    relevance = dataset.split("test").relevance
    naive = [[true_in(form, scene) for form in forms_of_test(dataset)] for scene in dataset.scenes("test")]
    assert relevance is not None
    np.testing.assert_array_equal(relevance, naive)


def test_relevance_needs_two_objects_for_two_phrases():
    """One red circle is not "a red circle and a circle": the phrases name different objects."""
    red, any_red = Object(0, 0), Object(ANY, 0)
    one = (Object(0, 0, 0, 0, 4), Object(1, 3, 0, 0, 5))
    two = (Object(0, 0, 0, 0, 4), Object(1, 0, 0, 0, 5))
    assert Truth([one, two]).of(Form((red, any_red))).tolist() == [False, True]


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_hold_between_the_right_cells(relation):
    truth = Truth([(Object(0, 0, 0, 0, a), Object(1, 1, 0, 0, b)) for a, b in itertools.permutations(range(CELLS), 2)])
    expected = [stands(relation, a, b) for a, b in itertools.permutations(range(CELLS), 2)]
    assert truth.of(Form((Object(0, 0), Object(1, 1)), relation)).tolist() == expected


def test_each_caption_is_true_of_its_own_image():
    split = scenes().split("test")
    assert split.relevance is not None
    assert split.relevance[split.caption_image, np.arange(len(split.captions))].all()


#: Level -> the levels of the same image that it implies.
IMPLIES = {
    "object": (),
    "attributes": ("object",),
    "pair": ("object",),
    "relation": ("object", "attributes", "pair"),
    "scene": ("object", "attributes", "pair", "relation"),
}


def test_finer_captions_are_true_of_fewer_images_and_imply_the_coarser_ones():
    split = scenes(test_images=200).split("test")
    assert split.relevance is not None
    by_level = split.relevance.reshape(200, 200, len(LEVELS))  # (I, image of the caption, level)
    assert [caption_id.split("#")[1] for caption_id in split.caption_ids[:5]] == list(LEVELS)
    for level, implied in IMPLIES.items():
        for coarser in implied:
            fine, coarse = by_level[..., LEVELS.index(level)], by_level[..., LEVELS.index(coarser)]
            assert not (fine & ~coarse).any(), (level, coarser)
    positives = by_level.sum(axis=0).mean(axis=0)
    assert (np.diff(positives) < 0).all(), positives
    assert positives[0] > 5
    assert positives[-1] < 1.1


# --- minimal edits ------------------------------------------------------------------------------------------------


def test_minimal_edits_keep_every_attribute_and_change_its_owner():
    pairs = scenes(minimal_edits=1.0).scenes("test")
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        assert set(first) != set(second)
        for field in Object._fields:
            assert sorted(getattr(o, field) for o in first) == sorted(getattr(o, field) for o in second)
        assert sum(a != b for a, b in zip(first, second, strict=True)) == 2
        assert len({obj[:2] for obj in second}) == len(second)
        assert len({obj.cell for obj in second}) == len(second)


def test_without_minimal_edits_neighbours_are_independent():
    same_kinds = [
        sorted(o.shape for o in a) == sorted(o.shape for o in b)
        and sorted(o.colour for o in a) == sorted(o.colour for o in b)
        for a, b in itertools.pairwise(scenes(minimal_edits=0.0).scenes("test"))
    ]
    assert sum(same_kinds) <= 1


def test_an_edit_always_finds_something_to_exchange():
    for index in range(300):
        scene = sample_scene(Draws(5, index), 2, 4)
        assert set(edit_scene(scene, Draws(6, index))) != set(scene)


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
    monkeypatch.setattr(Scenes, "_picture", lambda *_: pytest.fail("rendered again"))
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
