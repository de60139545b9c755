"""The common form of all suites: examples of one or two pictures and two or more captions, and which of them are true.

Shape letters: N examples, P pictures and C captions per example.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.datasets.table.parquet import Cell
from harness.errors import InvalidDataset, counted

#: Examples of a kind at most: the largest that are published have 28,748 (ARO) and 25,010 (COCO order).
MOST_EXAMPLES = 200_000


@dataclass(frozen=True)
class Form:
    """What every example of a kind consists of, and by which measures it is right.

    Args:
        true: (P, C), whether a caption is true of a picture.
        text: name of the measure "every true caption of each picture scores higher than every false one"; "" = none.
        image: of "every true picture of each caption scores higher than every false one".
        group: of both together.
    """

    true: tuple[tuple[bool, ...], ...]
    text: str = ""
    image: str = ""
    group: str = ""

    @property
    def measures(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(name for name in (self.text, self.image, self.group) if name)


#: One picture with a true and a false caption.
PAIR = Form(((True, False),), text="correct")
#: One picture with a true caption and four false ones.
ONE_OF_FIVE = Form(((True, False, False, False, False),), text="correct")
#: One picture with a true caption and two false ones.
ONE_OF_THREE = Form(((True, False, False),), text="correct")
#: One picture with two true captions and a false one.
TWO_TRUE = Form(((True, True, False),), text="image_to_text")
#: Two pictures with two captions, each true of one of them.
CROSSED = Form(((True, False), (False, True)), text="text", image="image", group="group")


def judged(scores: np.ndarray, form: Form) -> dict[str, np.ndarray]:
    """Which examples are right, by measure. True must score strictly higher than false: a tie is wrong.

    >>> found = judged(np.array([[[0.9, 0.1], [0.2, 0.3]], [[0.5, 0.5], [0.1, 0.6]]]), CROSSED)
    >>> {name: right.tolist() for name, right in found.items()}
    {'text': [True, False], 'image': [True, True], 'group': [True, False]}

    Args:
        scores: (N, P, C), finite.
        form: of the examples.

    Returns:
        (N,) bool by the names of the form.
    """
    text, image = _beaten(scores, form, axis=2), _beaten(scores, form, axis=1)
    found = {form.text: text, form.image: image, form.group: text & image}
    return {name: found[name] for name in form.measures}


def _beaten(scores: np.ndarray, form: Form, axis: int) -> np.ndarray:
    """(N,) whether along an axis the lowest true score exceeds the highest false one, wherever both exist."""
    true = np.asarray(form.true)[None]
    lowest = np.where(true, scores, np.inf).min(axis=axis)
    highest = np.where(true, -np.inf, scores).max(axis=axis)
    return np.asarray((lowest > highest).all(axis=1))


def chance(form: Form) -> dict[str, float]:
    """How often scores that know nothing are right, by measure: over all orders of an example's scores.

    >>> {name: round(value, 3) for name, value in chance(CROSSED).items()}
    {'text': 0.25, 'image': 0.25, 'group': 0.167}
    >>> chance(PAIR), chance(ONE_OF_FIVE)
    ({'correct': 0.5}, {'correct': 0.2})
    """
    shape = np.asarray(form.true).shape
    orders = np.array(list(itertools.permutations(range(shape[0] * shape[1]))), dtype=float)
    return {name: float(right.mean()) for name, right in judged(orders.reshape(-1, *shape), form).items()}


@dataclass(frozen=True)
class Shown:
    """A picture, or a part of one.

    Args:
        file: its name as the suite has it, or the cell of a table that holds its bytes.
        box: left, top, right and bottom of the part, in pixels; None = all of it.
    """

    file: str | Cell
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Example:
    """One example.

    Args:
        id: distinct in its kind.
        pictures: P of them.
        captions: C of them, their white space normalised.
    """

    id: str
    pictures: tuple[Shown, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """The examples of one kind of a suite.

    Args:
        name: of the kind, as part of a file's name.
        form: of its examples.
        examples: at least one.
        counts: what was left out, by what it is called in counts.
        remarks: what a reader must know.
    """

    name: str
    form: Form
    examples: tuple[Example, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """A public set of examples, read from its files as they are.

    Args:
        description: in one line.
        files: that it is told by, below the suite's folder.
        pictures: the folders of pictures that it needs.
        recognise: the files that are there; empty where a folder does not hold the suite. Never fails.
        load: the kinds whose files are there.
    """

    description: str
    files: str
    pictures: str
    recognise: Callable[[Path], Collection[object]]
    load: Callable[[Path], list[Kind]]


def kind_of(
    name: str,
    form: Form,
    found: Sequence[Example],
    where: str,
    counts: Mapping[str, int] | None = None,
    remarks: Sequence[str] = (),
) -> Kind:
    """A kind from examples as their file has them: white space is normalised on both sides alike, and examples whose true
    and false caption are the same text are left out, because no scorer can tell them apart.

    Args:
        name, form: of the kind.
        found: examples with their captions as the file has them.
        where: the file, for messages.
        counts, remarks: what the loader has to say.

    Raises:
        InvalidDataset: no example, too many, an id twice, or a caption without words.
    """
    if len(found) > MOST_EXAMPLES:
        raise InvalidDataset(f"{where} holds {len(found):,} examples, expected at most {MOST_EXAMPLES:,}")
    tidy = [_tidied(example, where) for example in found]
    known: set[str] = set()
    for example in tidy:
        if example.id in known:
            raise InvalidDataset(f"{where}: example '{example.id:.40}' stands there twice")
        known.add(example.id)
    kept = tuple(example for example in tidy if not _same_text(example, form))
    if not kept:
        raise InvalidDataset(
            f"{where} holds no example" + (f" of {len(tidy):,} with different captions" if tidy else "")
        )
    said = [*remarks, *_white_space(found, tidy, form)]
    same = len(tidy) - len(kept)
    if same:
        said.append(f"{counted(same, 'example')} left out: the true and a false caption are the same text")
    return Kind(name, form, kept, {**(counts or {}), **({"same_text": same} if same else {})}, tuple(said))


def _tidied(example: Example, where: str) -> Example:
    captions = tuple(" ".join(caption.split()) for caption in example.captions)
    if not all(captions):
        raise InvalidDataset(
            f"{where}: example '{example.id:.40}' has a caption without words; each needs at least one"
        )
    return Example(example.id, example.pictures, captions)


def _same_text(example: Example, form: Form) -> bool:
    """Whether a caption is both true and false of one picture."""
    return any(
        example.captions[a] == example.captions[b]
        for row in form.true
        for a, b in itertools.combinations(range(len(row)), 2)
        if row[a] != row[b]
    )


def _white_space(found: Sequence[Example], tidy: Sequence[Example], form: Form) -> list[str]:
    """A remark where white space at the ends of captions tells the true from the false."""
    true = [
        any(row[column] for row in form.true) and all(row[column] for row in form.true) for column in _columns(form)
    ]
    if not any(true):  # every caption is true of one picture: white space tells nothing
        return []
    odd = {True: 0, False: 0}
    for before, after in zip(found, tidy, strict=True):
        for column, is_true in enumerate(true):
            odd[is_true] += before.captions[column] != after.captions[column]
    if not odd[True] and not odd[False]:
        return []
    return [
        f"white space normalised in {odd[True]:,} true and {odd[False]:,} false captions"
        + (", which it would have told apart" if odd[True] != odd[False] else "")
    ]


def _columns(form: Form) -> range:
    return range(len(form.true[0]))
