"""Captions of scenes: what they say is what their forms mean, relevance is exact, and edits change one thing."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from small_scenes import forms_of_test, scenes

from harness.datasets.scenes.grammar import LEVELS, RELATIONS, Form, Truth
from harness.datasets.scenes.world import ANY, CELLS, COLOURS, SHAPES, TEXTURES, Draws, Object, edit_scene, sample_scene

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
