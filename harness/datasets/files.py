"""Reading a dataset's files: every failure is one line that names the file, and no path leaves the dataset's root."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from harness.datasets.base import DatasetConfig
from harness.datasets.store.facts import signature
from harness.errors import InvalidDataset, counted
from harness.files.reading import Damaged
from harness.files.reading import parse_json as parse_strictly

T = TypeVar("T")
_PRINTED_BYTES = re.compile(r"""b(['"]).*\1""")


class FolderConfig(DatasetConfig):
    """Settings shared by datasets that lie in a folder."""

    root: str = Field(min_length=1, description="the dataset's folder")
    max_train_images: int | None = Field(
        None, ge=1, description="take the first images only, in file order; null = all"
    )
    max_val_images: int | None = Field(None, ge=1, description="as max_train_images")
    max_test_images: int | None = Field(None, ge=1, description="as max_train_images")

    def limit(self, split: str) -> int | None:
        """The largest number of images of a split; None = no limit."""
        limit: int | None = getattr(self, f"max_{split}_images")
        return limit


def dataset_root(root: str) -> Path:
    """The dataset's folder.

    Raises:
        InvalidDataset: it is not one.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise InvalidDataset(
            f"dataset folder {folder} {problem}; set dataset.root to the folder that holds the dataset"
        )
    return folder


def first_name(root: Path, pattern: str) -> str | None:
    """The first name in a folder that fits a pattern, the evidence of a layout; None where none does.

    Args:
        root: the folder.
        pattern: of one name, such as `dataset_*.json`.
    """
    return min((path.name for path in root.glob(pattern)), default=None)


def within(root: Path, relative: str, told_by: str) -> Path:
    """A path below `root`.

    Args:
        root: the dataset's folder.
        relative: a path with forward slashes, as a spec or a dataset's file gives it.
        told_by: who gives it, for the message.

    Raises:
        InvalidDataset: it is absolute, climbs with `..`, or is no path. Links are checked by `require_inside`.

    >>> str(within(Path("data"), "images/1.jpg", "dataset.annotation"))
    'data/images/1.jpg'
    """
    parts = [part for part in relative.split("/") if part not in ("", ".")]  # not pathlib: COCO has 123,287 of them
    climbs = relative.startswith("/") or ".." in parts or not parts
    # A drive letter or a backslash would climb on Windows only, so it is refused everywhere.
    if climbs or any(c in relative for c in "\\\0") or ":" in parts[0]:
        raise InvalidDataset(
            f"{told_by} names the path {relative!r}, which leaves {root}; paths must lie below the root"
        )
    return root / "/".join(parts)


def require_inside(root: Path, path: Path) -> Path:
    """The path itself; refused if a link on its way leads out of the root.

    Raises:
        InvalidDataset: they do.
    """
    real, inside = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath((real, inside)) != inside:
        raise InvalidDataset(
            f"{path} is a link to {real}, which leaves {root}; copy what it leads to below the root, or set dataset.root "
            "to a folder that holds both"
        )
    return path


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        InvalidDataset: missing, unreadable, or a FIFO or device.
    """
    signature(path)  # before it is opened: a FIFO would block
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidDataset(f"cannot read {path}: {error.strerror or error}") from None


def read_lines(path: Path) -> tuple[list[str], str]:
    """The lines of a UTF-8 text file, whose line ends may be LF, CR LF or CR.

    Returns:
        The stripped lines without blank ones at the end, and what an error about their number should add: how many those
        were, "" if none.

    Raises:
        InvalidDataset: missing, unreadable, not UTF-8, or with CR line ends beside others.
    """
    try:
        text = re.sub(r"\r+\n", "\n", read_bytes(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    if "\r" in text:
        if "\n" in text:
            raise InvalidDataset(f"{path} ends some lines by LF and others by CR; give it one kind of line end")
        text = text.replace("\r", "\n")
    # Not splitlines(): a caption may hold a separator that only Unicode takes for the end of a line.
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    count = len(lines)
    while lines and not lines[-1]:
        lines.pop()
    blank = count - len(lines) if lines else 0
    left_out = f"{counted(blank, 'blank line')} at its end left out"
    return lines, f" ({left_out}: a caption without words cannot be the last one)" if blank else ""


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """A JSON object.

    Args:
        content: the file's bytes.
        path: the file, for the message.

    Raises:
        InvalidDataset: malformed, truncated, a key twice, or not an object.
    """
    return _parsed(content, path, dict, "object")


def parse_json_list(content: bytes, path: Path) -> list[Any]:
    """A JSON list. Arguments and errors as `parse_json`."""
    return _parsed(content, path, list, "list")


def _parsed(content: bytes, path: Path, kind: type[T], called: str) -> T:
    try:
        value = parse_strictly(content)
    except Damaged as error:
        raise InvalidDataset(f"cannot read {path} as JSON: {error}") from None
    if not isinstance(value, kind):
        raise InvalidDataset(f"{path} must hold a JSON {called}, got {type(value).__name__}")
    return value


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a regular file; none where it cannot be read. For recognising a layout, which never fails."""
    try:
        if not path.is_file():  # a FIFO would block
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def refuse_printed_bytes(captions: Sequence[str], path: Path) -> None:
    """Refuse captions that are bytes as Python prints them (`b'a man'`): a port to Python 3 wrote them.

    Raises:
        InvalidDataset: their number and the first.
    """
    printed = [number for number, caption in enumerate(captions, 1) if _PRINTED_BYTES.fullmatch(caption)]
    if printed:
        raise InvalidDataset(
            f"{path}: {len(printed)} captions are bytes printed by Python (line {printed[0]}: {captions[printed[0] - 1]:.40}); "
            "write the text itself, decoded from UTF-8"
        )
