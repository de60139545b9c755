"""Exact hard negatives: for a picture a true caption and one that differs in a single respect and is false of it.

Both captions are worded from logical forms with the same draws, so that synonyms, openings and the number of words agree;
`Truth` decides that one holds and the other does not. Swaps hold equal words in another order. The grammar has no numbers:
"count" asks whether there are two objects of a kind or one ("a red circle and a red circle", two different objects), in
pairs of pictures of which each caption is true of one, so that neither caption can be told to be false by its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.datasets.base import Images
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.grammar import LEVELS, OPPOSITES, Form, Truth, forms_of, text_of, words_of
from harness.datasets.scenes.pictures import TwoImages, in_memory
from harness.datasets.scenes.world import ANY, COLOURS, SHAPES, SIZES, TEXTURES, Draws, Object, Scene
from harness.errors import UnknownName

#: Part of the identity of what is generated here: a change of one caption or picture must change it.
VERSION = 1
_PURPOSE = 5  # see `Scenes.draws`
#: Pictures of a split that "count" uses at most, the first: their counterparts are drawn and kept in memory.
MOST_COUNTED = 500
_WORDINGS = 16  # attempts at a wording whose words are equal on both sides
_VALUES = {"colour": range(len(COLOURS)), "shape": range(len(SHAPES)), "size": range(len(SIZES))}
_VALUES |= {"texture": range(TEXTURES.index("plain") + 1, len(TEXTURES))}  # a plain one goes without saying


class Negative(NamedTuple):
    """A true and a false caption of one picture.

    Args:
        id: of this pair, distinct within its kind.
        image: row of the picture in `Negatives.images`.
        cluster: id of the split's picture that it comes from; pairs of one cluster are not independent.
        true, false: the captions, of equally many words.
        edit: what differs: colour, size, texture, shape, opposite, arguments, one or two.
    """

    id: str
    image: int
    cluster: str
    true: str
    false: str
    edit: str


@dataclass(frozen=True, eq=False)
class Negatives:
    """Hard negatives of one kind.

    Args:
        images: the pictures that items name by row; for all kinds but "count" those of the split.
        image_ids: of the pictures, distinct.
        items: at most one per picture; a picture in which no edit gives a false caption has none.
    """

    images: Images
    image_ids: tuple[str, ...]
    items: tuple[Negative, ...]


class _Edit(NamedTuple):
    name: str
    level: str
    true: Form
    false: Form


def negatives(dataset: Scenes, name: str, kind: str) -> Negatives:
    """The hard negatives of a kind for a split; equal settings give equal ones on every machine.

    Args:
        dataset: the scenes.
        name: train, val or test.
        kind: one of `KINDS`.

    Raises:
        UnknownName: no kind of that name.
    """
    if kind == "count":
        return _counts(dataset, name)
    if kind not in _EDITS:
        raise UnknownName("kind of hard negatives", kind, KINDS)
    split, items = dataset.split(name), []
    for index, scene in enumerate(dataset.scenes(name)):
        draws = dataset.draws(_PURPOSE, name, index, KINDS.index(kind))
        edits = list(_EDITS[kind](forms_of(scene, draws)))
        found = _chosen(edits, scene, draws, swap=kind.startswith("swap"))
        if found is not None:
            edit, true, false = found
            image = split.image_ids[index]
            items.append(Negative(f"{image}#{kind}", index, image, true, false, edit))
    return Negatives(split.images, split.image_ids, tuple(items))


def _chosen(edits: list[_Edit], scene: Scene, draws: Draws, swap: bool) -> tuple[str, str, str] | None:
    """Name, true and false caption of an edit that is false of the scene, drawn: first what is edited, then the level."""
    truth = Truth([scene])
    while edits:
        among = edits
        for field in ("name", "level"):
            value = draws.pick(sorted({getattr(edit, field) for edit in among}))
            among = [edit for edit in among if getattr(edit, field) == value]
        edit = draws.pick(among)
        edits.remove(edit)
        if truth.of(edit.true)[0] and not truth.of(edit.false)[0]:
            texts = _worded(edit, draws, swap)
            if texts is not None:
                return edit.name, *texts
    return None


def _worded(edit: _Edit, draws: Draws, swap: bool) -> tuple[str, str] | None:
    """Both captions by the same draws, of equally many words, and for swaps of equal words; None where there are none."""
    for _ in range(_WORDINGS if swap else 1):
        key = draws.below(2**31)
        true, false = (text_of(words_of(form, Draws(key))) for form in (edit.true, edit.false))
        bags = [sorted(text.replace(",", "").split()) for text in (true, false)]
        if len(bags[0]) == len(bags[1]) and (not swap or bags[0] == bags[1]):
            return true, false
    return None


def _swaps(fields: dict[str, tuple[str, ...]]) -> Callable[[Sequence[Form]], Iterator[_Edit]]:
    """Edits in which two objects exchange what is said of them in one field, at the levels given for it."""

    def edits(forms: Sequence[Form]) -> Iterator[_Edit]:
        for level, form in zip(LEVELS, forms, strict=True):
            for field in (field for field, levels in fields.items() if level in levels):
                for second, b in enumerate(form.objects):
                    for first, a in enumerate(form.objects[:second]):
                        if getattr(a, field) != getattr(b, field):
                            objects = list(form.objects)
                            objects[first] = a._replace(**{field: getattr(b, field)})
                            objects[second] = b._replace(**{field: getattr(a, field)})
                            yield _Edit(field, level, form, form._replace(objects=tuple(objects)))

    return edits


def _replacements(*fields: str) -> Callable[[Sequence[Form]], Iterator[_Edit]]:
    """Edits in which one thing that is said of one object is replaced by another of its table, at all levels."""

    def edits(forms: Sequence[Form]) -> Iterator[_Edit]:
        for level, form in zip(LEVELS, forms, strict=True):
            for place, obj in enumerate(form.objects):
                for field in fields:
                    said = getattr(obj, field)
                    for value in () if said == ANY else _VALUES[field]:
                        if value != said:
                            objects = list(form.objects)
                            objects[place] = obj._replace(**{field: value})
                            yield _Edit(field, level, form, form._replace(objects=tuple(objects)))

    return edits


def _relations(forms: Sequence[Form]) -> Iterator[_Edit]:
    """The opposite relation, or the arguments exchanged.

    Training describes the first argument fully and the second by colour and shape; exchanged, that would show in the text
    alone. So both are described by colour and shape where they are exchanged.
    """
    form = forms[LEVELS.index("relation")]
    yield _Edit("opposite", "relation", form, form._replace(relation=OPPOSITES[form.relation]))
    first, second = (Object(obj.shape, obj.colour) for obj in form.objects)
    yield _Edit("arguments", "relation", Form((first, second), form.relation), Form((second, first), form.relation))


_EDITS: dict[str, Callable[[Sequence[Form]], Iterator[_Edit]]] = {
    "swap_attribute": _swaps({"colour": ("pair", "relation", "scene"), "size": ("scene",), "texture": ("scene",)}),
    # In "a red circle and a blue square" exchanged shapes claim what exchanged colours do; with more said they do not.
    "swap_object": _swaps({"shape": ("relation", "scene")}),
    "replace_attribute": _replacements("colour", "size", "texture"),
    "replace_object": _replacements("shape"),
    "relation": _relations,
}
KINDS = (*_EDITS, "count")


def _counts(dataset: Scenes, name: str) -> Negatives:
    """For each picture another in which a second object of one kind takes the place of one of another kind.

    Of the two captions, "a red circle and a blue square" is true of the first picture alone, and "a red circle and a red
    circle" of the second alone.
    """
    split, scenes = dataset.split(name), dataset.scenes(name)[:MOST_COUNTED]
    pictures, items = [], []
    for index, scene in enumerate(scenes):
        draws = dataset.draws(_PURPOSE, name, index, KINDS.index("count"))
        pair = forms_of(scene, draws)[LEVELS.index("pair")]
        one, other = pair.objects
        placed = [
            where._replace(object=where.object._replace(shape=one.shape, colour=one.colour))
            if where.object[:2] == other[:2]
            else where
            for where in dataset.placed(name, index, scene)
        ]
        pictures.append(dataset.picture(name, index, placed))
        key, image = draws.below(2**31), split.image_ids[index]
        once, twice = (text_of(words_of(form, Draws(key))) for form in (pair, Form((one, one))))
        items.append(Negative(f"{image}#count-one", index, image, once, twice, "one"))
        items.append(Negative(f"{image}#count-two", len(split.image_ids) + index, image, twice, once, "two"))
    ids = (*split.image_ids, *(f"{split.image_ids[index]}-two" for index in range(len(scenes))))
    return Negatives(TwoImages(split.images, in_memory(pictures)), ids, tuple(items))
