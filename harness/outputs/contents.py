"""What a file of results holds: named arrays and values, whatever the container. No pickle is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.errors import InvalidCheckpoint, InvalidSimilarity, one_line
from harness.files.extras import needed_for
from harness.files.kinds import identify, mismatch
from harness.files.pickles import read_plain_pickle
from harness.files.reading import Damaged, read_arrays, read_json
from harness.outputs.texts import read_matrix_text

#: The name of the only array of a file that has no names.
UNNAMED = ""
#: Largest unpacked archive and largest JSON file, in bytes: COCO's 5,000 x 25,000 scores in float64 take 1.0e9.
_LARGEST_ARCHIVE, _LARGEST_JSON = 2**33, 2**30


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Args:
        path: the file.
        kind: its kind, see `harness.files.kinds`.
        values: by name; arrays are numpy arrays. A file of one array or value has it under `UNNAMED`.
        precision: see `Output.precision`.
    """

    path: Path
    kind: str
    values: Mapping[str, Any]
    precision: str = ""

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The values that are arrays."""
        return {name: value for name, value in self.values.items() if isinstance(value, np.ndarray)}

    def refuse(self, problem: str) -> InvalidSimilarity:
        """An error about this file."""
        return InvalidSimilarity(f"{self.path} {problem}")


def read_contents(path: Path) -> Contents:
    """Read a file of results; plain `.npy` files are memory-mapped.

    Raises:
        InvalidSimilarity: missing, damaged, of another kind, or a pickle that asks for code.
    """
    require_contents(path)
    kind = identify(path).key
    try:
        values, precision = READERS[kind](path)
    except (Damaged, InvalidCheckpoint) as error:
        complaint = str(error)
        raise InvalidSimilarity(
            complaint if complaint.startswith(str(path)) else f"{path} cannot be read: {complaint}"
        ) from None
    return Contents(path, kind, values, precision)


def require_contents(path: Path) -> None:
    """Refuse a file that is missing or of a kind that holds no results, before anything is spent on its dataset.

    Raises:
        InvalidSimilarity: naming what the file is and what to do.
    """
    kind = identify(path).key
    if kind not in READERS:
        raise InvalidSimilarity(mismatch(path, EXPECTED, _ADVICE.get(kind, "docs/outputs.md lists the shapes")))


def _npy(path: Path) -> tuple[dict[str, Any], str]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # truncated, or types that cannot be mapped
        raise InvalidSimilarity(
            f"{path} cannot be read as an array of numbers: {one_line(error, 120)}; write it again"
        ) from None
    return {UNNAMED: values}, ""


def _named(value: Any) -> tuple[dict[str, Any], str]:
    return ({str(name): item for name, item in value.items()} if isinstance(value, Mapping) else {UNNAMED: value}), ""


def _pickle(path: Path) -> tuple[dict[str, Any], str]:
    return _named(read_plain_pickle(path))


def _npz(path: Path) -> tuple[dict[str, Any], str]:
    return dict(read_arrays(path, _LARGEST_ARCHIVE)), ""


def _safetensors(path: Path) -> tuple[dict[str, Any], str]:
    return _tensor_files(path).read_safetensors(path), ""


def _torch(path: Path) -> tuple[dict[str, Any], str]:
    return _named(_tensor_files(path).read_torch(path))


def _tensor_files(path: Path) -> ModuleType:
    """The readers that need torch.

    Raises:
        MissingPackage: there is none.
    """
    with needed_for(f"{path}, a file of tensors,"):
        from harness.outputs import tensor_files  # here, not above: arrays need no torch
    return tensor_files


def _json(path: Path) -> tuple[dict[str, Any], str]:
    return _named(read_json(path, _LARGEST_JSON))


def _numbers(path: Path) -> tuple[dict[str, Any], str]:
    values, decimals = read_matrix_text(path)
    return {UNNAMED: values}, f"{decimals} decimals"


#: Kind of a file -> its named values, and the precision of its numbers where that is low.
READERS: dict[str, Callable[[Path], tuple[dict[str, Any], str]]] = {
    "npy": _npy,
    "npy-objects": _pickle,
    "pickle": _pickle,
    "npz": _npz,
    "safetensors": _safetensors,
    "torch": _torch,
    "json": _json,
    "numbers": _numbers,
    "csv": _numbers,
}
EXPECTED = "scores, embeddings, ranks or candidate lists (.npy, .npz, .txt, .json, .safetensors, .pt, TREC runs)"
_ADVICE = {
    "yaml": "results come before the options, the dataset after --dataset",
    "hdf5": "save the arrays with numpy.savez",
    "binary": "a raw memory map has no shape: open it in the program that made it and save it with numpy.save",
}
