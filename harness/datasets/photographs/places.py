"""Where the photographs of a layout lie: in one of the folders that its users have, as its files name them or flat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.files import require_inside, within
from harness.errors import InvalidDataset

logger = logging.getLogger(__name__)

_TRIED = 100  # files looked for in each folder: some may be missing, and all missing ones are reported later


@dataclass(frozen=True)
class Place:
    """Where the images are that a layout's files name.

    Args:
        root: the folder that holds all of them.
        folder: the one below it that names start from, "" for the root itself.
        flat: whether the images lie in that folder itself, whatever folders their names have in front.
        told_by: the file that names them, for messages.
    """

    root: Path
    folder: str
    flat: bool
    told_by: str

    def path(self, file: str) -> str:
        """The path below `root` of an image.

        Raises:
            InvalidDataset: it leaves the folder.

        >>> Place(Path("data"), "images", False, "train.json").path("val2014/1.jpg")
        'images/val2014/1.jpg'
        """
        within(self.root / self.folder, file, self.told_by)
        file = file.rpartition("/")[2] if self.flat else file
        return f"{self.folder}/{file}" if self.folder else file

    def holds(self, files: Sequence[str]) -> bool:
        """Whether any of some files, spread over all of them, exists there."""
        return any((self.root / self.path(file)).is_file() for file in files[:: 1 + len(files) // _TRIED])


def find_place(root: Path, given: str | None, usual: Sequence[str], files: Sequence[str], told_by: str) -> Place:
    """Where the images lie: the first folder that holds one of them, by its path or else by its file name alone.

    Args:
        root: the dataset's folder.
        given: the option `dataset.images`, the only folder to look into; None = `usual`.
        usual: folders below root that users of the layout have, "" for the root itself.
        files: the images, as the layout's files name them.
        told_by: the file that names them, for messages.

    Raises:
        InvalidDataset: the option or a name leaves the root, or no folder holds any of the images.
    """
    if given is not None and given not in ("", "."):
        require_inside(root, within(root, given, "dataset.images"))
    folders = tuple(dict.fromkeys(usual)) if given is None else ("" if given == "." else given,)
    for flat in (False, True):
        for folder in folders:
            place = Place(root, folder, flat, told_by)
            if place.holds(files):
                if flat:
                    logger.info("%s: the images are found by their file names alone", root / folder)
                return place
    if not files:
        return Place(root, folders[0], False, told_by)
    places = ", ".join(str(root / folder) for folder in folders)
    raise InvalidDataset(
        f"{files[0]}, which {told_by} names, is not in {places}; set dataset.images to the folder below dataset.root that "
        "holds it"
    )
