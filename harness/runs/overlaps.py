"""Which images of an evaluated split were trained on: recorded with every run, so that tables can say it.

An own run knows its training images: those of its dataset's train split. Names, numbers and content are compared when it
is made, which costs nothing; perceptual hashes, which find other copies of a picture, when `itm contamination` asks. What
somebody else trained on is what he names.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from harness.datasets.base import Dataset
from harness.datasets.photographs.dataset import PhotographDataset
from harness.datasets.scenes.dataset import Scenes
from harness.description.contamination import Other, contamination, read_other
from harness.description.hashes import NEAR_BITS
from harness.description.views import view_of
from harness.errors import InvalidRecord, ItmError
from harness.records.description import Contamination
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.reopening import RunDatasets
from harness.spec import RunSpec

TRAIN = "train"
logger = logging.getLogger(__name__)


def of_own_training(dataset: Dataset, split: str, *, quick: bool = True) -> tuple[Contamination, ...] | None:
    """The images of a split that are also in the train split of its own dataset.

    Args:
        dataset: opened.
        split: that is evaluated.
        quick: no picture is decoded: names, numbers and the content of files or features only.

    Returns:
        One comparison; none of generated data, which share nothing; None where it could not be told.
    """
    if isinstance(dataset, Scenes):
        return ()
    if TRAIN not in dataset.splits or split == TRAIN:
        return None
    try:
        view, train = view_of(dataset, split, quick), view_of(dataset, TRAIN, quick)
        found = contamination(view, Other(dataset.title, TRAIN, train.names, train), NEAR_BITS)
        return (_with_content(dataset, split, found) if quick else found,)
    except ItmError:  # a missing picture, say: the run itself says so
        return None


def of_named_training(
    dataset: Dataset, split: str, paths: Sequence[Path], *, quick: bool = False
) -> tuple[Contamination, ...]:
    """The images of a split that are also in training data which somebody names.

    Args:
        dataset: opened.
        split: that is evaluated.
        paths: folders of datasets (of which the train split counts, or all there is), or files of ids.
        quick: no picture is decoded.

    Raises:
        InvalidDataset: one of them holds no images that are known.
    """
    view = view_of(dataset, split, quick)
    found = []
    for path in paths:
        others = read_other(path, quick=quick)
        trained = [other for other in others if other.split == TRAIN] or others
        found += [contamination(view, other, NEAR_BITS) for other in trained]
    return tuple(found)


def of_run(spec: RunSpec, dataset: Dataset, split: str) -> tuple[Contamination, ...] | None:
    """As `of_own_training`, of a run that was trained there; None of one that was not."""
    return _once(dataset, split) if spec.training.epochs else None


@functools.lru_cache(maxsize=8)  # for all cells of a worker
def _once(dataset: Dataset, split: str) -> tuple[Contamination, ...] | None:
    return of_own_training(dataset, split)


def _with_content(dataset: Dataset, split: str, found: Contamination) -> Contamination:
    """With the images of equal content, whose digests the dataset has in any case."""
    here, there = dataset.image_digests(split), dataset.image_digests(TRAIN)
    if here is None or there is None or found.equal is not None:
        return found
    known = set(there)
    rows = [row for row, digest in enumerate(here) if digest in known]
    if not isinstance(dataset, PhotographDataset):
        return found.model_copy(update={"equal": len(rows), "any": max(found.any, len(rows))})
    ids = [entry.image_id for entry in dataset.entries(split)]
    examples = list(dict.fromkeys([*found.examples, *(ids[row] for row in rows)]))[:5]
    return found.model_copy(update={"equal": len(rows), "any": max(found.any, len(rows)), "examples": examples})


def joined(
    earlier: Sequence[Contamination] | None, found: Sequence[Contamination] | None
) -> tuple[Contamination, ...] | None:
    """What is known after another look: it takes the place of the same comparison, and of no other.

    What was found against data that are not named again still holds; neither does a quick look undo what hashes found.

    Args:
        earlier: comparisons that a record has; None = not known.
        found: comparisons of the new look; None = it could not be told.
    """
    if earlier is None or found is None:
        known = earlier if found is None else found
        return None if known is None else tuple(known)
    left = {_compared(one): one for one in earlier}
    for one in found:
        before = left.get(_compared(one))
        if before is None or before.near is None or one.near is not None:
            left[_compared(one)] = one
    return tuple(left.values())


def _compared(one: Contamination) -> tuple[str, str, str, int]:
    return one.split, one.other, one.other_split, one.other_images


def record_overlaps(
    store: RunStore,
    records: Sequence[RunRecord],
    data: RunDatasets,
    paths: Sequence[Path] = (),
    *,
    quick: bool = False,
) -> list[RunRecord]:
    """Look for the evaluated images among those that finished runs were trained on, and write the counts into their records.

    What was found earlier against other data stays; see `joined`.

    Args:
        store: where the runs lie.
        records: finished runs.
        data: opens their datasets.
        paths: further training data of all of them.
        quick: no picture is decoded.

    Returns:
        The records that were written; of each other one a line says why it was left out.

    Raises:
        InvalidDataset: a path holds no images that are known, or the data of no run can be opened.
        InvalidRecord: no run, or nothing to compare one with.
    """
    if not records:
        raise InvalidRecord(
            f"no finished run with ranks below {store.results}/runs; name its results folder with --results"
        )
    found: dict[tuple[str, str, bool], tuple[Contamination, ...] | None] = {}
    done = []
    for record in records:
        trained = record.origin == "measured" and bool(record.training.epochs)
        if not trained and not paths:
            logger.info("%s: what it was trained on is not recorded; name it with --against", record.title)
            continue
        key = record.data_sha256, record.split, trained
        if key not in found:
            dataset = data.of(record)
            own = of_own_training(dataset, record.split, quick=quick) if trained else ()
            named = of_named_training(dataset, record.split, paths, quick=quick)
            found[key] = None if own is None else (*own, *named)
        with store.claim(record.run_id):
            current = store.require(record.run_id)
            changed = current.model_copy(update={"overlaps": joined(current.overlaps, found[key])})
            store.write(changed)
        done.append(changed)
    if not done:
        raise InvalidRecord("none of these runs was trained here; name what they were trained on with --against")
    return done
