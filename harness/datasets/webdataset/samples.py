"""Samples of numbered tar archives: one photograph and its captions under a common key."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.files import read_lines, require_inside
from harness.datasets.photographs.sources import Slice
from harness.datasets.webdataset.archives import members_of
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

SHARDS = "nshards.txt"
IMAGES = frozenset(("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "jp2", "avif"))
TEXT = "txt"
_MOST_SHARDS = 1_000_000
_LARGEST_TEXT = 2**20  # bytes; no file of captions is as large


@dataclass(frozen=True)
class Sample:
    """A photograph by its place in an archive, with its captions."""

    key: str
    image: Slice
    captions: tuple[str, ...]


def samples_of(folder: Path, root: Path) -> list[Sample]:
    """The samples of a split, in the order of its archives.

    Args:
        folder: holds `nshards.txt` and the archives `0.tar`, `1.tar`, ...
        root: the dataset's folder, which no link may leave.

    Raises:
        InvalidDataset: archives are missing or cannot be read, a key occurs twice, or a sample lacks its photograph or its
            captions, or has two of them.
    """
    found: dict[str, Sample] = {}
    others: Counter[str] = Counter()
    for archive in shards_of(folder, root):
        for sample in _samples(archive, others):
            if sample.key in found:
                first = found[sample.key].image.archive.name
                raise InvalidDataset(f"{sample.image.label}: the key '{sample.key}' occurs in {first} already")
            found[sample.key] = sample
    if others:
        kinds = ", ".join(f".{kind} {count:,}" for kind, count in sorted(others.items()))
        logger.info("%s: members of other kinds are not read: %s", folder, kinds)
    return list(found.values())


def shards_of(folder: Path, root: Path) -> list[Path]:
    """The archives of a split, `0.tar` to as many as `nshards.txt` says.

    Raises:
        InvalidDataset: the number is missing or is none, or archives are missing.
    """
    told = require_inside(root, folder / SHARDS)
    lines, _ = read_lines(told)
    text = lines[0] if len(lines) == 1 else ""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_SHARDS):
        raise InvalidDataset(f"{told} must hold the number of archives, got {' '.join(lines)!r:.60}")
    archives = [require_inside(root, folder / f"{number}.tar") for number in range(int(text))]
    missing = [archive.name for archive in archives if not archive.exists()]
    if missing:
        raise InvalidDataset(
            f"{folder}: {len(missing)} of {len(archives):,} archives are missing (first: {missing[0]}); "
            "download them too"
        )
    more = sorted({path.name for path in folder.glob("*.tar")} - {archive.name for archive in archives})
    if more:
        left = counted(len(more), "archive")
        logger.warning("%s: %s left out (first: %s): %s says %s", folder, left, more[0], SHARDS, text)
    return archives


def captions_of(content: bytes, path: Path) -> tuple[str, ...]:
    r"""The captions of a text member: one per line, line breaks inside them written as a backslash and an n.

    >>> captions_of(rb"a dog" + b"\n" + rb"two\ncats" + b"\n", Path("0.tar/s0.txt"))
    ('a dog', 'two\ncats')

    Raises:
        InvalidDataset: not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    lines = [line.replace("\\n", "\n") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(lines)


def _samples(archive: Path, others: Counter[str]) -> Iterator[Sample]:
    """The samples of an archive; counts members that are neither photographs nor captions."""
    grouped: dict[str, dict[str, list[Slice]]] = {}
    for member in members_of(archive):
        key, kind = _split(member.name)
        if kind == TEXT or kind in IMAGES:
            part = TEXT if kind == TEXT else "image"
            grouped.setdefault(key, {}).setdefault(part, []).append(member)
        else:
            others[kind] += 1
            grouped.setdefault(key, {})
    _require_pairs(archive, grouped)
    with archive.open("rb") as file:
        for key, parts in grouped.items():
            (image,), (text,) = parts["image"], parts[TEXT]
            if text.size > _LARGEST_TEXT:
                raise InvalidDataset(f"{text.label} has {text.size:,} bytes, too many for captions")
            captions = captions_of(text.read(file), text.label)
            if not captions:
                raise InvalidDataset(f"{text.label} holds no caption; each photograph needs at least one")
            yield Sample(key, image, captions)


def _require_pairs(archive: Path, grouped: dict[str, dict[str, list[Slice]]]) -> None:
    for part, what in (("image", "photograph"), (TEXT, "captions (.txt)")):
        lacking = [key for key, parts in grouped.items() if part not in parts]
        if lacking:
            raise InvalidDataset(
                f"{archive}: {len(lacking)} of {len(grouped):,} samples have no {what} (first: '{lacking[0]}')"
            )
        for members in _several(parts[part] for parts in grouped.values()):
            names = ", ".join(member.name for member in members)
            raise InvalidDataset(f"{archive}: one sample has {len(members)} members for its {what}: {names}")
    if not grouped:
        raise InvalidDataset(f"{archive} holds no sample")


def _several(groups: Iterable[list[Slice]]) -> Iterator[list[Slice]]:
    return (members for members in groups if len(members) > 1)


def _split(name: str) -> tuple[str, str]:
    """Key and kind: a member's path up to the first dot of its last part, and the rest in lower case.

    >>> _split("a.b/s0000001.txt"), _split("s1.WEBP")
    (('a.b/s0000001', 'txt'), ('s1', 'webp'))
    """
    folder, slash, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return f"{folder}{slash}{stem}", kind.lower()
