"""An index on disk: a folder of plain arrays that are mapped, not read, and a header with their shapes and checksums.

`features.bin` holds the real fragments of all distinct items one after the other, without padding, `lengths.bin` how many
each of them has, and `places.bin` which of them each item is. The folder is written item by item and gets its name when it
is whole.

Shape letters: N items, P real fragments of all items, F of the longest, D width.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from harness.errors import InvalidIndex, ResultsNotWritable, one_line
from harness.files.hashing import sha256_file
from harness.files.reading import Damaged, read_json
from harness.files.writing import remove_leftovers, temporary_path
from harness.fragments import Fragments
from harness.scoring.distinct import digest
from harness.scoring.index.kept import ORIGINAL
from harness.settings.base import sha256_json
from harness.similarity.packed.codes import SCALE

HEADER, FORMAT = "index.json", 1
Gallery = Literal["images", "captions"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}
_NAMES = {dtype: name for name, dtype in DTYPES.items()} | {
    torch.bool: "bool",
    torch.int64: "int64",
    torch.uint8: "uint8",
}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


class StoredArray(BaseModel):
    """One file of an index."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dtype: str
    shape: tuple[int, ...]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    per_fragment: bool = False


class Header(BaseModel):
    """`index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    gallery: Gallery
    scorer: str
    scorer_sha256: str
    arrays: dict[str, StoredArray]
    ids: tuple[str, ...]
    sha256: str = ""

    @property
    def own_sha256(self) -> str:
        """Of all else in the header."""
        return sha256_json(self.model_dump(mode="json", exclude={"sha256"}))


@dataclass
class _File:
    path: Path
    dtype: torch.dtype
    tail: tuple[int, ...]
    per_fragment: bool
    count: int = 0

    def __post_init__(self) -> None:
        self.file, self.hash = open(self.path, "wb"), hashlib.sha256()  # noqa: SIM115 - closed by `closed` or by `IndexWriter.abandon`

    def append(self, values: Tensor) -> None:
        content = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        self.file.write(content)
        self.hash.update(content)
        self.count += len(values)

    def closed(self) -> StoredArray:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        shape = (self.count, *self.tail)
        return StoredArray(
            dtype=_NAMES[self.dtype], shape=shape, sha256=self.hash.hexdigest(), per_fragment=self.per_fragment
        )


class IndexWriter:
    """Writes an index item by item: more than fits in memory can be stored.

    Args:
        folder: that the index becomes; must not exist.
        gallery: what is searched.
        scorer, scorer_sha256: for whom it is.
        dtype: of the features; None = as they come.

    Raises:
        ResultsNotWritable: the folder exists or cannot be written.
    """

    def __init__(
        self, folder: Path | str, gallery: Gallery, scorer: str, scorer_sha256: str, dtype: torch.dtype | None = None
    ):
        self.folder, self._about = Path(folder), {"gallery": gallery, "scorer": scorer, "scorer_sha256": scorer_sha256}
        self._dtype, self._files, self._ids = dtype, dict[str, _File](), list[str]()
        self._places: dict[bytes, int] = {}  # of distinct items, by their digests
        if os.path.lexists(self.folder):
            raise ResultsNotWritable(f"{self.folder} exists already; name a folder that the index may become")
        self._making = temporary_path(self.folder)
        remove_leftovers(self.folder.parent, self.folder.name)
        try:
            self._making.mkdir(parents=True)
        except OSError as error:
            raise ResultsNotWritable(f"cannot write {self.folder}: {error.strerror or error}") from None

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._finish()
        else:
            self.abandon()

    def append(self, items: Fragments, ids: Sequence[str]) -> None:
        """Write some items, whose features, types and extras are of one kind throughout.

        Raises:
            InvalidIndex: other features or extras than those of the first items, or an id for each item is missing.
            ResultsNotWritable: the disk is full.
        """
        if len(ids) != len(items):
            raise InvalidIndex(f"{len(items)} items and {len(ids)} ids; give one id per item")
        if self._dtype is not None:
            items = Fragments.unchecked(items.features.to(self._dtype), items.mask, items.extras)
        new, places = [], []
        for item in range(len(items)):
            key = digest(items, item)
            if key not in self._places:
                self._places[key] = len(self._places)
                new.append(item)
            places.append(self._places[key])
        distinct = items if len(new) == len(items) else items[torch.tensor(new, dtype=torch.long)]
        try:
            self._file("places", torch.tensor(places), False).append(torch.tensor(places))
            for name, (values, per_fragment) in _arrays(distinct).items():
                self._file(name, values, per_fragment).append(values)
        except OSError as error:
            raise ResultsNotWritable(f"cannot write {self.folder}: {error.strerror or error}") from None
        self._ids += ids

    def require_own_ids(self) -> None:
        """Every item has an id of its own.

        Raises:
            InvalidIndex: an id occurs twice, named.
        """
        seen: set[str] = set()
        for name in self._ids:
            if name in seen:
                raise InvalidIndex(f"id {name!r:.60} occurs twice; every item of an index has its own")
            seen.add(name)

    def abandon(self) -> None:
        """Leave nothing behind."""
        for file in self._files.values():
            file.file.close()
        shutil.rmtree(self._making, ignore_errors=True)

    def _file(self, name: str, values: Tensor, per_fragment: bool) -> _File:
        tail = tuple(values.shape[1:])
        if name not in self._files:
            if self._ids:
                raise InvalidIndex(f"some items have '{name}' and others have not; an index holds items of one kind")
            self._files[name] = _File(self._making / f"{name}.bin", values.dtype, tail, per_fragment)
        file = self._files[name]
        if (file.dtype, file.tail) != (values.dtype, tail):
            have, come = (f"{_NAMES.get(d, d)} {list(t)}" for d, t in ((file.dtype, file.tail), (values.dtype, tail)))
            raise InvalidIndex(
                f"'{name}' of some items is {come}, of those before {have}; an index holds items of one kind"
            )
        return file

    def _finish(self) -> None:
        if not self._ids:
            self.abandon()
            raise InvalidIndex("an index without items; append some")
        try:
            arrays = {name: file.closed() for name, file in self._files.items()}
            header = Header(arrays=arrays, ids=tuple(self._ids), **self._about)
            header = header.model_copy(update={"sha256": header.own_sha256})
            (self._making / HEADER).write_text(header.model_dump_json(), encoding="utf-8")
            os.rename(self._making, self.folder)
        except OSError as error:
            self.abandon()
            raise ResultsNotWritable(f"cannot write {self.folder}: {error.strerror or error}") from None


def read_stored(folder: Path | str, *, check: bool = False) -> tuple[Header, Fragments, Tensor]:
    """The header, the distinct items of an index, and the place of each item among them (N,).

    The items are mapped from their files. Those of several lengths are padded copies in memory.

    Args:
        folder: of the index.
        check: compare the checksum of every file, which reads them whole.

    Raises:
        InvalidIndex: no index, or a file that is missing, cut off or changed.
    """
    folder = Path(folder)
    try:
        header = Header.model_validate(read_json(folder / HEADER))
    except (Damaged, OSError) as error:
        raise InvalidIndex(f"{folder} is no index: {HEADER}: {error}") from None
    except ValidationError as error:
        raise InvalidIndex(f"{folder / HEADER} is damaged or of another version: {one_line(error, 200)}") from None
    if header.format != FORMAT:
        raise InvalidIndex(f"{folder} has format {header.format}, this version reads {FORMAT}; build it again")
    if header.sha256 != header.own_sha256:
        raise InvalidIndex(f"{folder / HEADER} was changed: its sha256 is not the stated one; build the index again")
    arrays = {name: _mapped(folder, name, array, check) for name, array in header.arrays.items()}
    places = arrays.pop("places", None)
    whole = {"features", "lengths"} <= arrays.keys() and places is not None and len(places) == len(header.ids)
    if not whole or places is None or not bool(((places >= 0) & (places < len(arrays["lengths"]))).all()):
        raise InvalidIndex(f"{folder} does not hold the features of its {len(header.ids):,} items; build it again")
    lengths, rows = arrays["lengths"], arrays["features"]
    if not len(lengths) or int(lengths.min()) < 1 or int(lengths.sum()) != len(rows) or rows.dim() != 2:
        raise InvalidIndex(
            f"{folder} contradicts itself: the lengths of its items are not those of its features; build it again"
        )
    items = _fragments(arrays, header)
    if items.features.dtype == torch.int8 and SCALE not in items.extras:
        raise InvalidIndex(f"{folder} holds codes without their scales; build it again")
    return header, items, places


def _mapped(folder: Path, name: str, array: StoredArray, check: bool) -> Tensor:
    path = folder / f"{name}.bin"
    if Path(name).name != name or array.dtype not in _TYPES:
        raise InvalidIndex(f"{folder / HEADER} names an array '{one_line(name, 60)}' of {one_line(array.dtype, 30)}")
    dtype = _TYPES[array.dtype]
    size = int(np.prod(array.shape, dtype=np.int64)) * dtype.itemsize
    try:
        found = path.stat().st_size
    except OSError as error:
        raise InvalidIndex(f"{path}: {error.strerror or error}; build the index again") from None
    if found != size:
        raise InvalidIndex(f"{path} has {found:,} bytes, {size:,} are stated: it was cut off; build the index again")
    if check and sha256_file(path) != array.sha256:
        raise InvalidIndex(f"{path} was changed: its sha256 is not the stated one; build the index again")
    # Copy on write: torch warns of memory that cannot be written.
    return torch.from_numpy(np.memmap(path, np.uint8, "c")).view(dtype).view(array.shape)


def _arrays(items: Fragments) -> dict[str, tuple[Tensor, bool]]:
    """What is written of some items, and whether it has an entry per fragment; padding is left out."""
    mask = items.mask
    found = {"lengths": (items.lengths, False), "features": (items.features[mask], True)}
    for name, values in items.extras.items():
        per_fragment = values.shape == mask.shape or name == ORIGINAL
        found[f"extra-{name}"] = (values[mask] if per_fragment else values, per_fragment)
    return found


def _fragments(arrays: dict[str, Tensor], header: Header) -> Fragments:
    lengths = arrays.pop("lengths")
    longest = int(lengths.max())
    mask = torch.arange(longest) < lengths[:, None]
    even = bool((lengths == longest).all())

    def placed(values: Tensor) -> Tensor:
        if even:  # a view: nothing is read
            return values.view(len(lengths), longest, *values.shape[1:])
        padded = values.new_zeros(len(lengths), longest, *values.shape[1:])
        padded[mask] = values
        return padded

    features = placed(arrays.pop("features"))
    extras = {
        name.removeprefix("extra-"): placed(values) if header.arrays[name].per_fragment else values
        for name, values in arrays.items()
    }
    return Fragments.unchecked(features, mask, extras)


def scorer_sha256(scorer: Any) -> str:
    """A hash of all that decides what a scorer gives: its class, its settings and its weights."""
    found = hashlib.sha256(f"{type(scorer).__qualname__} {scorer.config.model_dump_json()}".encode())
    for name, tensor in sorted(scorer.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def as_blocks(items: Fragments | Iterable[Fragments]) -> Iterable[Fragments]:
    """One block or many as many."""
    return [items] if isinstance(items, Fragments) else items
