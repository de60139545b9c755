"""Pickles of plain values and arrays of numbers, read without running any code that they name.

An array in a pickle is a call of numpy's constructors. Here stand-ins take these calls and only remember what they were
told: nothing of numpy runs, no memory is taken for a shape that a file merely declares, and any other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.errors import one_line
from harness.files.reading import Damaged, require_file

#: Opcodes of pickle that a dictionary of numbers and arrays needs, protocols 2 to 5. None imports or calls by itself.
_OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "LONG1"),
        *(
            "BININT",
            "BININT1",
            "BININT2",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "BINSTRING",
            "SHORT_BINSTRING",
        ),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
_NUMBERS = re.compile(r"[fiub][1248]")


class NumpyType:
    """Stands in for numpy.dtype: remembers its code and byte order."""

    def __init__(self, code: str, *_: Any):
        if not isinstance(code, str):
            raise ValueError("a numpy type without a name")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    @property
    def number(self) -> np.dtype:
        """The numpy type of a number: floats, integers, booleans."""
        if not _NUMBERS.fullmatch(self.code):
            raise ValueError(f"values of type {self.code[:20]!r}, which are no numbers")
        return np.dtype(self.order + self.code)


class NumpyArray:
    """Stands in for numpy.ndarray: `__setstate__` receives shape, type and bytes, and `value` is the array."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if isinstance(content, list):  # an array of objects: what `numpy.save` makes of a dictionary
            if shape != () or len(content) != 1:
                raise ValueError(f"an array of {len(content)} Python objects; one is expected")
            self.value = content[0]
        else:
            self.value = _array(content, kind, shape, "F" if fortran else "C")


def numpy_number(kind: NumpyType, content: bytes | str) -> float | int:
    """Stands in for numpy's scalar constructor: the number in its bytes."""
    return np.frombuffer(_bytes(content), dtype=kind.number, count=1)[0].item()


def encoded(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, by which protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError(f"a text in {encoding!r:.20}")
    return text.encode("latin1")


def _reconstruct(*_: Any) -> NumpyArray:
    return NumpyArray()


def _from_buffer(content: Any, kind: NumpyType, shape: Any, order: str) -> NumpyArray:
    found = NumpyArray()
    found.value = _array(content, kind, shape, order)
    return found


class Constructor:
    """A function that a pickle may call and do nothing else with: its attributes stay as they are."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]):
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a function")


#: The names that a pickle may ask for, and what it gets instead. numpy 2 spells `core` as `_core`.
STAND_INS: dict[str, Any] = {
    "numpy.dtype": NumpyType,
    "numpy.ndarray": NumpyArray,
    "_codecs.encode": Constructor(encoded),
    **{f"numpy.{core}.multiarray._reconstruct": Constructor(_reconstruct) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": Constructor(numpy_number) for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": Constructor(_from_buffer) for core in ("core", "_core")},
}


class Refused(ValueError):
    """A pickle that asks for code."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = STAND_INS.get(f"{module}.{name}")
        if found is None:
            raise Refused(f"its pickle asks for {one_line(f'{module}.{name}', 80)}")
        return found


def read_plain_pickle(path: Path) -> Any:
    """The value of a pickle, or of a `.npy` file of one Python object.

    Args:
        path: dictionaries, lists, tuples, text, numbers, and numpy arrays and scalars of numbers, protocol 2 to 5.

    Returns:
        The value; arrays are numpy arrays of floats, integers or booleans.

    Raises:
        Damaged: anything else, in one line; code that it asks for is never run.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            start = _start(file)
            _check_opcodes(file)
            file.seek(start)
            return plain(_Reader(file, fix_imports=False, encoding="latin1").load())
    except Damaged:
        raise
    except Refused as error:
        raise Damaged(f"{error}, and no pickled code is ever executed") from None
    except MemoryError:
        raise Damaged("it needs more memory than there is") from None
    except Exception as error:  # arbitrary bytes: whatever the reader stumbles over, the file is bad
        raise Damaged(f"it is damaged, or holds more than numbers: {one_line(error, 120)}") from None


def plain(value: Any) -> Any:
    """A value with its arrays in place of their stand-ins, dictionaries and sequences included (three levels deep)."""
    return _plain(value, 3, {})


def _plain(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    """`known` holds what was made of each object: a list that stands in many places is gone through once."""
    key = (id(value), depth)
    if key not in known:
        known[key] = _made_plain(value, depth, known)
    return known[key]


def _made_plain(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    if isinstance(value, NumpyArray):
        value = value.value
    if isinstance(value, (NumpyType, Constructor, type)):
        raise ValueError("a name where a value is expected")
    if not depth:
        return value
    if isinstance(value, dict):
        return {key: _plain(item, depth - 1, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, depth - 1, known) for item in value)
    return value


def _start(file: BinaryIO) -> int:
    """Where the pickle begins: after the header of a `.npy` file, or at once."""
    if file.read(6) != b"\x93NUMPY":
        file.seek(0)
        return 0
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype != np.dtype(object) or shape != ():
        wanted = "numbers, or one dictionary such as {'npts', 'sims'}"
        raise Damaged(f"it holds an array of {dtype} of shape {shape}, expected {wanted}")
    return file.tell()


def _check_opcodes(file: io.BufferedReader | BinaryIO) -> None:
    """Refuse a pickle with an instruction that plain values do not need, before any of it is carried out."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name not in _OPCODES:
            raise Damaged(f"its pickle holds the instruction {opcode.name}, which plain numbers do not need")
        if opcode.name == "LONG_BINPUT" and (argument or 0) > count:  # it would take memory for as many entries
            raise Damaged("its pickle is damaged: it numbers a value beyond those that it has")


def _array(content: Any, kind: NumpyType, shape: Any, order: str) -> np.ndarray:
    if not isinstance(kind, NumpyType):
        raise ValueError("an array of an unknown type")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape) or order not in ("C", "F"):
        raise ValueError("an array without a shape")
    data = _bytes(content)
    if math.prod(shape) * kind.number.itemsize != len(data):  # Python integers: no overflow
        raise ValueError(f"an array of shape {shape} in {len(data):,} bytes")
    return np.frombuffer(data, dtype=kind.number).reshape(shape, order=order)  # type: ignore[call-overload]


def _bytes(content: Any) -> bytes | bytearray:
    data = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError(f"numbers given as {type(content).__name__}")
    return data
