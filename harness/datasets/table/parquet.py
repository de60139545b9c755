"""Parquet files: their rows without the pictures, and the pictures of single rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.datasets.files import require_inside
from harness.datasets.store import facts
from harness.errors import InvalidDataset, reported_as

if TYPE_CHECKING:
    import pyarrow.parquet as pq

IMAGE = "image"
_KEPT = 2  #: row groups whose pictures stay in memory: threads that read on meet the border of two


@dataclass(frozen=True)
class Cell:
    """Where the bytes of a picture lie: a row of a row group of a file."""

    file: Path
    group: int
    row: int
    name: str
    column: str = IMAGE

    @property
    def label(self) -> Path:
        """The file and the picture's name as one path, for messages."""
        return self.file / self.name


def rows_of(path: Path, pictures: Sequence[str] = (IMAGE,)) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The rows of a file as Python values, without the pictures; with each the row group and the row in it.

    Where a column holds pictures, its value is the dictionary of what is told of them (`path`), or an empty one.

    Args:
        path: the file.
        pictures: columns that may hold pictures.

    Raises:
        InvalidDataset: no Parquet file, or cut off.
    """
    facts.signature(path)  # before it is opened: a FIFO would block
    with (
        reported_as(InvalidDataset, f"{path} cannot be read as a Parquet file", "download it again"),
        _opened(path) as file,
    ):
        schema = file.schema_arrow
        columns = [leaf for name in schema.names for leaf in _leaves(schema, name, pictures)]
        blank = [name for name in pictures if holds_pictures(file, name)]
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            for row, values in enumerate(table.to_pylist()):
                yield {**{name: {} for name in blank}, **values}, group, row


def holds_pictures(file: pq.ParquetFile, column: str = IMAGE) -> bool:
    """Whether a column holds bytes, as a struct with `bytes` or by itself."""
    return _picture_column(file, column) is not None


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of a file's columns; none where it cannot be read. For recognising a layout, which never fails."""
    try:
        facts.signature(path)
        with _opened(path) as file:
            return tuple(file.schema_arrow.names)
    except Exception:  # pyarrow raises many kinds
        return ()


class ImageCells:
    """Images that are cells of Parquet files; see `harness.datasets.photographs.sources.ImageSource`.

    Args:
        root: the folder that no link may leave.
        cells: one per image.
    """

    def __init__(self, root: Path, cells: Sequence[Cell]):
        self._root, self._cells = root, cells
        self.labels = [cell.label for cell in cells]
        self._lock = threading.Lock()
        self._groups: dict[tuple[Path, int, str], Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process nothing is in memory yet, and the lock is its own."""
        return ImageCells, (self._root, self._cells)

    def marks(self) -> list[facts.Signature]:
        files = {cell.file for cell in self._cells}
        signatures = {file: facts.signature(require_inside(self._root, file)) for file in files}
        return [[*signatures[cell.file], cell.group, cell.row] for cell in self._cells]

    def read(self, row: int) -> bytes:
        cell = self._cells[row]
        content = self._pictures(cell)[cell.row].as_py()
        if not isinstance(content, bytes):
            raise InvalidDataset(f"image {cell.label} has no bytes in its row")
        return content

    def _pictures(self, cell: Cell) -> Any:
        """The column of pictures of a row group."""
        key = cell.file, cell.group, cell.column
        with self._lock:
            if key not in self._groups:
                while len(self._groups) >= _KEPT:
                    del self._groups[next(iter(self._groups))]
                self._groups[key] = _read_pictures(cell)
            return self._groups[key]


def _read_pictures(cell: Cell) -> Any:
    with reported_as(InvalidDataset, f"{cell.file} cannot be read", "download it again"), _opened(cell.file) as file:
        column = _picture_column(file, cell.column)
        if column is None:
            raise InvalidDataset(f"{cell.file} holds no pictures any more; call the command again")
        pictures = file.read_row_group(cell.group, columns=[column]).column(0).combine_chunks()
        return pictures.field("bytes") if column != cell.column else pictures


def _opened(path: Path) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path)


def _picture_column(file: pq.ParquetFile, name: str) -> str | None:
    import pyarrow as pa

    schema = file.schema_arrow
    if name not in schema.names:
        return None
    kind = schema.field(name).type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return name
    held = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return f"{name}.bytes" if held else None


def _leaves(schema: Any, name: str, pictures: Sequence[str]) -> list[str]:
    """What is read of a column: all of it, or of pictures only what is told of them."""
    import pyarrow as pa

    kind = schema.field(name).type
    if name not in pictures:
        return [name]
    if pa.types.is_struct(kind):
        return [f"{name}.{field.name}" for field in kind if field.name != "bytes"]
    return []
