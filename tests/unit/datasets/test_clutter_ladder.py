"""Clutter ladders: what stays from level to level, what changes, and that captions are true wherever they are said to be."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from naive_scenes import parse, true_in
from small_scenes import scenes

from harness.datasets.scenes.ladder import FIXED, OBJECTS, SHARES, SPOKEN, Ladder
from harness.datasets.scenes.rendering import CLUTTER, render
from harness.datasets.scenes.world import Draws

PICTURES = 8


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return Ladder(scenes(clutter="none"), "test", PICTURES)


def painted(ladder: Ladder, drawn, objects=None) -> np.ndarray:
    """A picture without clutter of some of its objects, in their order."""
    order = [number for number in drawn.order if objects is None or number in objects]
    return render([drawn.objects[number] for number in order], CLUTTER["none"], Draws(1), 32)


def test_each_level_adds_to_the_one_below_and_moves_nothing(ladder):
    for index in range(PICTURES):
        levels = [ladder.beside(index, count).objects for count in OBJECTS]
        assert [len(objects) for objects in levels] == list(OBJECTS)
        for fewer, more in itertools.pairwise(levels):
            assert more[: len(fewer)] == fewer


def test_no_distractor_is_of_the_kind_of_a_target(ladder):
    for index in range(PICTURES):
        drawings = [ladder.beside(index, OBJECTS[-1])]
        drawings += [ladder.against(index, level, behind) for level in range(len(SHARES)) for behind in (True, False)]
        for drawn in drawings:
            kinds = [placed.object[:2] for placed in drawn.objects]
            assert not set(kinds[:2]) & set(kinds[2:])


def test_nothing_touches_the_targets_among_more_objects(ladder):
    for index in range(PICTURES):
        most = ladder.beside(index, OBJECTS[-1])
        targets, empty = painted(ladder, most, {0, 1}), painted(ladder, most, set())
        covered = (targets != empty).any(axis=2)
        changed = (painted(ladder, most)[covered] != targets[covered]).any(axis=1)
        assert changed.mean() < 0.04  # pixels on an edge are shared with what lies beside it


def test_captions_and_galleries_are_the_same_at_every_level(ladder):
    splits = [ladder.objects(count) for count in OBJECTS]
    assert len(splits[0].captions) == PICTURES * len(SPOKEN)
    for split in splits[1:]:
        assert split.captions == splits[0].captions
        assert split.image_ids == splits[0].image_ids
        assert split.caption_ids == splits[0].caption_ids


@pytest.mark.parametrize("count", [OBJECTS[0], OBJECTS[-1]])
def test_relevance_is_the_truth_of_the_words(ladder, count):
    split = ladder.objects(count)
    shown = [tuple(placed.object for placed in ladder.beside(index, count).objects) for index in range(PICTURES)]
    naive = np.array([[true_in(parse(caption), scene) for caption in split.captions] for scene in shown])
    np.testing.assert_array_equal(split.relevance, naive)
    assert naive[split.caption_image, np.arange(len(split.captions))].all()


@pytest.mark.parametrize("level", range(len(SHARES)))
def test_the_hidden_share_of_a_target_is_what_the_level_says(ladder, level):
    """Counted in pixels of 32 px pictures, so within a few of an object's hundred."""
    shares = []
    for index in range(PICTURES):
        hidden, seen = ladder.against(index, level, behind=True), ladder.against(index, level, behind=False)
        assert hidden.objects == seen.objects
        assert len(hidden.objects) == FIXED
        for target in (0, 1):
            alone, empty = painted(ladder, seen, {target}), painted(ladder, seen, set())
            inside = (alone != empty).any(axis=2)
            changed = (painted(ladder, hidden, {target, 2 + target}) != alone).any(axis=2) & inside
            shares.append(changed.sum() / inside.sum())
    assert np.mean(shares) == pytest.approx(SHARES[level], abs=0.1)
    if not SHARES[level]:
        assert max(shares) < 0.12


def test_equal_settings_give_equal_bytes_and_others_do_not():
    def digest(**options) -> str:
        split = Ladder(scenes(**options), "test", 3).objects(6)
        found = hashlib.sha256(split.images.pixels(range(3), 32).tobytes())
        found.update(split.images.regions(range(3)).features.numpy().tobytes())
        return found.hexdigest()

    assert digest() == digest() != digest(seed=1)
    assert digest(clutter="high") != digest()


def test_a_ladder_of_fewer_pictures_begins_with_the_same_ones():
    few, many = (Ladder(scenes(), "test", count).objects(4) for count in (2, 4))
    np.testing.assert_array_equal(few.images.pixels(range(2), 32), many.images.pixels(range(2), 32))
    assert few.captions == many.captions[: len(few.captions)]


def test_captions_use_the_words_of_training():
    dataset = scenes()
    known = {word.strip(",") for caption in dataset.split("train").captions for word in caption.split()}
    known |= {word.strip(",") for caption in dataset.split("test").captions for word in caption.split()}
    assert {word for caption in Ladder(dataset, "test", 20).captions for word in caption.split()} <= known
