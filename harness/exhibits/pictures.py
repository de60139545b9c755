"""Where the pictures of a split come from: the dataset itself, or photographs found beside region features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from harness.datasets.base import Dataset, Split
from harness.datasets.files import require_inside, within
from harness.datasets.photographs.decoding import decode_bytes, read_image
from harness.errors import InvalidDataset

logger = logging.getLogger(__name__)

Picture = Callable[[int], Image.Image]  #: of an image row: upright, RGB

_TRIED = 100  # files that are looked for in a folder
_ENDINGS = ("", ".jpg", ".png")


def picture_source(dataset: Dataset, split: Split) -> Picture | None:
    """What gives the picture of an image row; None where there are none.

    Region features come without pictures. A folder of photographs beside them is used if it holds a file of every image's
    name, which is its id; a line says which folder.
    """
    if "pixels" in split.images.inputs:
        return split.images.original
    root = getattr(dataset.config, "root", None)
    for folder in _places(Path(root).expanduser(), dataset.title) if root else ():
        for ending in _ENDINGS:
            names = [f"{image}{ending}" for image in split.image_ids]
            if _holds(folder, names):
                logger.info(
                    "pictures of %s %s are taken from %s, by the ids of the images", dataset.title, split.name, folder
                )
                return partial(_decoded, folder, names)
    return None


def _places(root: Path, title: str) -> tuple[Path, ...]:
    """Folders in which users keep the photographs of features."""
    beside = [root.parent / name for name in ("images", f"{title}-images", f"{title}_images") if "/" not in title]
    return root, root / "images", *beside


def _holds(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder has all of some files, spread over all of them."""
    if not folder.is_dir():
        return False
    try:
        return all(within(folder, name, "an id").is_file() for name in names[:: 1 + len(names) // _TRIED])
    except (InvalidDataset, OSError, ValueError):  # an id that is no file name
        return False


def _decoded(folder: Path, names: Sequence[str], row: int) -> Image.Image:
    path = require_inside(folder, within(folder, names[row], "an id"))
    return decode_bytes(read_image(path), path)
