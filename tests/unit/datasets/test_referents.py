"""Which words speak of which object of a scene, and where that object is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from small_scenes import scenes

from harness.datasets.scenes.grammar import Form, Word
from harness.datasets.scenes.referents import Referent, referents, referents_of
from harness.datasets.scenes.rendering import CLUTTER, place, render
from harness.datasets.scenes.world import ANY, COLOURS, SHAPES, SIZES, TEXTURES, Draws, Object, sample_scene

_SILENT = {"a", "an", "and", "there", "is", "picture", "of", "scene", "with"}
_RELATING = {"to", "the", "left", "right", "of", "above", "over", "below", "under"}
_SIZE_WORDS = {"small": "small", "little": "small", "large": "large", "big": "large"}


def said(role: str, text: str, obj: Object) -> bool:
    """Whether words say what is so of an object, read without the generator's tables of synonyms."""
    if role == "place":
        words = set(text.split())
        column = 0 if "left" in words else 2 if "right" in words else 1
        row = 0 if "top" in words else 2 if "bottom" in words else 1
        return (obj.row, obj.column) == (row, column)
    wanted = {"colour": COLOURS[obj.colour], "shape": SHAPES[obj.shape], "texture": TEXTURES[obj.texture]}
    return _SIZE_WORDS[text] == SIZES[obj.size] if role == "size" else wanted[role] == text


def test_every_word_that_describes_has_its_object_and_says_what_is_so_of_it():
    dataset = scenes(max_objects=5)
    split = dataset.split("test")
    roles = set()
    for caption, owner, found in zip(split.captions, split.caption_image, referents(dataset, "test"), strict=True):
        words, scene = caption.split(), dataset.scenes("test")[owner]
        for referent in found:
            text = " ".join(words[place] for place in referent.words).rstrip(",")
            assert said(referent.role, text, scene[referent.object]), (caption, referent)
            roles.add(referent.role)
        rest = {words[place] for place in range(len(words))} - {words[p] for r in found for p in r.words}
        assert rest <= _SILENT | _RELATING, caption
    assert roles == {"colour", "shape", "size", "texture", "place"}


def test_words_joined_are_the_captions():
    dataset = scenes()
    texts = [" ".join(word.text for word in words) for words in dataset.words("test")]
    assert tuple(texts) == dataset.split("test").captions
    assert all(" " not in word.text for words in dataset.words("test") for word in words)


RED_CIRCLE, BLUE_SQUARE = Object(0, 0, 0, 0, 0), Object(1, 4, 0, 0, 4)
CIRCLE = (Word("a", 0), Word("circle", 0, "shape"))
PAIR = (*CIRCLE, Word("left", -1, "relation"), Word("of"), Word("a", 1), Word("square", 1, "shape"))


@pytest.mark.parametrize(
    ("form", "words", "scene", "expected"),
    [
        (Form((Object(0, ANY),)), CIRCLE, (BLUE_SQUARE, RED_CIRCLE), (Referent((1,), 1, "shape"),)),
        (Form((Object(0, ANY),)), CIRCLE, (RED_CIRCLE, RED_CIRCLE._replace(colour=2)), ()),
        (Form((Object(2, ANY),)), CIRCLE, (RED_CIRCLE, BLUE_SQUARE), ()),
        (  # a second circle, to the right of the square, is not meant: the relation decides
            Form((Object(0, ANY), Object(1, ANY)), "left"),
            PAIR,
            (RED_CIRCLE._replace(cell=5), BLUE_SQUARE, RED_CIRCLE),
            (Referent((1,), 2, "shape"), Referent((5,), 1, "shape")),
        ),
        (  # either circle may be meant, the square is certain
            Form((Object(0, ANY), Object(1, ANY)), "left"),
            PAIR,
            (RED_CIRCLE._replace(cell=3), BLUE_SQUARE, RED_CIRCLE),
            (Referent((5,), 1, "shape"),),
        ),
    ],
    ids=["one fits", "two fit", "none fits", "the relation decides", "one side is certain"],
)
def test_only_a_certain_object_is_named(form, words, scene, expected):
    assert referents_of(form, words, scene) == expected


def test_boxes_are_where_a_picture_changes_when_an_object_leaves_it():
    dataset = scenes(image_size=96, test_images=30)
    for index, (scene, boxes) in enumerate(zip(dataset.scenes("test"), dataset.boxes("test"), strict=True)):
        placed = place(scene, dataset.draws(2, "test", index), 96)
        full = render(placed, CLUTTER["none"], Draws(2, index), 96)
        assert boxes.shape == (len(scene), 4)
        for number, box in enumerate(boxes):
            without = render(placed[:number] + placed[number + 1 :], CLUTTER["none"], Draws(2, index), 96)
            ys, xs = np.nonzero((full != without).any(axis=2))
            drawn = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(box * 96 - drawn).max() <= 1, (index, number)  # the box ends within the outermost pixels
            middle = (box[:2] + box[2:]) / 2
            assert (middle * 3).astype(int).tolist() == [scene[number].column, scene[number].row]


def test_boxes_keep_to_the_picture():
    for size in (24, 64):
        boxes = np.concatenate(scenes(image_size=size, max_objects=6).boxes("test"))
        assert boxes.min() >= 0
        assert boxes.max() <= 1
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_scenes_of_the_world_name_each_object_once():
    """What makes every description of a generated caption certain."""
    for index in range(200):
        scene = sample_scene(Draws(5, index), 2, 9)
        assert len({obj[:2] for obj in scene}) == len(scene)
