"""Exhibits below a results folder: made where something is missing, reused where it is there, with or without the data."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from harness.datasets.base import Dataset, Split
from harness.datasets.parallel import each
from harness.errors import InvalidDataset, InvalidRecord, ItmError, counted, one_line
from harness.exhibits.knowledge import clutter, unlabelled_pairs
from harness.exhibits.pictures import Picture, picture_source
from harness.exhibits.thumbnails import thumbnail
from harness.files.locks import claim
from harness.files.writing import atomic_path, remove_leftovers, require_inside, set_aside
from harness.records.exhibits import (
    FILE,
    MOST_IMAGES,
    Exhibits,
    exhibits_folder,
    listed_images,
    picture_name,
    pictures_in,
    read_exhibits,
    write_exhibits,
)
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.reopening import RunDatasets

logger = logging.getLogger(__name__)

#: Places of a list that pages show, and so want pictures of.
SHOWN = 5
#: Bounds of the text that pages list; the JSON of larger ones would not be read back.
MOST_CAPTIONS, MOST_CHARACTERS = 200_000, 8_000_000


def prepare(
    store: RunStore, records: Iterable[RunRecord], rows: Sequence[int] | None = None, data: RunDatasets | None = None
) -> list[Exhibits]:
    """The exhibits of all splits that some runs were evaluated on, made where something is missing.

    What lies there already is kept, and a dataset is opened only for what is missing. A line says what cannot be shown and
    why: data that moved or changed, images without pictures, pictures that cannot be decoded.

    Args:
        store: where the runs lie; exhibits go to `site/exhibits/` beside them.
        records: of runs; only those that finished count.
        rows: image rows that pictures are needed of. None = all; of a split of more than `MOST_IMAGES` images those that
            pages list (`listed_images`), and what the runs find most often for their captions.
        data: the datasets of the runs, with the options that changed since.

    Returns:
        One per split of which anything is there, in the order of the records.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    data = data or RunDatasets()
    by_folder: dict[Path, list[RunRecord]] = {}
    for record in records:
        if record.status == "finished" and record.has_ranks:
            folder = exhibits_folder(store.results, record.dataset, record.split, record.data_sha256)
            by_folder.setdefault(folder, []).append(record)
    found = [_prepared(store, folder, members, rows, data) for folder, members in by_folder.items()]
    return [exhibits for exhibits in found if exhibits is not None]


def _prepared(
    store: RunStore, folder: Path, runs: Sequence[RunRecord], rows: Sequence[int] | None, data: RunDatasets
) -> Exhibits | None:
    """The exhibits of one split."""
    require_inside(folder, store.results)
    there = _read(folder)
    if there is not None and _suffices(store, runs, rows, there):
        return there
    if there is None and (captions := _captions(store, runs)) > MOST_CAPTIONS:  # known without the data
        logger.info(
            "the site does not list the %s captions of %s %s, more than %s",
            f"{captions:,}", runs[0].dataset, runs[0].split, f"{MOST_CAPTIONS:,}",
        )  # fmt: skip
        return None
    with claim(store.results, f"exhibits {folder.name}"):  # two commands that end at once
        there = _read(folder)
        try:
            dataset = _opened(runs, data)
            split = dataset.split(runs[0].split)
            made = there if there is not None and _is_of(there, split) else _described(dataset, split)
        except ItmError as error:
            what = "further pictures" if there else "captions or pictures"
            logger.warning("the site has no %s of %s %s: %s", what, runs[0].dataset, runs[0].split, error)
            return there
        lacking = _lacking(made, _wanted(store, runs, rows, len(split.image_ids)))
        made = _with_pictures(folder, made, lacking, picture_source(dataset, split))
        write_exhibits(folder, made)
    return made


def _suffices(store: RunStore, runs: Sequence[RunRecord], rows: Sequence[int] | None, there: Exhibits) -> bool:
    """Whether nothing is missing."""
    if rows is None and len(there.pictures) >= MOST_IMAGES:
        return True
    return not _lacking(there, _wanted(store, runs, rows, len(there.image_ids)))


def _captions(store: RunStore, runs: Sequence[RunRecord]) -> int:
    """The number of captions of a split by the first results of its runs; 0 = not known."""
    for run in runs:
        with suppress(InvalidRecord):  # whoever shows the run says so
            if (top := store.top(run.run_id)) is not None:
                return len(top.caption_id)
    return 0


def _is_of(exhibits: Exhibits, split: Split) -> bool:
    """Whether exhibits that lie there, which anybody may have written, have the rows of a split."""
    ids = tuple(map(_text, split.image_ids)), tuple(map(_text, split.caption_ids))
    return ids == (exhibits.image_ids, exhibits.caption_ids)


def _read(folder: Path) -> Exhibits | None:
    """What is there; a damaged file is set aside, and made again."""
    try:
        return read_exhibits(folder)
    except InvalidRecord as error:
        set_aside(folder / FILE, error)
        return None


