"""Reading back: one reader of JSON and one of `.npz`, for files that may be damaged.

Nothing in a file is executed, and no file makes a reader exceed a memory bound, wait, or recurse.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import one_line

#: Largest JSON file and largest unpacked archive, in bytes. Ranks of 5,000 images and 25,000 captions take 20 MB.
LARGEST_JSON, LARGEST_ARRAYS = 64 * 2**20, 2**30
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Damaged(ValueError):
    """A file that is not what it should be; the message says what is wrong, without the file's name."""


def require_file(path: Path) -> os.stat_result:
    """The state of a regular file.

    Raises:
        Damaged: missing, unreadable, or a folder, a pipe or a device.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise Damaged(getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise Damaged(f"it is {kind}; a file is expected")
    return status


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """The value in a JSON file of at most `largest` bytes, read as `parse_json` does.

    Raises:
        Damaged: anything else.
    """
    size = require_file(path).st_size
    if size > largest:
        raise Damaged(f"it has {size:,} bytes, expected at most {largest:,}")
    with _explained("it cannot be read"):
        content = path.read_bytes()
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text (UTF-8), read strictly.

    Raises:
        Damaged: not JSON, a key twice in one object, NaN or infinity, or nested too deeply.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    harness.files.reading.Damaged: the key 'a' stands twice in one object
    """
    with _explained("it is not valid JSON"):
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_finite, parse_float=_finite)


def read_arrays(path: Path, largest: int = LARGEST_ARRAYS) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name; sizes are checked before anything is unpacked.

    Raises:
        Damaged: no whole archive of plain arrays, or one that unpacks to more than `largest` bytes.
    """
    require_file(path)
    with _explained("it is not a whole .npz archive"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise Damaged("it holds an array twice")
        total = sum(member.file_size for member in members)
        if total > largest:
            raise Damaged(f"it unpacks to {total:,} bytes, expected at most {largest:,}")
        return {_array_name(member.filename): _read_array(archive, member) for member in members}


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns whatever a reader makes of a damaged file into one line."""
    try:
        yield
    except Damaged:
        raise
    except RecursionError:
        raise Damaged("it is nested too deeply") from None
    except MemoryError:
        raise Damaged("it needs more memory than there is") from None
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from None
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError,
        SyntaxError, TypeError, OverflowError,
    ) as error:  # fmt: skip
        if isinstance(error, UnicodeDecodeError):
            byte = error.object[error.start]
            raise Damaged(f"{what}: byte {error.start:,} (0x{byte:02x}) is not UTF-8; save the file as UTF-8") from None
        raise Damaged(f"{what}: {one_line(error, 120)}") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Damaged(f"the key {twice!r:.60} stands twice in one object")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Damaged(f"it holds {text:.40}, which is not a finite number")
    return value


def _array_name(filename: str) -> str:
    if not filename.endswith(".npy"):
        raise Damaged(f"it holds {filename!r:.60}, which is no array")
    return filename.removesuffix(".npy")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise Damaged(f"{member.filename} has an unknown format of arrays, {version}")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise Damaged(f"{member.filename} holds Python objects, which are never read")
        expected = math.prod(shape) * dtype.itemsize  # Python integers: no overflow
        content = file.read(member.file_size)
        if len(content) != expected or file.read(1):
            raise Damaged(f"{member.filename} holds {len(content):,} bytes, its shape {shape} needs {expected:,}")
    array = np.frombuffer(bytearray(content), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
