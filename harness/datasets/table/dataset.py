"""The dataset of Karpathy's splits as a table: `yerevann/coco-karpathy`, `nlphuji/flickr30k`, `flickr_annotations_30k.csv`.

The column `split` decides, not the hub's name of a split: the hub's `test` of `nlphuji/flickr30k` holds all 31,014 images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from harness.datasets.base import SPLITS, DatasetConfig
from harness.datasets.files import head, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig
from harness.datasets.photographs.places import find_place
from harness.datasets.photographs.sources import ImageFiles, ImageSource
from harness.datasets.published import published_name
from harness.datasets.table.parquet import Cell, ImageCells
from harness.datasets.table.rows import Row, csv_rows, parquet_rows
from harness.errors import InvalidDataset, counted

_PARQUET = (
    "*.parquet",
    "data/*.parquet",
    *(f"*/{s}/*.parquet" for s in ("train", "restval", "val", "validation", "test")),
)
_MAGIC = b"PAR1"
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")
_IMAGES = ("images", "flickr30k-images", "coco-images", "images_mscoco_2014_5k_test", "")
_SPLITS = {"validation": "val", "restval": "train"}


class TableConfig(TitledConfig):
    """Where the files are and how much of them is used."""

    table: str | None = Field(
        None,
        min_length=1,
        description="one Parquet or CSV file, below root; null = all Parquet files, or the only CSV file",
    )
    split: Literal["train", "val", "test"] | None = Field(
        None, description="the split of all rows, of tables without a column split"
    )
    restval: bool = Field(True, description="take COCO's restval images as training data, as the field does")


class Table(PhotographDataset):
    """Karpathy's splits as rows of Parquet or CSV files, whose column `split` decides; pictures in the table or beside it.

    Ids are those of layout karpathy: file names, and COCO's annotation ids where rows have a `cocoid`, else `<file>#k`.
    """

    Config: ClassVar[type[DatasetConfig]] = TableConfig
    config: TableConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Parquet files there, in `data/` or in `*/<split>/`; or a CSV file with the columns raw, split and filename."""
        return next((str(path.relative_to(root)) for path in [*_parquet_files(root), *_csv_files(root)]), None)

    @property
    def title(self) -> str:
        """As configured, else by a `cocoid` (mscoco), or the names of the CSV file and the folder."""
        return self.config.title or self._title

    def read(self) -> dict[str, list[Entry]]:
        files = _tables(self.root, self.config.table)
        self.source = files[0] if len(files) == 1 else self.root
        rows = [row for path in files for row in self._rows(path)]
        rows = [row for row in rows if row.split != "restval" or self.config.restval]
        self._title = _title(files[0], self.root, rows)
        self._cells: dict[str, Cell] = {}
        inside = [row.cell is not None for row in rows]
        if any(inside) and not all(inside):
            raise InvalidDataset(
                f"{self.root}: {counted(sum(inside), 'row')} of {len(rows):,} hold a picture; all must, or none"
            )
        files_of = self._embedded(rows) if any(inside) else self._beside(rows)
        entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
        for row, file in zip(rows, files_of, strict=True):
            entries[_SPLITS.get(row.split, row.split)].append(_entry(row, file))
        return entries

    def image_source(self, entries: Sequence[Entry]) -> ImageSource:
        """Cells of the table where it holds the pictures, else the files that it names."""
        if self._cells:
            return ImageCells(self.root, [self._cells[entry.file] for entry in entries])
        return ImageFiles(self.root, [entry.file for entry in entries])

    def _rows(self, path: Path) -> Iterator[Row]:
        return (csv_rows if path.suffix == ".csv" else parquet_rows)(path, self.config.split)

    def _embedded(self, rows: Sequence[Row]) -> list[str]:
        """Names of the pictures in the table."""
        if self.config.images is not None:
            raise InvalidDataset(f"{self.source} holds the pictures, so dataset.images would be ignored; leave it out")
        names = [f"{number}/{row.filename}" for number, row in enumerate(rows)]
        self._cells = {name: row.cell for name, row in zip(names, rows, strict=True) if row.cell is not None}
        return names

    def _beside(self, rows: Sequence[Row]) -> list[str]:
        """Paths of the image files, below the root."""
        files = ["/".join(part for part in (row.filepath, row.filename) if part) for row in rows]
        place = find_place(self.root, self.config.images, _IMAGES, files, str(self.source))
        return [place.path(file) for file in files]


def _entry(row: Row, file: str) -> Entry:
    own = row.sentids if row.cocoid is not None and row.sentids is not None else None
    ids = own or [f"{row.filename}#{number}" for number in range(len(row.captions))]
    return Entry(file, row.filename, tuple(row.captions), tuple(map(str, ids)))


def _tables(root: Path, given: str | None) -> list[Path]:
    """The files that are read."""
    if given is not None:
        return [require_inside(root, within(root, given, "dataset.table"))]
    parquet, tables = _parquet_files(root), _csv_files(root)
    if bool(parquet) == bool(tables) or len(tables) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in [*parquet, *tables]) or "none"
        raise InvalidDataset(
            f"{root} must hold Parquet files, or one CSV file with the columns raw, split and filename; found {names:.200}; "
            "set dataset.table to the right one"
        )
    _require_all_shards(parquet)
    return [require_inside(root, path) for path in parquet or tables]


def _require_all_shards(paths: Sequence[Path]) -> None:
    """Refuse some of the files that a table was cut into, as the hub names them: `test-00000-of-00009.parquet`.

    Raises:
        InvalidDataset: says how many are missing, and which is the first.
    """
    found: dict[tuple[Path, str, str], set[int]] = {}
    for path in paths:
        if name := _SHARD.fullmatch(path.name):
            found.setdefault((path.parent, name["stem"], name["count"]), set()).add(int(name["number"]))
    for (folder, stem, count), numbers in found.items():
        missing = [number for number in range(int(count)) if number not in numbers]
        if missing:
            raise InvalidDataset(
                f"{folder}: {len(missing)} of {int(count):,} files of '{stem}' are missing (first: "
                f"{stem}-{missing[0]:05}-of-{count}.parquet); download them too, or set dataset.table to the one that is meant"
            )


def _parquet_files(root: Path) -> list[Path]:
    found = {path for pattern in _PARQUET for path in root.glob(pattern)}
    return sorted(path for path in found if head(path, 4) == _MAGIC)


def _csv_files(root: Path) -> list[Path]:
    def columns(path: Path) -> set[str]:
        line = head(path, 1024).decode("utf-8-sig", "replace").partition("\n")[0]
        return {column.strip().strip('"') for column in line.split(",")}

    return [path for path in sorted(root.glob("*.csv")) if {"raw", "split", "filename"} <= columns(path)]


def _title(table: Path, root: Path, rows: Sequence[Row]) -> str:
    if any(row.cocoid is not None for row in rows):
        return "mscoco"
    folder = root.resolve().name.replace("-", "_")
    told = re.search(r"flickr\d+k|mscoco|flickr_annotations_(\d+)k", table.name if table.suffix == ".csv" else folder)
    if told is None:
        return published_name(folder)
    return f"flickr{told[1]}k" if told[1] else told[0]
