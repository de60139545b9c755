"""Images that another dataset has too: by name, by COCO's or Flickr's number, by content, and by perceptual hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.catalogue import open_dataset
from harness.datasets.files import read_bytes, read_lines
from harness.description.hashes import near_blocks
from harness.description.names import Known, Name, name_of, same_bare, same_name, same_number
from harness.description.views import View, views
from harness.errors import InvalidDataset
from harness.files.reading import Damaged, parse_json
from harness.records.description import Contamination

_EXAMPLES = 5
_FILE = re.compile(r"\s*(.+?\.(?:jpe?g|png|webp|gif|bmp|tiff?))(?=[\t,#|]|\s*$)", re.IGNORECASE)
_ALL = "all"
#: Where the field's JSON files keep an image's name or number, the most telling key first.
_KEYS = ("filename", "file_name", "image_file", "image", "image_path", "cocoid", "image_id", "id")
_HEADINGS = frozenset((*_KEYS, "image_name"))


@dataclass(frozen=True, eq=False)
class Other:
    """A split of another dataset, or a list of its ids.

    Args:
        title: of the dataset, or the file's name.
        split: its name; "all" where a list names no splits.
        names: what its images' names say.
        view: its images, None where only ids are known.
    """

    title: str
    split: str
    names: Sequence[Name]
    view: View | None = None


def read_other(path: Path, *, quick: bool = False) -> list[Other]:
    """Another dataset's images: the splits of a folder that has a known layout, or the ids in a file.

    Args:
        path: a folder; or a text file of one id or file name per line; or a JSON file: a list of ids or of images, an
            object with `images` (Karpathy's and COCO's files), or a mapping of ids to file names.
        quick: names only.

    Raises:
        InvalidDataset: it does not exist, is of no known layout, or holds no ids.
    """
    if path.is_dir():
        dataset = open_dataset({"root": str(path)})
        return [Other(dataset.title, view.name, view.names, view) for view in views(dataset, quick=quick)]
    if not path.exists():
        raise InvalidDataset(f"{path} does not exist; --against takes a dataset's folder or a file of ids")
    found = _from_json(path) if path.suffix.lower() in (".json", ".jsonl", ".jsonlines") else _from_lines(path)
    if not any(found.values()):
        raise InvalidDataset(
            f"{path} holds no image ids; expected one id or file name per line, or JSON with the images' names"
        )
    return [Other(path.name, split, [name_of(text) for text in texts]) for split, texts in found.items()]


def contamination(view: View, other: Other, bits: int) -> Contamination:
    """The images of a split that another one has too.

    Args:
        view: the split.
        other: the other split.
        bits: differing bits of the hash up to which images are near.
    """
    known = Known.of(other.names)
    named = np.array([same_name(name, known) for name in view.names])
    numbered = np.array([same_number(name, known) for name in view.names])
    equal, near = _by_content(view, other.view, bits)
    sure = named | numbered | (False if equal is None else equal) | (False if near is None else near)
    has_names = bool(known) and bool(view.known)
    there = None if other.view is None else set(other.view.texts.captions)
    return Contamination(
        split=view.name,
        other=other.title,
        other_split=other.split,
        images=len(view),
        other_images=len(other.names),
        names=int(named.sum()) if has_names else None,
        numbers=int((numbered & ~named).sum()) if has_names else None,
        bare_numbers=same_bare(view.names, known),
        equal=None if equal is None else int(equal.sum()),
        near=None if near is None else int(near.sum()),
        any=int(sure.sum()),
        captions=None if there is None else sum(caption in there for caption in view.texts.captions),
        examples=[view.image_ids[row] for row in np.flatnonzero(sure)[:_EXAMPLES]],
    )


def _by_content(view: View, other: View | None, bits: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(I,) whether an image is equal to one of the other's, and whether it is only near; None = not known."""
    if other is None:
        return None, None
    equal = None
    if view.keys is not None and other.keys is not None:
        there = set(other.keys)
        equal = np.array([key in there for key in view.keys])
    if view.prints is None or other.prints is None:
        return equal, None
    near = np.zeros(len(view), dtype=bool)
    for pairs, _ in near_blocks(view.prints, other.prints, bits):
        near[pairs[:, 0]] = True
    return equal, near if equal is None else near & ~equal


def _from_lines(path: Path) -> dict[str, list[str]]:
    """One id per line; of lines with several fields, the first (`1000092795.jpg#0\tcaption`). A heading is no id."""
    found = [_first_field(line) for line in read_lines(path)[0]]
    if found and found[0].lower() in _HEADINGS:
        found = found[1:]
    return {_ALL: [name for name in found if name]}


def _first_field(line: str) -> str:
    """What stands before the first separator; a comma within a file's name is none.

    >>> _first_field("1.jpg#0\ta dog"), _first_field("a,b.png,a cat"), _first_field("391895,a man")
    ('1.jpg', 'a,b.png', '391895')
    """
    file = _FILE.match(line)
    return file[1] if file else re.split(r"[\t,#]", line, maxsplit=1)[0].strip()


def _from_json(path: Path) -> dict[str, list[str]]:
    """The images' names by split, where the file says which."""
    content = read_bytes(path)
    try:
        value = parse_json(content)
    except Damaged as error:
        try:  # one object per line
            value = [parse_json(line) for line in content.splitlines() if line.strip()]
        except Damaged:
            raise InvalidDataset(f"cannot read {path} as JSON: {error}") from None
    found: dict[str, list[str]] = {}
    for split, text in _images(value):
        found.setdefault(split, []).append(text)
    return found


def _images(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        listed = value.get("images")
        value = listed if isinstance(listed, list) else list(value.values())
    for item in value if isinstance(value, list) else ():
        if isinstance(item, str | int) and not isinstance(item, bool):
            yield _ALL, str(item)
        elif isinstance(item, Mapping):
            split = item.get("split")
            name = next((item[key] for key in _KEYS if isinstance(item.get(key), str | int)), None)
            if name is not None:
                yield str(split) if isinstance(split, str) else _ALL, str(name)
