"""Flickr30k Entities' files as they are: phrases of captions, the chains that they belong to, and the chains' boxes.

`Sentences/<id>.txt` holds a caption per line, tokens parted by blanks, phrases marked as `[/EN#283585/people A man]`; chain
0 is not visual. `Annotations/<id>.xml` holds the picture's size and its objects: the chains that each is of (`name`, one or
more) with a `bndbox`, or with the flags `scene` or `nobndbox`.

Source:
    Plummer et al., Flickr30k Entities, ICCV 2015; pixels of boxes count from 1 and include the last, as in its own code.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.datasets.files import read_bytes
from harness.errors import InvalidDataset, one_line
from harness.grounding.boxes import apart
from harness.grounding.texts import plain

SENTENCES, ANNOTATIONS = "Sentences", "Annotations"
#: The chain of phrases that name nothing visible.
NOT_VISUAL = "0"
#: Largest file, in bytes: the real ones have a few thousand.
LARGEST = 2**20
_MARK = "[/EN#"
_PHRASE = re.compile(r"\[/EN#(?P<chain>\d{1,12})/(?P<types>[^\s\[\]]+)\s+(?P<words>[^\[\]]+)\]")


class Phrase(NamedTuple):
    """A phrase of a caption.

    Args:
        span: where it stands in the plain form of the caption, see `harness.grounding.texts`.
        chain: number of what it names, shared by all phrases that name the same.
        role: the first of its types: people, clothing, bodyparts, animals, vehicles, instruments, scene or other.
    """

    span: tuple[int, int]
    chain: str
    role: str


class Sentence(NamedTuple):
    """A caption in its plain form, and its phrases."""

    text: str
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """What the files say of one picture.

    Args:
        sentences: its captions.
        size: width and height in pixels.
        boxes: by chain, (K, 4) fractions of the picture, touching in edges only. Chains without boxes are not in it.
    """

    sentences: tuple[Sentence, ...]
    size: tuple[int, int]
    boxes: Mapping[str, np.ndarray]


def sentence_of(line: str) -> Sentence:
    """A line of `Sentences/<id>.txt`.

    >>> found = sentence_of("[/EN#1/people A man] sits on [/EN#2/other/scene a red bench] .")
    >>> found.text
    'amansitsonaredbench'
    >>> [(found.text[slice(*phrase.span)], phrase.chain, phrase.role) for phrase in found.phrases]
    [('aman', '1', 'people'), ('aredbench', '2', 'other')]

    Raises:
        ValueError: a mark that is not of this form.
    """
    text, phrases, read = "", [], 0
    for found in _PHRASE.finditer(line):
        text += _unmarked(line[read : found.start()])
        start = len(text)
        text += plain(found["words"])
        phrases.append(Phrase((start, len(text)), found["chain"], found["types"].partition("/")[0]))
        read = found.end()
    return Sentence(text + _unmarked(line[read:]), tuple(phrases))


def read_picture(root: Path, picture: str) -> tuple[Picture, bytes]:
    """What the files say of a picture, and their bytes.

    Args:
        root: the folder of `Sentences` and `Annotations`.
        picture: its id.

    Raises:
        InvalidDataset: a file is missing, too large, or not of the form above; names it.
    """
    sentences, annotations = root / SENTENCES / f"{picture}.txt", root / ANNOTATIONS / f"{picture}.xml"
    lines, written = _bounded(sentences), _bounded(annotations)
    size, boxes = _objects(_parsed(written, annotations), annotations)
    return Picture(tuple(_sentences(lines, sentences)), size, boxes), lines + written


def _sentences(content: bytes, path: Path) -> list[Sentence]:
    found = []
    for number, line in enumerate(_text(content, path).split("\n"), 1):
        if line.strip():
            try:
                found.append(sentence_of(line))
            except ValueError as error:
                raise InvalidDataset(f"{path}: line {number}: {error}") from None
    return found


def _unmarked(text: str) -> str:
    if _MARK in text:
        raise ValueError(f"expected phrases as [/EN#283585/people A man], got '{text.strip():.60}'")
    return plain(text)


def _bounded(path: Path) -> bytes:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InvalidDataset(f"cannot read {path}: {error.strerror or error}") from None
    if size > LARGEST:
        raise InvalidDataset(f"{path} has {size:,} bytes; a file of Flickr30k Entities has at most {LARGEST:,}")
    return read_bytes(path)


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _parsed(content: bytes, path: Path) -> ET.Element:
    text = _text(content, path)
    if "<!DOCTYPE" in text:  # entities, which can expand without end, are defined there alone
        raise InvalidDataset(
            f"{path} declares a document type, which no file of Flickr30k Entities does; it is not read"
        )
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise InvalidDataset(f"{path} is not well-formed XML: {one_line(error, 80)}") from None


def _objects(root: ET.Element, path: Path) -> tuple[tuple[int, int], dict[str, np.ndarray]]:
    """Size of the picture, and the boxes of its chains; a box without any area in the picture is none."""
    try:
        width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
        if min(width, height) < 1:
            raise ValueError(f"a picture of {width} x {height} pixels")
        corners: dict[str, list[list[float]]] = {}
        for one in root.iterfind("object"):
            box = one.find("bndbox")
            if box is None:
                continue
            left, top, right, bottom = (_number(box, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
            for name in one.iterfind("name"):
                corners.setdefault((name.text or "").strip(), []).append([left - 1, top - 1, right, bottom])
        return (width, height), _fractions(corners, width, height)
    except ValueError as error:
        raise InvalidDataset(f"{path}: {error}") from None


def _fractions(corners: Mapping[str, list[list[float]]], width: int, height: int) -> dict[str, np.ndarray]:
    found = {}
    for chain, boxes in corners.items():
        fractions = np.clip(np.asarray(boxes) / [width, height, width, height], 0, 1)
        real = fractions[(fractions[:, 0] < fractions[:, 2]) & (fractions[:, 1] < fractions[:, 3])]
        if len(real):
            found[chain] = apart(real)
    return found


def _number(element: ET.Element, name: str) -> int:
    text = (element.findtext(name) or "").strip()
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError(f"<{name}> must be a whole number, got '{text:.40}'")
    return int(text)