def _opened(runs: Sequence[RunRecord], data: RunDatasets) -> Dataset:
    """The dataset as the latest run names it, else as any other one does: it may have moved in between."""
    problem: ItmError | None = None
    for record in reversed(runs):
        try:
            return data.of(record)
        except ItmError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _wanted(store: RunStore, runs: Sequence[RunRecord], rows: Sequence[int] | None, images: int) -> list[int]:
    """The image rows that pictures are wanted of, the most wanted first."""
    if rows is not None:
        outside = next((row for row in rows if not 0 <= row < images), None)
        if outside is not None:
            raise InvalidRecord(
                f"image row {outside} is asked for, {runs[0].dataset} {runs[0].split} has {images:,} images"
            )
        return list(dict.fromkeys(rows))
    if images <= MOST_IMAGES:
        return list(range(images))
    listed = listed_images(images)
    found = np.zeros(images, dtype=np.int64)
    for run in runs:
        try:
            top = store.top(run.run_id)
        except InvalidRecord:
            continue
        if top is not None and len(top.image_id) == images:
            found += np.bincount(top.t2i_top[np.isin(top.caption_image, listed), :SHOWN].ravel(), minlength=images)
    often = np.argsort(-found, kind="stable")[: np.count_nonzero(found)]
    return list(dict.fromkeys([*listed.tolist(), *often.tolist()]))[:MOST_IMAGES]


def _lacking(exhibits: Exhibits, wanted: Sequence[int]) -> list[int]:
    if exhibits.pictureless:
        return []
    unreadable = set(exhibits.unreadable)
    return [row for row in wanted if row not in exhibits.pictures and row not in unreadable]


def _described(dataset: Dataset, split: Split) -> Exhibits:
    """All but the pictures.

    Raises:
        InvalidDataset: it is too large to be listed.
    """
    texts = [*split.captions, *split.caption_ids, *split.image_ids]
    characters = sum(map(len, texts))
    if len(split.captions) > MOST_CAPTIONS or characters > MOST_CHARACTERS:
        raise InvalidDataset(
            f"its {len(split.captions):,} captions and their ids hold {characters:,} characters; the site lists at most "
            f"{MOST_CAPTIONS:,} captions and {MOST_CHARACTERS:,} characters"
        )
    return Exhibits(
        dataset=dataset.title,
        split=split.name,
        data_sha256=dataset.sha256,
        image_ids=tuple(map(_text, split.image_ids)),
        captions=tuple(map(_text, split.captions)),
        caption_ids=tuple(map(_text, split.caption_ids)),
        caption_image=tuple(split.caption_image.tolist()),
        unlabelled=unlabelled_pairs(dataset, split),
        clutter=clutter(dataset, split),
    )


def _text(text: str) -> str:
    """A text that can be written as UTF-8: halves of characters, which JSON can name, are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _with_pictures(folder: Path, exhibits: Exhibits, rows: Sequence[int], source: Picture | None) -> Exhibits:
    """The exhibits with the pictures of these rows, which are written where they do not lie there yet."""
    title = f"{exhibits.dataset} {exhibits.split}"
    if source is None:
        logger.info(
            "the site has no pictures of %s: its images are region features, and no photographs lie beside them", title
        )
        return exhibits.model_copy(update={"pictureless": True})
    started = time.perf_counter()
    os.makedirs(folder, exist_ok=True)
    remove_leftovers(folder)
    there = pictures_in(folder, rows)
    new = [row for row in rows if row not in there]
    outcomes = zip(new, each(lambda row: _write(folder, row, source), new), strict=True)
    problems = {row: problem for row, problem in outcomes if problem}
    if problems:
        logger.warning(
            "%s of %s of %s cannot be shown, the first: %s",
            f"{len(problems):,}",
            counted(len(new), "picture"),
            title,
            next(iter(problems.values())),
        )
    if len(new) > len(problems):
        made, seconds = len(new) - len(problems), time.perf_counter() - started
        logger.info("%s pictures of %s made for the site in %.1f s", f"{made:,}", title, seconds)
    pictures = {row: picture_name(row) for row in sorted({*exhibits.pictures, *rows} - problems.keys())}
    # Where all of them fail it is rather the disk than the pictures: they are tried again.
    unreadable = (*exhibits.unreadable, *problems) if len(problems) < len(new) else exhibits.unreadable
    return exhibits.model_copy(update={"pictures": pictures, "unreadable": unreadable})


def _write(folder: Path, row: int, source: Picture) -> str:
    """Write a picture; why it cannot be shown, empty if it can."""
    try:
        content = thumbnail(source(row))
    except Exception as error:  # whatever a file, or a dataset of a plug-in, may cause
        return one_line(error)
    with atomic_path(folder / picture_name(row), tidy=False) as temporary:
        temporary.write_bytes(content)
    return ""
