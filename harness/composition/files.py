"""Reading the files of suites: bounded, strict, and every failure one line that names the file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from harness.datasets.files import dataset_root, head, require_inside
from harness.datasets.schema import checked
from harness.errors import InvalidDataset
from harness.files.reading import LARGEST_JSON, Damaged, read_json, require_file

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)


def suite_root(folder: Path) -> Path:
    """The folder of a suite.

    Raises:
        InvalidDataset: it is not one.
    """
    if not folder.expanduser().is_dir():
        problem = "is not a folder" if folder.expanduser().exists() else "does not exist"
        raise InvalidDataset(f"{folder} {problem}; name the folder that holds the suite's files and pictures")
    return dataset_root(str(folder))


def find_files(root: Path, folders: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """The files of some names in the first of some folders that holds any of them.

    Args:
        root: the suite's folder.
        folders: below it, "" for itself.
        names: of the files.

    Raises:
        InvalidDataset: one is a link that leaves the root.
    """
    for folder in folders:
        found = {name: root / folder / name for name in names if (root / folder / name).is_file()}
        if found:
            return {name: require_inside(root, path) for name, path in found.items()}
    return {}


def starts_with(path: Path, mark: str) -> bool:
    """Whether the first character of a text file that is no white space is this one; for recognising, never fails."""
    return head(path).decode("utf-8-sig", "replace").lstrip().startswith(mark)


def bounded(path: Path) -> None:
    """Refuse a file that is larger than any of a suite.

    Raises:
        InvalidDataset: says how large it is.
    """
    try:
        size = require_file(path).st_size
    except Damaged as error:
        raise InvalidDataset(f"cannot read {path}: {error}") from None
    if size > LARGEST_JSON:
        raise InvalidDataset(f"{path} has {size:,} bytes, expected at most {LARGEST_JSON:,}")


def read(path: Path) -> Any:
    """The value in a JSON file of bounded size.

    Raises:
        InvalidDataset: missing, too large, or no strict JSON.
    """
    try:
        return read_json(path)
    except Damaged as error:
        raise InvalidDataset(f"cannot read {path} as JSON: {error}") from None


def rows(path: Path, model: type[M], expected: str) -> Iterator[tuple[str, M]]:
    """The rows of a JSON list or of an object of rows, each with its place in the list or its key.

    Raises:
        InvalidDataset: neither, or a row that does not fit; names the row and the field.
    """
    value = read(path)
    if not isinstance(value, list | dict):
        raise InvalidDataset(f"{path} must hold a JSON list or object of rows, got {type(value).__name__}")
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, row in pairs:
        yield str(key), checked(model, row, f"{path}: row {str(key)!r:.60}", expected)
