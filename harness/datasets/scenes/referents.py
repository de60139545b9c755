"""Which words of a caption speak of which object of its picture: the truth that alignments are compared with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.grammar import Form, Word, holds
from harness.datasets.scenes.world import ANY, Object, Scene

Role = Literal["colour", "shape", "size", "texture", "place"]


class Referent(NamedTuple):
    """Words that say one thing of one object.

    Args:
        words: their places in `caption.split()`; several for a place ("in the top left corner").
        object: the index of the object in its scene, and of its row in `Scenes.boxes`.
        role: what they say of it.
    """

    words: tuple[int, ...]
    object: int
    role: Role


def referents(dataset: Scenes, name: str) -> list[tuple[Referent, ...]]:
    """What the words of each caption of a split speak of, in the order of the captions and of their words.

    A description that fits several objects, as the caption is true of the picture, has no referent; on the splits of
    `Scenes` none does, because no two objects of a scene agree in colour and shape. Articles, openings and "and" name
    nothing, and a relation names two objects, so these words have none either.

    Args:
        dataset: the scenes.
        name: train, val or test.

    Returns:
        One tuple per caption. `Scenes.boxes(name)[split.caption_image[t]][referent.object]` is where the object of a
        referent of caption t is drawn.
    """
    scenes, forms, words = dataset.scenes(name), dataset.forms(name), dataset.words(name)
    per_image = len(forms) // len(scenes)
    return [
        referents_of(form, text, scenes[caption // per_image])
        for caption, (form, text) in enumerate(zip(forms, words, strict=True))
    ]


def referents_of(form: Form, words: Sequence[Word], scene: Scene) -> tuple[Referent, ...]:
    """What the words of one caption speak of in one scene.

    Args:
        form: of the caption.
        words: of the caption.
        scene: the objects; a form that is false of them has no referents.

    >>> form = Form((Object(0, 0),))
    >>> words = (Word("a", 0), Word("red", 0, "colour"), Word("circle", 0, "shape"))
    >>> scene = (Object(1, 4, 0, 0, 2), Object(0, 0, 1, 0, 5))
    >>> [(referent.words, referent.object, referent.role) for referent in referents_of(form, words, scene)]
    [((1,), 1, 'colour'), ((2,), 1, 'shape')]
    >>> referents_of(form, words, scene + (Object(0, 0, 0, 0, 8),))
    ()
    """
    meant = _meant(form, scene)
    found = []
    for (described, role), group in itertools.groupby(
        enumerate(words), key=lambda item: (item[1].object, item[1].role)
    ):
        if described >= 0 and role and len(meant[described]) == 1:
            (index,) = meant[described]
            found.append(Referent(tuple(place for place, _ in group), index, role))
    return tuple(found)


def _meant(form: Form, scene: Scene) -> list[set[int]]:
    """The objects of a scene that each description may mean in some way of reading the form as true."""
    fitting = [[index for index, obj in enumerate(scene) if _fits(obj, description)] for description in form.objects]
    readings = [
        reading
        for reading in itertools.product(*fitting)
        if len(set(reading)) == len(reading)
        and (not form.relation or holds(form.relation, scene[reading[0]], scene[reading[1]]))
    ]
    return [{reading[place] for reading in readings} for place in range(len(form.objects))]


def _fits(obj: Object, description: Object) -> bool:
    return all(said in (ANY, value) for said, value in zip(description, obj, strict=True))
