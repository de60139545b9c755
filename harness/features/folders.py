"""One folder of the store: arrays that are written block by block, resumed after a kill, and checked when they are read.

`<cache>/features/<tower>-<dtype>/<content>/` holds `about.json` (what it is), `items.npy` (digests, U x 16 bytes), and
`images.npy` (U, L, C), or `texts.npy` (all fragments in a row, C wide) with `offsets.npy` (U + 1). A folder in the making
is called `<content>.partial` and gets its name when all of it is written.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from harness.datasets.store import facts
from harness.errors import InvalidDataset
from harness.features.items import Side
from harness.files.caches import cache_folder
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path
from harness.spec import Spec, canonical_json

Dtype = Literal["float16", "float32"]
ABOUT, ITEMS, OFFSETS, PROGRESS, LENGTHS = "about.json", "items.npy", "offsets.npy", "progress.json", "lengths.bin"
PARTIAL = ".partial"
_HEADER = 128  #: bytes in front of the values of an array


class About(Spec):
    """What a folder holds, in words and numbers; `sha256` is of the values of each array."""

    format: int
    side: Side
    tower: str
    tower_key: str
    definition: dict[str, Any]
    dataset: str
    split: str
    items: int
    fragments: int
    width: int
    shape: tuple[int, ...]
    dtype: Dtype
    sha256: dict[str, str]
    versions: dict[str, str | None]
    device: str
    made: str
    seconds: float


def features_folder() -> Path:
    """The store, below the cache folder; it may not exist yet."""
    return cache_folder() / "features"


def array_name(side: Side) -> str:
    """The file of the values of a side."""
    return f"{side}.npy"


class Unfinished:
    """A folder in the making, continued where a killed process left it.

    Args:
        folder: under its final name.
        side: of the items.
        digests: of the items, in the order in which they will be added.
        dtype: of the values.
        width: C.

    Attributes:
        done: items that are there already.
    """

    def __init__(self, folder: Path, side: Side, digests: Sequence[bytes], dtype: Dtype, width: int):
        self._final, self._folder = folder, folder.with_name(f"{folder.name}{PARTIAL}")
        self._side, self._dtype, self._width = side, np.dtype(dtype), width
        self._items = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
        self._file = self._folder / array_name(side)
        self.done, self.fragments, self.seconds = 0, 0, 0.0
        self._sha256, self._lengths = hashlib.sha256(), hashlib.sha256()
        if not self._resumed():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            np.save(self._folder / ITEMS, self._items)
            self._file.write_bytes(bytes(_HEADER))
            (self._folder / LENGTHS).write_bytes(b"")

    def __enter__(self) -> Unfinished:
        self._values = self._file.open("r+b")
        self._counts = (self._folder / LENGTHS).open("r+b")
        self._values.truncate(_HEADER + self.fragments * self._row_bytes)
        self._counts.truncate(4 * self.done)
        self._values.seek(0, os.SEEK_END)
        self._counts.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        self._values.close()
        self._counts.close()

    def add(self, values: np.ndarray, lengths: np.ndarray) -> None:
        """The next items: their fragments in a row (sum of `lengths`, C), and how many each has."""
        content = np.ascontiguousarray(values, dtype=self._dtype)
        counts = lengths.astype("<i4").tobytes()
        self._values.write(content.data)
        self._counts.write(counts)
        self._sha256.update(content.data)
        self._lengths.update(counts)
        self.done += len(lengths)
        self.fragments += len(values)

    def keep(self, seconds: float) -> None:
        """Make sure that what was added survives a kill.

        Args:
            seconds: spent so far, by earlier processes too.
        """
        for file in (self._values, self._counts):
            file.flush()
            os.fsync(file.fileno())
        self.seconds = seconds
        state = {
            "done": self.done,
            "fragments": self.fragments,
            "sha256": self._sha256.hexdigest(),
            "lengths": self._lengths.hexdigest(),
            "seconds": seconds,
        }
        with atomic_path(self._folder / PROGRESS) as path:
            path.write_text(canonical_json(state), encoding="utf-8")

    def finish(self, **about: Any) -> Path:
        """Give the folder its name, once all items are there; keyword arguments are fields of `About`."""
        lengths = np.fromfile(self._folder / LENGTHS, "<i4")
        shape: tuple[int, ...] = (self.fragments, self._width)
        sha256 = {array_name(self._side): self._sha256.hexdigest()}
        if self._side == "images":
            if len(np.unique(lengths)) != 1:
                raise InvalidDataset(f"the tower gives images between {lengths.min()} and {lengths.max()} fragments")
            shape = (len(lengths), int(lengths[0]), self._width)
        else:
            offsets = np.append(0, lengths.astype(np.int64).cumsum())
            np.save(self._folder / OFFSETS, offsets)
            sha256[OFFSETS] = hashlib.sha256(offsets.tobytes()).hexdigest()
        self._values.seek(0)
        self._values.write(_header(self._dtype, shape))
        self.__exit__()
        sha256[ITEMS] = hashlib.sha256(self._items.tobytes()).hexdigest()
        told = About(
            side=self._side, items=len(lengths), fragments=self.fragments, width=self._width, shape=shape,
            dtype=self._dtype.name, sha256=sha256, seconds=self.seconds, **about,
        )  # fmt: skip
        for name in (PROGRESS, LENGTHS):
            (self._folder / name).unlink()
        (self._folder / ABOUT).write_text(told.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for file in self._folder.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(self._final, ignore_errors=True)
        os.replace(self._folder, self._final)
        return self._final

    @property
    def _row_bytes(self) -> int:
        return self._width * self._dtype.itemsize

    def _resumed(self) -> bool:
        """Take up what an earlier process left, if it is of the same items and its bytes are the ones that it wrote."""
        try:
            state = read_json(self._folder / PROGRESS)
            done, fragments = int(state["done"]), int(state["fragments"])
            same = np.array_equal(np.load(self._folder / ITEMS, allow_pickle=False), self._items)
            if not same or not 0 <= done <= len(self._items):
                return False
            sha256 = _hash(self._file, _HEADER, fragments * self._row_bytes)
            lengths = _hash(self._folder / LENGTHS, 0, 4 * done)
            if (sha256.hexdigest(), lengths.hexdigest()) != (state["sha256"], state["lengths"]):
                return False
            self.seconds = float(state["seconds"])
        except (Damaged, OSError, ValueError, TypeError, KeyError):
            return False
        self.done, self.fragments, self._sha256, self._lengths = done, fragments, sha256, lengths
        return True


def read_about(folder: Path) -> About:
    """What a folder of the store says of itself.

    Raises:
        Damaged: it says nothing that can be understood.
    """
    try:
        return About.model_validate(read_json(folder / ABOUT))
    except ValidationError as error:
        raise Damaged(f"{ABOUT}: {error.error_count()} fields are not as they were written") from None


def read_array(folder: Path, name: str, about: About) -> np.ndarray:
    """An array of a folder, mapped, after its values were compared with their hash; once per state of the file.

    Raises:
        Damaged: missing, of another shape or type, or with other values.
    """
    path = folder / name
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        if name == array_name(about.side) and (array.shape, array.dtype) != (about.shape, np.dtype(about.dtype)):
            raise Damaged(f"{name} holds {array.dtype} {array.shape}, expected {about.dtype} {about.shape}")
        offset = path.stat().st_size - array.nbytes
        [[found]] = facts.remembered(
            "feature-values-1",
            [path],
            [facts.signature(path)],
            lambda file: [_hash(file, offset, array.nbytes).hexdigest()],
            f"checking {name}",
        )
    except Damaged:
        raise
    except (OSError, ValueError, EOFError, AttributeError, InvalidDataset) as error:  # AttributeError: an archive
        raise Damaged(f"{name}: {error}") from None
    if found != about.sha256.get(name):
        raise Damaged(f"the values of {name} are not those that were written")
    return array


def _hash(path: Path, start: int, count: int) -> Any:
    """SHA-256 of some bytes of a file.

    Raises:
        Damaged: the file is shorter.
    """
    found, left = hashlib.sha256(), count
    with path.open("rb") as file:
        file.seek(start)
        while left:
            block = file.read(min(left, 2**24))
            if not block:
                raise Damaged(f"{path.name} ends early")
            found.update(block)
            left -= len(block)
    return found


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """NumPy's header of an array, which takes the room that was left for it."""
    header = io.BytesIO()
    told = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, told)
    assert len(header.getvalue()) == _HEADER, f"a header of {len(header.getvalue())} bytes"
    return header.getvalue()
