"""Where the photographs of a layout lie: below one of the folders that its users have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.datasets.files import require_inside, within
from harness.errors import InvalidDataset

_TRIED = 100  # files looked for in each folder: some may be missing, and all missing ones are reported later


def image_folder(root: Path, given: str | None, usual: Sequence[str], files: Sequence[str], told_by: str) -> str:
    """The folder below `root` that a layout's file names start from, "" for the root itself.

    Args:
        root: the dataset's folder.
        given: the option `dataset.images`; None = the first of `usual` that holds one of the files.
        usual: folders below root that users of the layout have, "" for the root itself.
        files: paths below that folder, as the layout's files give them.
        told_by: the file that names them, for messages.

    Raises:
        InvalidDataset: the option leaves the root, or no usual folder holds any of the files.
    """
    if given is not None:
        if given not in ("", "."):
            require_inside(root, within(root, given, "dataset.images"))
        return given
    few = files[:_TRIED]
    for file in few:
        within(root, file, told_by)
    for folder in usual:
        if any((root / folder / file).exists() for file in few):
            return folder
    if not few:
        return usual[0]
    places = ", ".join(str(root / folder) for folder in usual)
    raise InvalidDataset(
        f"{few[0]}, which {told_by} names, is in none of {places}; set dataset.images to the folder below dataset.root that "
        "holds it"
    )


def below(folder: str, file: str) -> str:
    """The path of a file in a folder, with forward slashes.

    >>> below("", "1.jpg"), below("images", "1.jpg")
    ('1.jpg', 'images/1.jpg')
    """
    return f"{folder}/{file}" if folder and folder != "." else file
