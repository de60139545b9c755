"""Which probes of composition there are: those of a suite's folder, and those of generated scenes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.composition.catalogue import SUITES
from harness.composition.contamination import TrainingPictures, training_pictures
from harness.composition.examples import Kind, Shown, Suite
from harness.composition.files import suite_root
from harness.composition.pictures import Pictures, Place, place_of
from harness.composition.probes import CompositionProbe, Questions, Shared, nothing_known
from harness.datasets.base import Dataset
from harness.datasets.table.parquet import Cell
from harness.description.pictures import Picture
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

#: A kind is asked where at least this share of its examples can be; of fewer, a number would not be the suite's.
LEAST_SHARE = 0.5
#: Kinds share their pictures where these are named so many times more often than there are different ones.
_SHARED = 1.25


def suite_probes(name: str, folder: Path, dataset: Dataset | None = None) -> list[CompositionProbe]:
    """The probes of a suite, one per kind.

    A picture that is missing or cannot be decoded takes its examples with it; the kind is then marked partial. A kind of
    which less than half of the examples are left is not asked, and a line says so.

    Args:
        name: of the suite, see `harness.composition.catalogue.SUITES`.
        folder: its files and pictures; pictures lie in it or in any folder up to three levels below.
        dataset: of the runs, whose training pictures the suite's are compared with; None = they are not.

    Raises:
        UnknownName: no suite of that name.
        InvalidDataset: the folder does not hold the suite or too few of its pictures, or a file does not fit.
    """
    suite, root = SUITES.get(name), suite_root(folder)
    if not suite.recognise(root):
        raise InvalidDataset(_unrecognised(name, suite, root))
    kinds = suite.load(root)
    if not kinds:
        raise InvalidDataset(f"{root} holds no examples of {name}; expected {suite.files}")
    place = place_of(root, _shown(kinds), name)
    asked = [_asked(name, kind, place) for kind in kinds]
    left = [(kind, rows) for kind, rows in zip(kinds, asked, strict=True) if rows is not None]
    if not left:
        raise InvalidDataset(_too_few(name, suite, place))
    training = training_pictures(dataset, place) if dataset is not None else None
    images = _images(place, [kind for kind, _ in left], [rows for _, rows in left])
    return [
        CompositionProbe(_questions(name, kind, rows, place, held, of), _compared(training, place, of))
        for (kind, rows), (held, of) in zip(left, images, strict=True)
    ]


def _unrecognised(name: str, suite: Suite, root: Path) -> str:
    others = [other for other in SUITES if other != name and SUITES.get(other).recognise(root)]
    hint = f"; it holds {' and '.join(others)}: --suite {others[0]}={root}" if others else ""
    return f"{root} holds no files of {name}; expected {suite.files}{hint}"


def _too_few(name: str, suite: Suite, place: Place) -> str:
    missing = [one for one, fact in zip(place.shown, place.facts, strict=True) if fact.missing]
    bad = [fact.problem for fact in place.facts if fact.problem and not fact.missing]
    first = f"the first missing one is {missing[0].file}" if missing else bad[0]
    return (
        f"{name}: {len(missing):,} of {counted(len(place.shown), 'picture')} are missing below {place.root} and {len(bad):,} "
        f"cannot be read, so less than half of the examples of every kind are left; {first}; put {suite.pictures} there"
    )


def _shown(kinds: Sequence[Kind]) -> list[Shown]:
    return list(dict.fromkeys(one for kind in kinds for example in kind.examples for one in example.pictures))


def _asked(name: str, kind: Kind, place: Place) -> np.ndarray | None:
    """Examples of a kind whose pictures are there; None where they are too few."""
    row = {one: number for number, one in enumerate(place.shown)}
    good = [not fact.problem for fact in place.facts]
    rows = np.array(
        [n for n, example in enumerate(kind.examples) if all(good[row[one]] for one in example.pictures)],
        dtype=np.int64,
    )
    if len(rows) >= LEAST_SHARE * len(kind.examples) and len(rows):
        return rows
    logger.warning(
        "%s-%s is not asked: the pictures of %s of %s are there and can be read, less than half",
        name, kind.name, f"{len(rows):,}", counted(len(kind.examples), "example"),
    )  # fmt: skip
    return None


def _images(
    place: Place, kinds: Sequence[Kind], asked: Sequence[np.ndarray]
) -> list[tuple[Pictures, dict[Shown, int]]]:
    """The pictures that each kind shows, and their rows: of all kinds together where they show the same ones, else its own.

    Models encode pictures that are one object once.
    """
    row = {one: number for number, one in enumerate(place.shown)}
    own = [
        list(dict.fromkeys(one for n in rows for one in kind.examples[n].pictures))
        for kind, rows in zip(kinds, asked, strict=True)
    ]
    every = list(dict.fromkeys(one for some in own for one in some))
    alike = len({isinstance(one.file, Cell) for one in every}) == 1
    if alike and sum(map(len, own)) > _SHARED * len(every):
        together = place.images(row[one] for one in every), {one: number for number, one in enumerate(every)}
        return [together] * len(kinds)
    return [(place.images(row[one] for one in some), {one: number for number, one in enumerate(some)}) for some in own]


def _questions(
    name: str, kind: Kind, rows: np.ndarray, place: Place, images: Pictures, row: dict[Shown, int]
) -> Questions:
    facts = dict(zip(place.shown, place.facts, strict=True))
    keys = [""] * len(images)
    for one, number in row.items():
        keys[number] = f"{facts[one].sha256} {one.box}" if one.box is not None else facts[one].sha256
    examples = [kind.examples[n] for n in rows]
    counts, partial = _missing(kind, len(rows), facts)
    return Questions(
        suite=name,
        kind=kind.name,
        form=kind.form,
        ids=tuple(example.id for example in examples),
        clusters=tuple(
            _cluster(example.id, example.pictures, facts[example.pictures[0]].sha256) for example in examples
        ),
        images=images,
        keys=keys,
        pictures=np.array([[row[one] for one in example.pictures] for example in examples]),
        captions=tuple(example.captions for example in examples),
        counts={**kind.counts, **counts},
        partial=partial,
        remarks=kind.remarks,
    )


def _cluster(example: str, pictures: Sequence[Shown], sha256: str) -> str:
    """The picture of an example: its file, or the content of a cell; the example itself where it has two pictures."""
    if len(pictures) > 1:
        return example
    file = pictures[0].file
    return sha256[:16] if isinstance(file, Cell) else file


def _missing(kind: Kind, left: int, facts: dict[Shown, Picture]) -> tuple[dict[str, int], str]:
    """Counts and the sentence about pictures that are not there; none where all are."""
    shown = _shown([kind])
    missing = sum(facts[one].missing for one in shown)
    bad = [facts[one].problem for one in shown if facts[one].problem and not facts[one].missing]
    if not missing and not bad:
        return {}, ""
    parts = [f"{missing:,} of {counted(len(shown), 'picture')} missing"] if missing else []
    parts += [f"{len(bad):,} of {counted(len(shown), 'picture')} not readable (first: {bad[0]})"] if bad else []
    out = len(kind.examples) - left
    counts = {"missing_pictures": missing, "unreadable_pictures": len(bad), "left_out": out}
    return counts, f"{', '.join(parts)}: {out:,} of {counted(len(kind.examples), 'example')} left out"


def _compared(training: TrainingPictures | None, place: Place, row: dict[Shown, int]) -> Shared:
    """What the pictures of a kind, by their rows in its images, share with the training pictures."""
    if training is None:
        return nothing_known
    at = {one: number for number, one in enumerate(place.shown)}
    of = np.array([at[one] for one in sorted(row, key=row.__getitem__)])
    return lambda model, rows: training.of(model, of[rows])
