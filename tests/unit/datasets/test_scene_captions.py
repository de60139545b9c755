"""Captions of scenes: what they say is what their forms mean, relevance is exact, and edits change one thing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from naive_scenes import parse, stands, true_in
from small_scenes import forms_of_test, scenes

from harness.datasets.scenes.grammar import LEVELS, RELATIONS, Form, Truth
from harness.datasets.scenes.world import ANY, CELLS, Draws, Object, edit_scene, sample_scene


def test_words_of_every_caption_say_its_form():
    dataset = scenes()
    for caption, form in zip(dataset.split("test").captions, forms_of_test(dataset), strict=True):
        assert parse(caption) == form, caption


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
