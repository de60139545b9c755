"""Which rows of a feature file belong to which captions: only what the files prove, or what the user states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.datasets.precomp.features import FeatureFile
from harness.errors import InvalidDataset

PUBLISHED = 5  #: captions per image in every data set that was published in this layout
_LARGEST_GROUP, _SAMPLE = 10, 500
_NOISE = 0.25  # rows nearer to each other than this share of the way to the next group are no strangers

_WAYS = "each image stored once or once per caption; correct the files or dataset.captions_per_image"


@dataclass(frozen=True)
class Storage:
    """How a split is stored.

    Args:
        images: I.
        each: captions per image.
        once: whether an image has one row, or one per caption.
    """

    images: int
    each: int
    once: bool

    def sentence(self) -> str:
        """For the log."""
        rows = "stored once" if self.once else f"stored {self.each} times"
        captions = f"{self.each} captions each" if self.each > 1 else "1 caption each"
        return f"{self.images:,} images {rows}, {captions}"

    @property
    def rows(self) -> np.ndarray:
        """(I,) the first row of each image."""
        return np.arange(self.images) * (1 if self.once else self.each)


def find_storage(
    file: FeatureFile,
    captions: int,
    ids_file: Path,
    ids: list[str] | None,
    configured: int | None,
    stored: str | None,
    told: str,
) -> Storage:
    """The storage that the files prove or the user states.

    As many rows as captions are images repeated for each of their captions where the rows repeat exactly and evenly,
    and images with one caption each where no row repeats. Fewer rows are images stored once, with five captions as all
    published data have, or as many as the ids file shows.

    Args:
        file: N rows.
        captions: T.
        ids_file: named in messages.
        ids: the lines of the ids file, None without one.
        configured: `captions_per_image`, if it is stated.
        stored: `once` or `repeated`, if it is stated.
        told: the files, for messages.

    Raises:
        InvalidDataset: the files contradict each other or what is stated, or prove nothing.
    """
    rows = len(file)
    if ids is not None and len(ids) == captions != rows and not configured:
        shown = _even(_runs(ids))  # one id per caption says how many captions an image has
        configured = shown if shown > 1 else None
    repeated = stored == "repeated" or (stored is None and rows == captions and configured != 1)
    found = (_repeated if repeated else _once)(file, captions, configured, stored, told)
    if ids is not None:
        _check_ids(ids, found, ids_file)
    return found


def _once(file: FeatureFile, captions: int, configured: int | None, stored: str | None, told: str) -> Storage:
    rows = len(file)
    each = configured or captions // rows
    if rows * each != captions or not each:
        expected = f"{configured} captions per image" if configured else "the same number of captions per image"
        raise InvalidDataset(f"{told}; expected {expected}, {_WAYS}")
    if configured is None and each not in (1, PUBLISHED):
        raise InvalidDataset(
            f"{told}: {each} captions per image would be a guess; set dataset.captions_per_image={each} if it is right"
        )
    group = _even(file.runs())
    if stored is None and configured != 1 and group > 1 and rows > 1:
        raise InvalidDataset(
            f"{told}, yet its rows come in groups of {group} equal ones, so an image seems to be stored {group} times; "
            f"store each once, or set dataset.stored=once if {rows} images with {each} captions (captions_per_image="
            f"{each}) are right"
        )
    if stored is None and configured is None:
        _refuse_noise(file, told, f"store each image once, or set dataset.stored=once if these are {rows} images")
    return Storage(rows, each, True)


def _repeated(file: FeatureFile, captions: int, configured: int | None, stored: str | None, told: str) -> Storage:
    rows, runs = len(file), file.runs()
    group = _even(runs)
    each = configured or group
    if rows != captions:
        raise InvalidDataset(f"{told}; with dataset.stored=repeated there must be one row per caption")
    if rows % each:
        raise InvalidDataset(f"{told}; expected {each} captions per image, {_WAYS}")
    if group % each:
        starts = np.cumsum(runs)[:-1]
        raise InvalidDataset(
            f"{told}, so each image must be repeated captions_per_image = {each} times, but row "
            f"{int(starts[starts % each != 0][0])} differs from the row before it; store each image once, or correct "
            "captions_per_image"
        )
    # Ten equal rows may be one image with ten captions, or two equal images with five: that is no proof.
    if configured is not None or group == PUBLISHED or (group > 1 and len(runs) > 1 and group % PUBLISHED):
        return Storage(rows // each, each, False)
    ways = "captions_per_image=1 if each row is an image of its own, or the number of times that an image is stored"
    if group > 1:
        raise InvalidDataset(f"{told}, and its rows come in {len(runs)} runs of equal ones; set dataset.{ways}")
    if stored == "repeated" or len(runs) < rows:
        raise InvalidDataset(
            f"{told}, and {rows - len(runs)} rows equal the row before them, which is no even repetition; set dataset.{ways}"
        )
    _refuse_noise(file, told, f"set dataset.{ways}")
    return Storage(rows, 1, True)


def _check_ids(ids: list[str], found: Storage, path: Path) -> None:
    count = found.images
    if len(ids) not in (count, count * found.each):
        raise InvalidDataset(f"{path} has {len(ids)} ids for {count} images with {found.each} captions each")
    if len(ids) == count:
        return
    odd = next((k for k, name in enumerate(ids) if name != ids[k - k % found.each]), None)
    if odd is not None:
        raise InvalidDataset(
            f"{path}: with {found.each} captions per image each id must repeat {found.each} times, but line {odd + 1} "
            f"holds '{ids[odd]}' after '{ids[odd - 1]}'; correct the ids or set dataset.captions_per_image"
        )


def _even(runs: np.ndarray) -> int:
    """The largest number of rows that every run is a multiple of."""
    return int(np.gcd.reduce(runs))


def _runs(values: list[str]) -> np.ndarray:
    """Lengths of the runs of equal neighbours."""
    starts = [k for k, value in enumerate(values) if not k or value != values[k - 1]]
    return np.diff([*starts, len(values)])


def _refuse_noise(file: FeatureFile, told: str, remedy: str) -> None:
    """Refuse rows in groups that are much nearer to each other than to the next group."""
    features = file.features
    count = min(len(features), _SAMPLE)
    steps = np.array(
        [np.linalg.norm(np.subtract(features[k], features[k - 1], dtype=np.float64)) for k in range(1, count)]
    )
    ratios = {}
    for group in range(2, _LARGEST_GROUP + 1):
        between = np.arange(1, count) % group == 0
        if len(features) % group == 0 and between.any():
            ratios[group] = steps[~between].mean() / steps[between].mean()
    nearest = min(ratios, key=ratios.__getitem__, default=0)
    if nearest and ratios[nearest] < _NOISE:
        raise InvalidDataset(
            f"{told}; no two rows are equal, but every {nearest} are so near to each other that they seem to be one image "
            f"with noise; {remedy}"
        )
