"""The meaning of captions of scenes, read from their words and evaluated one assignment of objects at a time."""

from __future__ import annotations

import itertools
import re

from harness.datasets.scenes.grammar import Form
from harness.datasets.scenes.world import ANY, COLOURS, SHAPES, TEXTURES, Object

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
