"""Clutter ladders: what stays from level to level, what changes, and that captions are true wherever they are said to be."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from naive_scenes import parse, true_in
from small_scenes import scenes

from harness.datasets.scenes.ladder import FIXED, OBJECTS, SHARES, SPOKEN, Ladder
from harness.datasets.scenes.rendering import CLUTTER, paints, render
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


def samples(placed, size: int = 32) -> set[tuple[int, int]]:
    """Places (row, column) on the grid of 4 x 4 samples per pixel that an object paints, asked one by one of all."""
    places = [(row, column) for row in range(4 * size) for column in range(4 * size)]
    ys, xs = ((np.array(side) + 0.5) / 4 for side in zip(*places, strict=True))
    return {place for place, inside in zip(places, paints(placed, xs, ys), strict=True) if inside}


@pytest.mark.parametrize("level", range(len(SHARES)))
def test_each_target_shares_at_least_the_stated_part_of_its_samples_with_its_own_distractor_alone(ladder, level):
    for index in range(3):
        objects = ladder.against(index, level, behind=True).objects
        inside = [samples(placed) for placed in objects]
        for target in (0, 1):
            toucher = 2 + target
            share = len(inside[target] & inside[toucher]) / len(inside[target])
            assert SHARES[level] <= share < SHARES[level] + 0.1  # a row of samples more, at this size
            others = set().union(*(inside[number] for number in range(FIXED) if number not in (target, toucher)))
            assert not (inside[target] | inside[toucher]) & others
            assert len(inside[toucher] - inside[target]) >= 0.4 * len(inside[toucher])


def test_pixels_that_a_target_fills_are_the_same_at_every_level_where_nothing_lies_before_it():
    ladder = Ladder(scenes(clutter="high"), "test", 3)
    several = [ladder.objects(count) for count in OBJECTS], [ladder.overlapping(level, False) for level in range(4)]
    for splits in several:
        pictures = [split.images.pixels(range(3), 32) for split in splits]
        for index in range(3):
            for target in ladder.beside(index, 2).objects:
                inside = np.zeros((128, 128), dtype=bool)
                inside[tuple(zip(*samples(target), strict=True))] = True
                filled = inside.reshape(32, 4, 32, 4).all(axis=(1, 3))
                assert filled.any()
                for picture in pictures[1:]:
                    np.testing.assert_array_equal(picture[index][:, filled], pictures[0][index][:, filled])


def test_bytes_are_those_of_every_other_machine():
    """A change here means that outcomes are of other questions: raise VERSION with it."""
    ladder, total = Ladder(scenes(clutter="high"), "test", 3), hashlib.sha256()
    for split in (ladder.objects(OBJECTS[-1]), ladder.overlapping(2, behind=False), ladder.overlapping(3, behind=True)):
        regions = split.images.regions(range(3))
        assert split.relevance is not None
        for array in (
            split.images.pixels(range(3), 32),
            regions.features.numpy(),
            regions.mask.numpy(),
            split.relevance,
        ):
            total.update(array.tobytes())
        total.update("\n".join((*split.captions, *split.caption_ids)).encode())
    assert total.hexdigest() == "8873f354d7eb9043dc5d85276c98dccc9f27e8a3e05273c138b1d355e8f3796d"
