"""Captions of scenes: logical forms, their wording, and their exact truth in every scene.

A caption is a form first and a text after: "a red circle to the left of a blue square" says that two different objects
exist, that one is a red circle and the other a blue square, and that the first stands in a column further left.
Five levels of granularity, from coarse to fine: a coarse caption is true of many scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.datasets.scenes.world import ANY, COLOURS, SHAPES, SIZES, TEXTURES, Draws, Object, Scene

LEVELS = ("object", "attributes", "pair", "relation", "scene")
RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
OPPOSITES = {"left": "right", "right": "left", "above": "below", "below": "above"}
#: Words of each cell, row by row.
PLACES = (
    ("in the top left corner", "at the top left"),
    ("at the top", "in the top middle"),
    ("in the top right corner", "at the top right"),
    ("on the left", "at the left"),
    ("in the centre", "in the middle"),
    ("on the right", "at the right"),
    ("in the bottom left corner", "at the bottom left"),
    ("at the bottom", "in the bottom middle"),
    ("in the bottom right corner", "at the bottom right"),
)
#: Words of each size of `SIZES`, in its order.
SIZE_WORDS = (("small", "little"), ("large", "big"))
#: What a caption may begin with.
OPENINGS = ("", "", "there is ", "a picture of ", "a scene with ")
_ABSENT = -2  #: fills the object slots that a scene does not use; matches no description


class Form(NamedTuple):
    """What a caption claims: objects that exist, all different, and how the first relates to the second ("" = not said).

    Forms of three objects and more give each its cell, which makes them different objects by itself.
    """

    objects: tuple[Object, ...]
    relation: str = ""


def forms_of(scene: Scene, draws: Draws) -> tuple[Form, ...]:
    """One true form of each level, in the order of `LEVELS`; the first two objects are drawn at random."""
    order = draws.order(len(scene))
    first, second = scene[order[0]], scene[order[1]]
    subject, other = Object(first.shape, first.colour), Object(second.shape, second.colour)
    described = _say(first)._replace(cell=ANY)
    holding = [name for name in RELATIONS if holds(name, first, second)]
    return (
        Form((subject,)),
        Form((described,)),
        Form((subject, other)),
        Form((described, other), holding[draws.below(len(holding))]),
        Form(tuple(_say(scene[index]) for index in order)),
    )


class Word(NamedTuple):
    """One word of a caption, a comma included that follows it; words are what blanks separate.

    Args:
        text: as written.
        object: which object of the form it speaks of; -1 for none: openings, "and", relations.
        role: what it says: shape, colour, size, texture, place or relation; empty for articles, openings and "and".
    """

    text: str
    object: int = -1
    role: str = ""


def words_of(form: Form, draws: Draws) -> tuple[Word, ...]:
    """An English phrase for a form, word by word; synonyms and openings are drawn.

    Long forms, which give places, open plainly. Forms of one structure (which attributes are said of how many objects)
    take equally many draws, and equal draws choose the synonyms of the same place in their tables.
    """
    phrases = [_noun_phrase(index, obj, draws) for index, obj in enumerate(form.objects)]
    opening = _plain(draws.pick(OPENINGS)) if form.objects[0].cell == ANY else []
    if form.relation:
        relation = [Word(text, role="relation") for text in draws.pick(RELATIONS[form.relation]).split()]
        return (*opening, *phrases[0], *relation, *phrases[1])
    *listed, last = phrases
    for phrase in listed[:-1]:
        phrase[-1] = phrase[-1]._replace(text=f"{phrase[-1].text},")
    return (*opening, *(word for phrase in listed for word in phrase), *_plain("and" if listed else ""), *last)


def wording(form: Form, draws: Draws) -> str:
    """An English phrase for a form, as one text; see `words_of`."""
    return text_of(words_of(form, draws))


def text_of(words: Sequence[Word]) -> str:
    """A caption from its words.

    >>> text_of((Word("a"), Word("red", 0, "colour"), Word("circle", 0, "shape")))
    'a red circle'
    """
    return " ".join(word.text for word in words)


def holds(relation: str, first: Object, second: Object) -> bool:
    """Whether the relation holds between two objects, by columns and rows of the grid."""
    return {
        "left": first.column < second.column,
        "right": first.column > second.column,
        "above": first.row < second.row,
        "below": first.row > second.row,
    }[relation]


class Truth:
    """Evaluates forms against many scenes at once.

    Args:
        scenes: I scenes.
    """

    def __init__(self, scenes: Sequence[Scene]):
        slots = max(len(scene) for scene in scenes)
        self._table = np.full((len(scenes), slots, len(Object._fields)), _ABSENT, dtype=np.int8)  # (I, O, attributes)
        for row, scene in enumerate(scenes):
            self._table[row, : len(scene)] = scene
        grid_row, column = np.divmod(self._table[..., Object._fields.index("cell")], 3)
        before = {"left": column, "above": grid_row}
        after = {"right": column, "below": grid_row}
        # (I, O, O): does object o stand so to object p. Absent objects match no description, so theirs are harmless.
        self._relations = {name: at[:, :, None] < at[:, None, :] for name, at in before.items()}
        self._relations |= {name: at[:, :, None] > at[:, None, :] for name, at in after.items()}
        self._relations[""] = np.broadcast_to(~np.eye(slots, dtype=bool), (len(scenes), slots, slots))
        self._matches: dict[Object, np.ndarray] = {}

    def of(self, form: Form) -> np.ndarray:
        """(I,) bool: in which scenes the form is true."""
        if len(form.objects) == 2:
            first, second = (self._match(obj) for obj in form.objects)
            return (first[:, :, None] & second[:, None, :] & self._relations[form.relation]).any(axis=(1, 2))
        assert len(form.objects) == 1 or len({obj.cell for obj in form.objects} - {ANY}) == len(form.objects)
        return np.logical_and.reduce([self._match(obj).any(axis=1) for obj in form.objects])

    def _match(self, description: Object) -> np.ndarray:
        """(I, O) bool: which objects fit a description. Descriptions recur, so the answer is kept."""
        if description not in self._matches:
            wanted = np.array(description, dtype=np.int8)
            self._matches[description] = ((self._table == wanted) | (wanted == ANY)).all(axis=2) & (
                self._table[..., 0] != _ABSENT
            )
        return self._matches[description]


def _say(obj: Object) -> Object:
    """The full description of an object. A plain texture goes without saying, as in natural captions."""
    return obj._replace(texture=ANY) if TEXTURES[obj.texture] == "plain" else obj


def _noun_phrase(index: int, obj: Object, draws: Draws) -> list[Word]:
    words = [Word(COLOURS[obj.colour], index, "colour"), Word(SHAPES[obj.shape], index, "shape")]
    if obj.texture != ANY:
        words.insert(0, Word(TEXTURES[obj.texture], index, "texture"))
    if obj.size != ANY:
        words.insert(0, Word(draws.pick(SIZE_WORDS[obj.size]), index, "size"))
    article = "an" if words[0].text[0] in "aeiou" else "a"
    place = draws.pick(PLACES[obj.cell]).split() if obj.cell != ANY else []
    return [Word(article, index), *words, *(Word(text, index, "place") for text in place)]


def _plain(text: str) -> list[Word]:
    return [Word(word) for word in text.split()]


assert len(SIZE_WORDS) == len(SIZES)
