"""Flickr8k's and Flickr30K's own caption files with files of splits beside them; Kaggle's forms of the same.

Captions: `results_20130124.token`, `Flickr8k.token.txt` (`<file>#k<tab>caption`), `results.csv` (columns parted by `|`),
`captions.txt` (`image,caption`). Splits: `Flickr_8k.trainImages.txt` and its kin, or `train.txt`, `val.txt`, `test.txt` of
Flickr30k Entities, whose ids lack `.jpg`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.datasets.base import SPLITS, DatasetConfig
from harness.datasets.files import first_name, read_lines, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig
from harness.datasets.photographs.places import find_place
from harness.datasets.photographs.texts import unquoted
from harness.datasets.published import published_name
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

_CAPTIONS = re.compile(r"results(_\d+)?\.token|Flickr(8|30)k\.token\.txt|results\.csv|captions\.txt")
_SPLIT = re.compile(r"(?:Flickr_?(?:8|30)k\.(?P<part>train|dev|val|test)Images|(?P<whole>train|val|dev|test))\.txt")
_FOLDERS = ("", "Flickr8k_text", "flickr30k_images", "annotations", "splits", "flickr30k_entities")
_IMAGES = (
    "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images", "flickr30k_images",
    "flickr30k_images/flickr30k_images", "",
)  # fmt: skip
_NEEDED = (
    "Flickr_8k.trainImages.txt, .devImages.txt and .testImages.txt (of Flickr8k_text.zip), or train.txt, val.txt and "
    "test.txt (of Flickr30k Entities); with Karpathy's dataset_*.json instead, layout karpathy reads the folder"
)

#: What a line says: the image's file, the number of the caption (None = the next), the caption.
Line = tuple[str, int | None, str]


class FlickrTokensConfig(TitledConfig):
    """Where the files are and how much of them is used."""

    captions: str | None = Field(None, description="the file of the captions, below root; null = the only one there")
    splits: str | None = Field(None, description="the folder of the files of splits, below root; null = where they are")


class FlickrTokens(PhotographDataset):
    """Photographs with captions in Flickr's own files. Image ids are file names, caption ids `<file>#k` as in the file."""

    Config: ClassVar[type[DatasetConfig]] = FlickrTokensConfig
    config: FlickrTokensConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """A file of captions, and files of splits; without these, no JSON of Karpathy's that would give them."""
        captions, splits = _found(root, _CAPTIONS), _found(root, _SPLIT)
        if not captions or not (splits or first_name(root, "dataset_*.json") is None):
            return None
        beside = f" beside {splits[0].name}" if splits else ""
        return f"{captions[0].relative_to(root)}{beside}"

    @property
    def title(self) -> str:
        """As configured, else by the names of the files: `Flickr8k.token.txt` is flickr8k, `results.csv` flickr30k."""
        return self.config.title or self._title

    def read(self) -> dict[str, list[Entry]]:
        self.source = _captions_file(self.root, self.config.captions)
        splits = _split_files(self.root, self.config.splits, self.source)
        self._title = _title(self.root, self.source, splits)
        captions = read_captions(self.source)
        members = {split: _images_of(path, captions) for split, path in splits.items()}
        used = {file for files in members.values() for file in files}
        left = [file for file in captions if file not in used]
        if left:
            what = f"{counted(len(left), 'image')} of no split left out"
            logger.info("%s: %s (first: %s)", self.source, what, left[0])
        files = [file for own in members.values() for file in own]
        place = find_place(self.root, self.config.images, _IMAGES, files, str(self.source))
        return {
            split: [_entry(place.path(file), file, captions[file]) for file in own] for split, own in members.items()
        }


def read_captions(path: Path) -> dict[str, dict[int, str]]:
    """The captions of each image by their numbers, in the order of the file.

    Raises:
        InvalidDataset: a line that is none of the file's form, or a number twice for an image.
    """
    lines, _ = read_lines(path)
    images: dict[str, dict[int, str]] = {}
    parse, first = _form(lines[0] if lines else "", path)
    repaired = quoted = 0
    for number, line in enumerate(lines[first:], first + 1):
        if not line:
            continue
        found = parse(line)
        if found is None:
            found = _without_field(line) if parse is _piped else None
            repaired += 1
        if found is None:
            raise InvalidDataset(f"{path}: line {number} is not of the form of the others: {line!r:.80}")
        file, place, written = found
        caption = unquoted(written) if parse in (_comma, _numbered) else written
        quoted += caption != written
        own = images.setdefault(file, {})
        place = len(own) if place is None else place
        if place in own:
            raise InvalidDataset(f"{path}: line {number}: caption {place} of {file} stands twice")
        own[place] = caption
    if not images:
        raise InvalidDataset(f"{path} holds no captions")
    if repaired:
        logger.warning("%s: %s without a separator read as if it stood there", path, counted(repaired, "line"))
    if quoted:
        logger.info("%s: the quotation marks of a CSV table are taken off %s", path, counted(quoted, "caption"))
    return {file: dict(sorted(own.items())) for file, own in images.items()}


