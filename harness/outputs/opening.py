"""Which shape of results some files have, and how each is opened: the table of what is accepted."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.base import Split
from harness.errors import InvalidSimilarity
from harness.files.extras import needed_for
from harness.files.kinds import identify
from harness.outputs.averages import is_averages
from harness.outputs.base import Measure, Output
from harness.outputs.contents import Contents, read_contents, require_contents
from harness.outputs.list_files import DIRECTIONS, lists_of, lists_of_runs
from harness.outputs.matrices import Rows, in_order, matrix_of, mean_of, shards_of
from harness.outputs.ranks import DIRECTIONS as RANKED
from harness.outputs.ranks import is_rank_csv, ranks_of, ranks_of_csv
from harness.reports.runs.rank_csv import Origin

_TREC = "trec-run"
#: Names of the two sides of embeddings in one file, whole or as a part of a longer name.
_IMAGES = re.compile(r"(^|[_.-])(im|ims|img|imgs|image|images|visual|vision|vis|photo|photos)([_.-]|$)", re.IGNORECASE)
_CAPTIONS = re.compile(
    r"(^|[_.-])(cap|caps|caption|captions|txt|txts|text|texts|sentence|sentences)([_.-]|$)", re.IGNORECASE
)
#: The largest number of shards of a score matrix; COCO's 1K protocol has five folds.
_SHARD = re.compile(r"\d.*\.(txt|csv|npy)$|.*\d\.(txt|csv|npy)$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a user says of the files where they do not say it themselves.

    Args:
        rows: what the rows of a square score matrix are.
        measure: how embeddings are compared.
        ensemble: whether several matrices are averaged.
        distances: whether lower scores are better.
        images, captions: files of embeddings, one per side.
        ranks_from: what a CSV of ranks calls the first place, where no query has rank 0.
    """

    rows: Rows | None = None
    measure: Measure = "cosine"
    ensemble: bool = False
    distances: bool = False
    images: Path | None = None
    captions: Path | None = None
    ranks_from: Origin | None = None

    @property
    def said(self) -> dict[str, Any]:
        """The options that were given, by flag."""
        found = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default != getattr(self, field.name)
        }
        return {f"--{name.replace('_', '-')}": value for name, value in found.items()}


@dataclass(frozen=True)
class Shape:
    """A shape of results in one file.

    Args:
        fits: whether a file's contents have it.
        opened: the results, given the contents, the split and what the user says.
    """

    fits: Callable[[Contents], bool]
    opened: Callable[[Contents, Split, Reading], Output]


def require_readable(paths: Sequence[Path], reading: Reading, *, averages: bool = False) -> None:
    """Refuse what can be refused without the dataset: missing and foreign files, and options that contradict them.

    Files of averages pass with `averages`.

    Raises:
        InvalidSimilarity: in one line.
    """
    pair = (reading.images, reading.captions)
    if any(pair):
        if not all(pair) or paths:
            raise InvalidSimilarity(
                "embeddings need both --images and --captions, and no further file of scores; "
                f"got {'--images' if reading.images else '--captions'}"
                f"{' and --captions' if all(pair) else ' alone'}{f' and {paths[0]}' if paths else ''}"
            )
    elif not paths:
        raise InvalidSimilarity("no results given; name a file of scores, or embeddings with --images and --captions")
    if reading.ensemble and len(paths) < 2:
        raise InvalidSimilarity("one matrix does not go with --ensemble, which evaluates the mean of two or more")
    if reading.ranks_from is not None and not any(map(is_rank_csv, paths)):
        raise InvalidSimilarity("--ranks-from is for a CSV of ranks; leave it out")
    for path in (*paths, *filter(None, pair)):
        if is_averages(path):
            if averages:
                continue
            raise InvalidSimilarity(
                f"{path} holds averages, from which nothing can be evaluated; `itm add` records them to be shown on leaderboards"
            )
        if (identify(path).key not in (_TREC, "folder") and not is_rank_csv(path)) or path in pair:
            require_contents(path)


def open_output(paths: Sequence[Path], split: Split, reading: Reading) -> Output:
    """The results in some files.

    Args:
        paths: one file or folder; several shards of a score matrix; several matrices with `reading.ensemble`; TREC runs.
        split: what was scored.
        reading: what the user says of them.

    Raises:
        InvalidSimilarity: no shape that is known, or one that contradicts the split or what the user says.
    """
    require_readable(paths, reading)
    output = _opened(paths, split, reading)
    return output.negated() if reading.distances else output


