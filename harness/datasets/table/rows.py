"""Rows of Parquet and CSV files: one photograph with its captions each, whatever the columns are called."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, InstanceOf, StrictStr

from harness.datasets.files import parse_json_list, read_bytes
from harness.datasets.schema import checked
from harness.datasets.table.parquet import IMAGE, Cell, rows_of
from harness.errors import InvalidDataset, counted

#: What is read -> what its column is called, the most usual name first.
NAMES = {
    "filename": ("filename", "file_name"),
    "captions": ("sentences", "caption", "captions", "raw"),
    "split": ("split",),
    "filepath": ("filepath",),
    "sentids": ("sentids",),
    "cocoid": ("cocoid",),
}
_LISTS = ("captions", "sentids")  #: in a CSV file a JSON list stands in the cell


class Row(BaseModel):
    """One photograph: its file, its captions, its split, and where the table holds its bytes, if it does."""

    model_config = ConfigDict(extra="forbid")

    filename: StrictStr
    captions: list[StrictStr]
    split: Literal["train", "restval", "val", "validation", "test"]
    filepath: StrictStr | None = None
    sentids: list[Any] | None = None
    cocoid: Any = None
    cell: InstanceOf[Cell] | None = None


def parquet_rows(path: Path, split: str | None) -> Iterator[Row]:
    """The rows of a Parquet file.

    Args:
        path: the file.
        split: of all rows, where no column says it.

    Raises:
        InvalidDataset: unreadable, or columns or values that do not fit.
    """
    for number, (values, group, row) in enumerate(rows_of(path)):
        where = f"{path}: row {number}"
        image = values.get(IMAGE)
        named = image.get("path") if isinstance(image, dict) else None
        picked = _picked(values, path, split, spare={"filename": named} if isinstance(named, str) else {})
        cell = None if image is None else Cell(path, group, row, str(picked["filename"]))
        yield _row({**picked, "captions": _texts(picked["captions"]), "cell": cell}, where)


def csv_rows(path: Path, split: str | None) -> Iterator[Row]:
    """The rows of a CSV file whose captions are a JSON list in a cell. Arguments and errors as `parquet_rows`."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
        for number, values in enumerate(csv.DictReader(io.StringIO(text, newline=""), strict=True), 2):
            where = f"{path}: row {number}"
            if None in values or None in values.values():
                raise InvalidDataset(f"{where} has not as many cells as the first line")
            picked = _picked(values, path, split)
            for name in _LISTS:
                if name in picked:
                    picked[name] = parse_json_list(str(picked[name]).encode(), Path(f"{where}, cell '{name}'"))
            yield _row(picked, where)
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise InvalidDataset(f"{path} cannot be read as CSV: {error}") from None


def _picked(
    values: Mapping[str, Any], path: Path, split: str | None, spare: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values that are read, by what they are."""
    columns = {what: next((name for name in names if name in values), None) for what, names in NAMES.items()}
    picked = {**(spare or {}), **{what: values[name] for what, name in columns.items() if name is not None}}
    if "split" not in picked and split is None:
        raise InvalidDataset(
            f"{path} has no column 'split'; its file name is no proof (a file of the hub's split test may hold all images): "
            "set dataset.split to train, val or test if all its rows are of one"
        )
    if "split" in picked and split is not None:
        raise InvalidDataset(
            f"{path} has a column 'split', which decides, so dataset.split={split} would be ignored; leave it out"
        )
    missing = [what for what in ("filename", "captions") if what not in picked]
    if missing:
        wanted = " and ".join(" or ".join(f"'{name}'" for name in NAMES[what]) for what in missing)
        raise InvalidDataset(f"{path} has no column {wanted}; it has {', '.join(map(str, values))}")
    return {"split": split, **picked}


def _texts(captions: Any) -> Any:
    """Captions as texts: a single one, texts, or Karpathy's sentences with a field `raw`."""
    if isinstance(captions, str):
        return [captions]
    if isinstance(captions, list) and all(isinstance(item, dict) and "raw" in item for item in captions):
        return [item["raw"] for item in captions]
    return captions


def _row(values: Mapping[str, Any], where: str) -> Row:
    row = checked(Row, values, where, "a row of Karpathy's splits")
    if not row.captions:
        raise InvalidDataset(f"{where} ('{row.filename:.60}') has no caption; each image needs at least one")
    if row.sentids is not None and len(row.sentids) != len(row.captions):
        raise InvalidDataset(
            f"{where} ('{row.filename:.60}') has {counted(len(row.captions), 'caption')} but {len(row.sentids)} sentids"
        )
    return row