def _form(header: str, path: Path) -> tuple[Callable[[str], Line | None], int]:
    """How to read a line, and how many lines stand before the captions."""
    columns = [column.strip().lower() for column in re.split(r"[|,]", header)]
    if "|" in header and columns[0] == "image_name":
        return _piped, 1
    if columns == ["image", "caption"]:
        return _comma, 1
    if columns == ["image_name", "comment_number", "comment"]:
        return _numbered, 1
    if _token(header) is not None:
        return _token, 0
    raise InvalidDataset(
        f"{path}: the first line is {header!r:.60}; expected <file>#0<tab>caption, or the header image,caption or "
        "image_name|comment_number|comment"
    )


def _token(line: str) -> Line | None:
    r"""`1.jpg#0<tab>A dog .`

    >>> _token("1.jpg#0\tA dog .")
    ('1.jpg', 0, 'A dog .')
    """
    key, tab, caption = line.partition("\t")
    file, _, number = key.rpartition("#")
    return (file, int(number), caption) if tab and file and number.isascii() and number.isdigit() else None


def _piped(line: str) -> Line | None:
    """`1.jpg| 0| A dog .`, as in Kaggle's results.csv; a caption may hold further bars."""
    file, _, rest = (part.strip() for part in line.partition("|"))
    number, bar, caption = (part.strip() for part in rest.partition("|"))
    return (file, int(number), caption) if bar and file and number.isascii() and number.isdigit() else None


def _without_field(line: str) -> Line | None:
    """The row of Kaggle's results.csv that lacks its second bar.

    >>> _without_field("2199200615.jpg| 4   A dog runs across the grass .")
    ('2199200615.jpg', 4, 'A dog runs across the grass .')
    """
    found = re.fullmatch(r"([^|]+)\|\s*(\d)\s+(\S.*)", line)
    return (found[1].strip(), int(found[2]), found[3]) if found else None


def _comma(line: str) -> Line | None:
    """`1.jpg,A dog .`, as in Kaggle's captions.txt; a caption may hold further commas.

    >>> _comma("1.jpg,A dog, a cat .")
    ('1.jpg', None, 'A dog, a cat .')
    """
    file, comma, caption = line.partition(",")
    return (file.strip(), None, caption.strip()) if comma and file.strip() else None


def _numbered(line: str) -> Line | None:
    """`1.jpg,0,A dog .`"""
    file, _, rest = line.partition(",")
    number, comma, caption = rest.partition(",")
    number = number.strip()
    fits = comma and file.strip() and number.isascii() and number.isdigit()
    return (file.strip(), int(number), caption.strip()) if fits else None


def _found(root: Path, pattern: re.Pattern[str]) -> list[Path]:
    """The files of such a name in the usual folders."""
    folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
    return [path for folder in folders for path in sorted(p for p in folder.iterdir() if pattern.fullmatch(p.name))]


def _captions_file(root: Path, given: str | None) -> Path:
    if given is not None:
        return require_inside(root, within(root, given, "dataset.captions"))
    found = _found(root, _CAPTIONS)
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in found) or "none"
        raise InvalidDataset(
            f"{root} must hold one file of captions (results_20130124.token, Flickr8k.token.txt, results.csv, captions.txt), "
            f"found {names}; set dataset.captions to the right one"
        )
    return require_inside(root, found[0])


def _split_files(root: Path, given: str | None, captions: Path) -> dict[str, Path]:
    """The file of each split that has one.

    Raises:
        InvalidDataset: there are none, or several for a split.
    """
    folder = None if given is None else require_inside(root, within(root, given, "dataset.splits"))
    found = (
        _found(root, _SPLIT)
        if folder is None
        else [p for p in sorted(folder.glob("*.txt")) if _SPLIT.fullmatch(p.name)]
    )
    files: dict[str, Path] = {}
    for path in found:
        name = _SPLIT.fullmatch(path.name)
        split = {"dev": "val"}.get(part := name["part"] or name["whole"], part) if name else ""
        if split in files:
            raise InvalidDataset(
                f"{root} has two files for split '{split}': {files[split].relative_to(root)} and {path.relative_to(root)}; set "
                "dataset.splits to the folder of the right ones"
            )
        files[split] = require_inside(root, path)
    if not files:
        raise InvalidDataset(
            f"{captions} lists all images, and no file says which split each is of; put beside it {_NEEDED}"
        )
    return {split: files[split] for split in SPLITS if split in files}


def _images_of(path: Path, captions: Mapping[str, object]) -> list[str]:
    """The images of a split; ids without `.jpg` are completed."""
    lines = [line for line in read_lines(path)[0] if line]
    files = [line if line in captions else f"{line}.jpg" for line in lines]
    unknown = [line for line, file in zip(lines, files, strict=True) if file not in captions]
    if unknown:
        raise InvalidDataset(
            f"{path}: {len(unknown)} of {len(lines):,} images have no captions (first: {unknown[0]!r:.60}); take the "
            "files of one dataset"
        )
    return files


def _entry(path: str, file: str, captions: Mapping[int, str]) -> Entry:
    return Entry(path, file, tuple(captions.values()), tuple(f"{file}#{number}" for number in captions))


def _title(root: Path, captions: Path, splits: Mapping[str, Path]) -> str:
    """By the first of the files' names that tells, else by the folder's."""
    names = [captions.name, *(path.name for path in splits.values()), root.resolve().name]
    for name, told in (("flickr8k", r"8k"), ("flickr30k", r"30k|^results")):
        if any(re.search(told, part, re.IGNORECASE) for part in names):
            return name
    return published_name(root.resolve().name)
