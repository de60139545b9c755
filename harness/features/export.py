"""Features as a folder in SCAN's layout, which other code reads, and this harness as dataset `precomp`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.datasets.base import Split
from harness.errors import InvalidDataset
from harness.features.kept import KeptSide
from harness.files.writing import atomic_path

_BLOCK = 256


def write_precomp(folder: Path, split: Split) -> list[Path]:
    """Write the features of a split's images: `{split}_ims.npy` (I, L, C), `{split}_caps.txt`, `{split}_ids.txt`.

    Images are stored once, in the order of the split; caption line k belongs to image k // (captions per image).
    `{split}_features.json` says which tower made the features.

    Args:
        folder: where to; made if it is missing.
        split: whose images are in the store.

    Returns:
        The files.

    Raises:
        InvalidDataset: the images differ in their number of captions, a caption or an id does not fit on a line, or the
            last caption is blank: the layout cannot hold that. Also a folder that holds features of another origin.
        ResultsNotWritable: the folder cannot be written.
    """
    stored = split.stored_images
    assert isinstance(stored, KeptSide), "the images of the split are in the store"
    captions = _in_order(split)
    ids = list(split.image_ids)
    for what, lines in (("caption", captions), ("image id", ids)):
        broken = [line for line in lines if line != line.strip() or "\n" in line or "\r" in line]
        if broken:
            raise InvalidDataset(
                f"split '{split.name}': the {what} {broken[0]!r:.60} does not fit on a line of its own"
            )
    if not captions[-1]:
        raise InvalidDataset(f"split '{split.name}': the last caption is blank, which a file of lines cannot show")
    about = stored.kept.about
    _require_ours(folder, split.name)
    shape = (len(split.image_ids), *about.shape[1:])
    files = [folder / f"{split.name}_{kind}" for kind in ("ims.npy", "caps.txt", "ids.txt", "features.json")]
    # First, so that what a killed command leaves is known to be its own.
    with atomic_path(files[3]) as path:
        told = {
            "features": stored.kept.name,
            **about.model_dump(mode="json", exclude={"sha256", "split", "items", "fragments"}),
        }
        path.write_text(json.dumps(told | {"shape": shape}, indent=2) + "\n", encoding="utf-8")
    with atomic_path(files[0]) as path, path.open("wb") as out:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(about.dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for block in _blocks(stored):
            out.write(np.ascontiguousarray(block).data)
    for file, lines in zip(files[1:3], (captions, ids), strict=True):
        with atomic_path(file) as path:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return files


def _require_ours(folder: Path, split: str) -> None:
    """Refuse to write over features that were not written here: they may be all that somebody has."""
    if (folder / f"{split}_ims.npy").exists() and not (folder / f"{split}_features.json").is_file():
        raise InvalidDataset(f"{folder} holds a {split}_ims.npy that this command did not write; name another folder")


def _in_order(split: Split) -> list[str]:
    """The captions, those of each image beside each other."""
    counts = np.bincount(split.caption_image, minlength=len(split.image_ids))
    if len(np.unique(counts)) > 1:
        raise InvalidDataset(
            f"split '{split.name}': images have {counts.min()} to {counts.max()} captions, and a precomp folder holds the "
            f"same number for each; set captions_per_image={counts.min()}, which takes the first ones of each image"
        )
    return [split.captions[row] for row in np.argsort(split.caption_image, kind="stable")]


def _blocks(stored: KeptSide) -> Iterator[np.ndarray]:
    for start in range(0, len(stored), _BLOCK):
        yield stored.read(stored.rows[start : start + _BLOCK]).features.numpy()
