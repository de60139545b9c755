"""CLIP_benchmark's retrieval files: `flickr30k_test_karpathy.txt`, `flickr8k_test_zh.txt`, beside a folder of images.

The first line is `image,caption`, every other one `<file>.jpg,<caption>`. The file name ends at the first `.jpg,`: a caption
may hold one too, at which CLIP_benchmark's own reader fails.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.datasets.base import DatasetConfig
from harness.datasets.files import head, read_lines, require_inside
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig, entry_of
from harness.datasets.photographs.places import find_place
from harness.datasets.photographs.texts import unquoted
from harness.datasets.published import published_name
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<prefix>.+)_(?P<split>train|val|test)_(?P<version>karpathy|[a-z]{2})\.txt")
_LINE = re.compile(r"(?P<file>.+?\.(?:jpe?g|png|webp)),(?P<caption>.*)", re.IGNORECASE)
_HEADER = "image,caption"
_ENGLISH = "karpathy"
_IMAGES = ("", "images", "Images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "Flickr8k_Dataset")


class ClipBenchmarkConfig(TitledConfig):
    """Where the files are and how much of them is used."""

    prefix: str | None = Field(
        None, description="what stands before _test_karpathy.txt: flickr30k, flickr8k; null = the only one there"
    )
    language: str | None = Field(
        None,
        pattern="^[a-z]{2}$",
        description="en = the *_karpathy.txt, zh = the *_zh.txt; null = en, or the only one there",
    )


class ClipBenchmark(PhotographDataset):
    """Photographs with captions in CLIP_benchmark's text files.

    Image ids are file names, caption ids `<file>#k`, k from 0.
    """

    Config: ClassVar[type[DatasetConfig]] = ClipBenchmarkConfig
    config: ClipBenchmarkConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds a `<name>_<split>_karpathy.txt`, or `_zh.txt`, whose first line is `image,caption`."""
        files = [path.name for paths in _files(root).values() for path in paths.values()]
        return min(files, default=None)

    @property
    def title(self) -> str:
        """As configured, else by the files: flickr30k_test_karpathy.txt is flickr30k, flickr30k_test_zh.txt flickr30k-zh."""
        language = "" if self._version == _ENGLISH else f"-{self._version}"
        return self.config.title or f"{published_name(self._prefix)}{language}"

    def read(self) -> dict[str, list[Entry]]:
        (self._prefix, self._version), files = _chosen(_files(self.root), self.config, self.root)
        read = {split: _captions(require_inside(self.root, path)) for split, path in files.items()}
        names = [name for images in read.values() for name in images]
        told = ", ".join(path.name for path in files.values())
        place = find_place(self.root, self.config.images, _IMAGES, names, told)
        return {
            split: [entry_of(place.path(name), texts) for name, texts in images.items()]
            for split, images in read.items()
        }


def _files(folder: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """Prefix and version -> split -> file, of those of which a file has the right first line."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in sorted(folder.glob("*.txt")):
        if name := _NAME.fullmatch(path.name):
            found.setdefault((name["prefix"], name["version"]), {})[name["split"]] = path
    return {key: files for key, files in found.items() if any(_has_header(path) for path in files.values())}


def _has_header(path: Path) -> bool:
    return head(path, 64).removeprefix(b"\xef\xbb\xbf").startswith(_HEADER.encode())


def _chosen(
    found: Mapping[tuple[str, str], dict[str, Path]], config: ClipBenchmarkConfig, root: Path
) -> tuple[tuple[str, str], dict[str, Path]]:
    """The dataset and language that are meant, and its files by split; a line says what was taken where several fit."""
    version = {None: None, "en": _ENGLISH}.get(config.language, config.language)
    fit = [key for key in found if config.prefix in (None, key[0]) and version in (None, key[1])]
    if version is None and len({prefix for prefix, _ in fit}) == 1 and any(v == _ENGLISH for _, v in fit):
        others = sorted(v for _, v in fit if v != _ENGLISH)
        fit = [key for key in fit if key[1] == _ENGLISH]
        if others:
            logger.info("%s: the English captions are taken; dataset.language takes %s", root, " or ".join(others))
    if len(fit) != 1:
        known = ", ".join(path.name for paths in found.values() for path in paths.values()) or "none"
        all_in_one = "; captions.txt lists all images without their splits" if (root / "captions.txt").is_file() else ""
        raise InvalidDataset(
            f"{root} must hold the <name>_<split>_karpathy.txt (or _zh.txt) of one dataset, with '{_HEADER}' as first line; "
            f"found {known}{all_in_one}; set dataset.prefix and dataset.language to one of them"
        )
    return fit[0], found[fit[0]]


def _captions(path: Path) -> dict[str, list[str]]:
    """The captions of each image, in the order of the file."""
    lines, _ = read_lines(path)
    images: dict[str, list[str]] = {}
    blank = quoted = 0
    if lines[:1] != [_HEADER]:
        got = f"'{lines[0]:.60}'" if lines else "an empty file"
        raise InvalidDataset(f"{path}: the first line must be '{_HEADER}', got {got}")
    for number, line in enumerate(lines[1:], 2):
        if not line:
            blank += 1
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise InvalidDataset(f"{path}: line {number} must be <file>.jpg,<caption>, got '{line:.60}'")
        caption = unquoted(parts["caption"])
        quoted += caption != parts["caption"]
        images.setdefault(parts["file"], []).append(caption)
    if not images:
        raise InvalidDataset(f"{path} holds no captions; expected lines <file>.jpg,<caption>")
    if blank:
        logger.info("%s: %s left out", path, counted(blank, "blank line"))
    if quoted:
        logger.info("%s: the quotation marks of a CSV table are taken off %s", path, counted(quoted, "caption"))
    return images
