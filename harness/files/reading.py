"""Reading back: one reader of JSON and one of `.npz`, for files that anything may have happened to.

Nothing in a file is executed, and no file makes a reader take more memory than a bound, wait, or recurse.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

#: Largest JSON file and largest unpacked archive, in bytes. Ranks of 5,000 images and 25,000 captions take 20 MB.
LARGEST_JSON, LARGEST_ARRAYS = 64 * 2**20, 2**30


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
    """The value in a JSON file, read strictly: no key twice, no NaN or infinity, not too large and not too deep.

    Raises:
        Damaged: anything else.
    """
    size = require_file(path).st_size
    if size > largest:
        raise Damaged(f"it has {size:,} bytes, expected at most {largest:,}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_refuse_constant, parse_float=_finite)
    except Damaged:
        raise
    except RecursionError:
        raise Damaged("it is nested too deeply") from None
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from None
    except ValueError as error:  # no UTF-8, no JSON, an integer of thousands of digits
        raise Damaged(f"it is not valid JSON: {' '.join(str(error).split()):.120}") from None


def read_arrays(path: Path, largest: int = LARGEST_ARRAYS) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name; sizes are checked before anything is unpacked.

    Raises:
        Damaged: no whole archive of plain arrays, or one that unpacks to more than `largest` bytes.
    """
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names):
                raise Damaged("it holds an array twice")
            total = sum(member.file_size for member in members)
            if total > largest:
                raise Damaged(f"it unpacks to {total:,} bytes, expected at most {largest:,}")
            return {_array_name(member.filename): _read_array(archive, member) for member in members}
    except Damaged:
        raise
    except MemoryError:
        raise Damaged("it needs more memory than there is") from None
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from None
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError,
        SyntaxError, TypeError, OverflowError,
    ) as error:  # fmt: skip
        raise Damaged(f"it is not a whole .npz archive: {' '.join(str(error).split()):.120}") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Damaged(f"the key {twice!r:.60} stands twice in one object")
    return values


def _refuse_constant(name: str) -> None:
    raise Damaged(f"it holds {name}, which is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Damaged(f"it holds {text:.40}, which is too large for a number")
    return value


def _array_name(filename: str) -> str:
    if not filename.endswith(".npy"):
        raise Damaged(f"it holds {filename!r:.60}, which is no array")
    return filename.removesuffix(".npy")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is None:
            raise Damaged(f"{member.filename} has an unknown format of arrays, {version}")
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise Damaged(f"{member.filename} holds Python objects, which are never read")
        expected = math.prod(shape) * dtype.itemsize  # Python integers: no overflow
        content = file.read(member.file_size)
        if len(content) != expected or file.read(1):
            raise Damaged(f"{member.filename} holds {len(content):,} bytes, its shape {shape} needs {expected:,}")
    array = np.frombuffer(bytearray(content), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
