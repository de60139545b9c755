"""Whether two images have one origin by their names alone: the same file, or the same number at COCO or Flickr.

A bare number proves little: 25 may be the 25th file of any folder. It counts where the other side says whose number it is
(`COCO_val2014_000000391895.jpg`), or where it is as long as Flickr's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ENDING = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?|npy|npz|jp2|avif)$", re.IGNORECASE)
_COCO = re.compile(r"(?:coco_(?:train|val|test)\d{4}_)?(\d{12})")
_FLICKR = re.compile(r"(\d{7,11})_[0-9a-f]{8,10}(?:_[a-z])?")
_LONG = 7  # digits of a photograph's number at Flickr
#: Ids that the harness makes up where a file gives none, in any dataset alike.
_MADE_UP = re.compile(r"(?:train|val|test)-\d{4,}")


@dataclass(frozen=True)
class Name:
    """What an image's name says of its origin; empty parts are unknown."""

    stem: str = ""
    coco: int | None = None
    flickr: int | None = None
    bare: int | None = None


@dataclass(frozen=True)
class Known:
    """The names of a set of images, ready to be asked for."""

    stems: frozenset[str]
    coco: frozenset[int]
    flickr: frozenset[int]
    bare: frozenset[int]

    @classmethod
    def of(cls, names: Iterable[Name]) -> Known:
        """Of any number of images."""
        found = list(names)
        return cls(
            frozenset(name.stem for name in found if name.stem),
            frozenset(name.coco for name in found if name.coco is not None),
            frozenset(name.flickr for name in found if name.flickr is not None),
            frozenset(name.bare for name in found if name.bare is not None),
        )

    def __bool__(self) -> bool:
        return bool(self.stems or self.bare)


def name_of(text: str) -> Name:
    """The origin that a file name or an id states.

    >>> name_of("val2014/COCO_val2014_000000391895.jpg").coco
    391895
    >>> name_of("1000268201_693b08cb0e.jpg").flickr
    1000268201
    >>> name_of("391895")
    Name(stem='', coco=None, flickr=None, bare=391895)
    """
    stem = _ENDING.sub("", re.split(r"[/\\\\]", text.strip())[-1]).lower()
    if _MADE_UP.fullmatch(stem):
        return Name()
    coco, flickr = _COCO.fullmatch(stem), _FLICKR.fullmatch(stem)
    if coco:
        return Name(stem, coco=int(coco[1]))
    if flickr:
        return Name(stem, flickr=int(flickr[1]))
    if stem.isascii() and stem.isdigit() and len(stem) <= 12:
        return Name(bare=int(stem))
    return Name(stem)


def same_name(name: Name, known: Known) -> bool:
    """Whether an image of the same file name is known."""
    return name.stem in known.stems


def same_number(name: Name, known: Known) -> bool:
    """Whether an image of the same number at COCO or Flickr is known.

    >>> same_number(name_of("COCO_val2014_000000391895.jpg"), Known.of([name_of("391895")]))
    True
    >>> same_number(name_of("25.jpg"), Known.of([name_of("25")]))
    False
    """
    if name.coco is not None:
        return name.coco in known.coco or name.coco in known.bare
    if name.flickr is not None:
        return name.flickr in known.flickr or name.flickr in known.bare
    if name.bare is None:
        return False
    long = len(str(name.bare)) >= _LONG
    return name.bare in known.coco or (long and (name.bare in known.flickr or name.bare in known.bare))


def same_bare(names: Sequence[Name], known: Known) -> int:
    """Images that share a short bare number with a known one, which proves nothing by itself."""
    return sum(name.bare is not None and name.bare in known.bare and not same_number(name, known) for name in names)
