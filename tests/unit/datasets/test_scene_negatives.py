"""Hard negatives of scenes: one caption holds and the other does not, and nothing but the edit tells them apart."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter

import numpy as np
import pytest
from naive_scenes import parse, true_in
from small_scenes import scenes

from harness.datasets.scenes.negatives import KINDS, Negatives, negatives
from harness.datasets.scenes.world import Object, Scene
from harness.errors import UnknownName

SWAPS = ("swap_attribute", "swap_object")
#: Kind -> the edits that it must find.
EDITS = {
    "swap_attribute": {"colour", "size", "texture"},
    "swap_object": {"shape"},
    "replace_attribute": {"colour", "size", "texture"},
    "replace_object": {"shape"},
    "relation": {"opposite", "arguments"},
    "count": {"one", "two"},
}


@functools.cache
def made(kind: str) -> tuple[Negatives, list[Scene]]:
    """The negatives of a kind, and the scene of each picture."""
    dataset = scenes()
    found, shown = negatives(dataset, "test", kind), list(dataset.scenes("test"))
    if kind == "count":  # the first caption of a pair names what is there once, the second picture has its first twice
        for scene, item in zip(dataset.scenes("test"), found.items[::2], strict=True):
            one, other = parse(item.true).objects
            shown.append(
                tuple(obj._replace(shape=one.shape, colour=one.colour) if alike(obj, other) else obj for obj in scene)
            )
    return found, shown


def alike(obj: Object, kind: Object) -> bool:
    return (obj.shape, obj.colour) == (kind.shape, kind.colour)


def words(text: str) -> list[str]:
    return text.replace(",", "").split()


@pytest.mark.parametrize("kind", KINDS)
def test_a_naive_reader_finds_one_caption_true_and_the_other_false(kind):
    found, shown = made(kind)
    assert len(found.images) == len(found.image_ids) == len(shown)
    for item in found.items:
        assert true_in(parse(item.true), shown[item.image]), item
        assert not true_in(parse(item.false), shown[item.image]), item


@pytest.mark.parametrize("kind", KINDS)
def test_both_captions_have_equally_many_words_and_swaps_have_the_same(kind):
    for item in made(kind)[0].items:
        true, false = words(item.true), words(item.false)
        assert len(true) == len(false)
        if kind in SWAPS or item.edit == "arguments":
            assert sorted(true) == sorted(false)
            assert true != false


#: Kind -> most words that differ, an article included ("a red", "an orange").
LARGEST_EDITS = {"swap_attribute": 2, "swap_object": 2, "replace_attribute": 2, "replace_object": 1, "count": 3}


@pytest.mark.parametrize("kind", LARGEST_EDITS)
def test_nothing_but_the_edit_differs(kind):
    for item in made(kind)[0].items:
        true, false = words(item.true), words(item.false)
        if len(parse(item.true).objects) > 1 and kind == "swap_attribute" and item.edit != "size":
            assert Counter(true) == Counter(false)  # a texture or an article moves, which shifts the words between
        else:
            assert sum(a != b for a, b in zip(true, false, strict=True)) <= LARGEST_EDITS[kind], item


@pytest.mark.parametrize("kind", KINDS)
def test_every_edit_occurs_and_most_pictures_have_one(kind):
    found, shown = made(kind)
    assert {item.edit for item in found.items} == EDITS[kind]
    assert len({item.image for item in found.items}) > 0.8 * len(shown)
    assert len({item.id for item in found.items}) == len(found.items)
    assert all(found.image_ids[item.image].startswith(item.cluster) for item in found.items)


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_one_that_training_never_shows(kind):
    trained = {word for caption in scenes(train_images=400).split("train").captions for word in words(caption)}
    said = {word for item in made(kind)[0].items for text in (item.true, item.false) for word in words(text)}
    assert said <= trained


def test_the_text_alone_never_tells_how_many_there_are():
    """Each caption of a counted pair is true as often as it is false, in two pictures that differ in one object."""
    items = made("count")[0].items
    for one, two in zip(items[::2], items[1::2], strict=True):
        assert (one.true, one.false) == (two.false, two.true)
        assert one.cluster == two.cluster


def test_the_counterpart_of_a_picture_differs_where_the_object_was_replaced():
    (found, shown), dataset = made("count"), scenes()
    count = len(dataset.scenes("test"))
    pixels = found.images.pixels(range(2 * count), 32).astype(int)
    for row, (scene, boxes) in enumerate(zip(dataset.scenes("test"), dataset.boxes("test"), strict=True)):
        replaced = next(
            place for place, pair in enumerate(zip(scene, shown[count + row], strict=True)) if len(set(pair)) > 1
        )
        ys, xs = np.nonzero((pixels[row] != pixels[count + row]).any(axis=0))
        assert len(xs)
        middle = boxes[replaced].reshape(2, 2).mean(axis=0) * 32
        assert np.hypot(xs + 0.5 - middle[0], ys + 0.5 - middle[1]).max() < 32 / 3
        others = np.delete(boxes, replaced, axis=0) * 32
        for left, top, right, bottom in others:
            assert not ((xs > left) & (xs < right - 1) & (ys > top) & (ys < bottom - 1)).any()


def test_the_pictures_of_a_split_come_first_and_regions_follow():
    found, dataset = made("count")[0], scenes()
    own = dataset.split("test").images
    rows = [63, 2, 100, 1]
    np.testing.assert_array_equal(found.images.pixels(rows, 32)[[1, 3]], own.pixels([2, 1], 32))
    regions, whole = found.images.regions(rows), own.regions([2, 1])
    for place, row in ((1, 0), (3, 1)):
        real = regions.mask[place]
        np.testing.assert_array_equal(regions.features[place][real], whole.features[row][whole.mask[row]])
    for place, row in enumerate(rows):
        picture = np.moveaxis(np.asarray(found.images.original(row)), -1, 0)
        np.testing.assert_array_equal(picture, found.images.pixels(rows, 32)[place])
        np.testing.assert_array_equal(picture, found.images.pixels([row], 32)[0])


def test_a_picture_whose_objects_share_a_shape_has_no_swap_of_shapes():
    for item in made("swap_object")[0].items:
        shapes = [obj.shape for obj in scenes().scenes("test")[item.image]]
        assert len(set(shapes)) > 1
    lacks = set(range(60)) - {item.image for item in made("swap_object")[0].items}
    assert all(
        len({obj.shape for obj in scenes().scenes("test")[row]}) < len(scenes().scenes("test")[row]) for row in lacks
    )


def test_an_item_does_not_depend_on_how_many_pictures_there_are():
    for kind in KINDS:
        few = negatives(scenes(test_images=7), "test", kind).items
        many = [item for item in made(kind)[0].items if int(item.cluster[-5:]) < 7]
        assert [(i.id, i.true, i.false) for i in few] == [(i.id, i.true, i.false) for i in many]


def test_texts_are_those_of_every_other_machine():
    """A change here means that outcomes are of other questions: raise VERSION with it."""
    total = hashlib.sha256()
    for kind in KINDS:
        total.update("\n".join(f"{i.id} {i.image} {i.true} {i.false} {i.edit}" for i in made(kind)[0].items).encode())
    total.update(made("count")[0].images.pixels(range(60, 70), 32).tobytes())
    assert total.hexdigest() == "4f84721b75a78e59323da2a8d369b84664d7e2e22842efac67ad37e7d437a9b7"


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'swap_object'"):
        negatives(scenes(), "test", "swap_objects")