def _opened(paths: Sequence[Path], split: Split, reading: Reading) -> Output:
    images, texts = len(split.image_ids), len(split.captions)
    if reading.images and reading.captions:
        sides = [read_contents(path) for path in (reading.images, reading.captions)]
        left, right = ((side, _only_array(side)) for side in sides)
        return _embedded(left, right, split.caption_image, images, reading.measure)
    files = _unfolded(paths)
    if all(identify(path).key == _TREC for path in files):
        return lists_of_runs(files, split)
    if len(files) == 1 and is_rank_csv(files[0]):
        return ranks_of_csv(files[0], split, reading.ranks_from)
    if reading.ensemble:
        return mean_of([(c, _only_array(c)) for c in map(read_contents, files)], images, texts, reading.rows)
    if len(files) > 1:
        return _several(files, images, texts, reading.rows)
    contents = read_contents(files[0])
    shape = next((shape for shape in SHAPES if shape.fits(contents)), None)
    if shape is None:
        names = ", ".join(contents.values) or "nothing"
        raise contents.refuse(
            f"holds {names:.120}: no score matrix, embeddings, ranks or candidate lists that are known; docs/outputs.md "
            "lists the names and shapes"
        )
    return shape.opened(contents, split, reading)


def _unfolded(paths: Sequence[Path]) -> list[Path]:
    """The files meant by one folder, or the paths themselves."""
    if len(paths) != 1 or not paths[0].is_dir():
        return list(paths)
    folder = paths[0]
    runs = sorted(folder.glob("*.run"))
    shards = sorted(path for path in folder.iterdir() if _SHARD.fullmatch(path.name) and path.is_file())
    if bool(runs) == bool(shards):
        raise InvalidSimilarity(
            f"{folder} holds {len(shards)} files with a number in their name (shards of a score matrix: 0sim_best.txt, ...) "
            f"and {len(runs)} TREC runs (*.run); one of the two kinds is expected, or name the files"
        )
    return runs or shards


def _several(files: list[Path], images: int, texts: int, rows: Rows | None) -> Output:
    """Several matrices without --ensemble: the shards of a protocol's folds, where their shapes show it."""
    files = in_order(files)
    members = [(contents, _only_array(contents)) for contents in map(read_contents, files)]
    shapes = {contents.arrays[name].shape for contents, name in members}
    folds = len(files)
    if shapes & {(images, texts), (texts, images)}:
        raise InvalidSimilarity(f"{folds} matrices need --ensemble, which evaluates the mean of two or more")
    sizes = ", ".join(" x ".join(f"{n:,}" for n in shape) for shape in sorted(shapes))
    if any(len(shape) != 2 or not _is_share(shape, images, folds) for shape in shapes):
        raise InvalidSimilarity(
            f"{folds} files of {sizes} are neither matrices of {images:,} images x {texts:,} captions (with --ensemble) nor "
            f"{folds} shards of equal folds; embeddings go with --images and --captions"
        )
    return shards_of(members, images, rows)


def _is_share(shape: tuple[int, ...], images: int, folds: int) -> bool:
    return images % folds == 0 and images // folds in shape


def _only_array(contents: Contents) -> str:
    """The name of the one array of a file."""
    names = list(contents.arrays)
    if len(names) != 1:
        raise contents.refuse(f"holds {len(names)} arrays ({', '.join(names):.80}); one is expected")
    return names[0]


def _sides(contents: Contents) -> tuple[str, str] | None:
    """The names of image and caption embeddings."""
    names = list(contents.arrays)
    images = [name for name in names if _IMAGES.search(name) and not _CAPTIONS.search(name)]
    captions = [name for name in names if _CAPTIONS.search(name) and not _IMAGES.search(name)]
    return (images[0], captions[0]) if len(images) == len(captions) == 1 else None


def _open_matrix(contents: Contents, split: Split, reading: Reading) -> Output:
    return matrix_of(contents, _only_array(contents), len(split.image_ids), len(split.captions), reading.rows)


def _open_embeddings(contents: Contents, split: Split, reading: Reading) -> Output:
    found = _sides(contents)
    assert found is not None
    others = contents.values.keys() - set(found)
    if others:
        _log.info("%s: %s and %s are read, %s not", contents.path, *found, ", ".join(sorted(others)))
    left, right = ((contents, name) for name in found)
    return _embedded(left, right, split.caption_image, len(split.image_ids), reading.measure)


#: The shapes of one file; the first that fits counts.
SHAPES = (
    Shape(
        lambda contents: RANKED.keys() <= contents.values.keys(),
        lambda contents, split, _: ranks_of(contents, split.caption_image, len(split.image_ids)),
    ),
    Shape(
        lambda contents: any(direction in contents.values for direction in DIRECTIONS),
        lambda contents, split, _: lists_of(contents, split),
    ),
    Shape(lambda contents: _sides(contents) is not None, _open_embeddings),
    Shape(lambda contents: len(contents.arrays) == 1, _open_matrix),
)


def _embedded(
    images: tuple[Contents, str], captions: tuple[Contents, str], owner: np.ndarray, count: int, measure: Measure
) -> Output:
    """As `harness.outputs.embeddings.embedded`.

    Raises:
        MissingPackage: there is no torch.
    """
    with needed_for("scoring embeddings"):
        from harness.outputs.embeddings import embedded  # here, not above: scores and ranks need no torch
    return embedded(images, captions, owner, count, measure)
