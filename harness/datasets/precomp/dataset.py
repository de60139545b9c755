"""Region features in SCAN's layout: `{split}_ims.npy` (N, R, D) beside `{split}_caps.txt`, one caption per line.

The features may be stored once per image, or repeated once per caption as SCAN does. They are memory-mapped: 33 GB of COCO
need no memory. Optional: `{split}_ids.txt`, and a vocabulary JSON as SCAN's `vocab.py` writes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.datasets.base import SPLITS, Dataset, DatasetConfig, Split
from harness.datasets.files import (
    FolderConfig,
    dataset_root,
    parse_json,
    read_bytes,
    read_lines,
    refuse_printed_bytes,
    require_inside,
)
from harness.datasets.precomp.features import FeatureFile, FeatureRows, open_features
from harness.datasets.precomp.storage import find_storage
from harness.datasets.published import published_name, warn_of_size
from harness.errors import InvalidDataset

logger = logging.getLogger(__name__)

NO_VOCABULARY = "none"
#: Captions to which the loaders of SCAN, VSE-infinity, CHAN and NAAF cut `dev`, whatever its file holds.
AUTHORS_VALIDATION = 5000


class PrecompConfig(FolderConfig):
    """Where the files are and how rows belong to captions."""

    captions_per_image: int | None = Field(
        None, ge=1, description="null = 5, or what repeated rows or the ids file prove; anything else is refused"
    )
    stored: Literal["once", "repeated"] | None = Field(
        None, description="rows of an image: one, or one per caption; null = what the files prove"
    )
    vocabulary: str | None = Field(
        None,
        min_length=1,
        description="the vocabulary JSON, absolute or from root (../vocab/x.json); null = the only *vocab*.json in root, "
        "in root/vocab, or vocab/<folder>_vocab.json beside root; none = count the training captions",
    )
    test_name: str = Field("test", pattern=r"^\w+$", description="prefix of the test files: testall for COCO 5K")
    validation: Literal["all", "authors"] = Field(
        "all", description="captions of the validation split: all, or the first 5,000, as the authors' loaders cut dev"
    )
    title: str | None = Field(
        None, min_length=1, description="the dataset's name in tables; null = from the folder's name"
    )


class Precomp(Dataset):
    """Precomputed region features with captions; no pixels. Opening a split for the first time reads all its features."""

    Config: ClassVar[type[DatasetConfig]] = PrecompConfig
    config: PrecompConfig

    def __init__(self, config: PrecompConfig):
        super().__init__(config)
        self._root = dataset_root(config.root)
        self.vocabulary_path = _vocabulary(self._root, config.vocabulary)
        self._stored: dict[str, tuple[FeatureFile, np.ndarray]] = {}  # by split: its file, and the row of each image

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds features beside captions: `<split>_ims.npy` and `<split>_caps.txt`."""
        pairs = sorted(path.name for path in root.glob("*_ims.npy") if _captions_of(path).exists())
        return f"{pairs[0]} beside {_captions_of(root / pairs[0]).name}" if pairs else None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of which there is a file; one without the other is refused when the split is opened."""
        files = {name: (f"{self._prefix(name)}_ims.npy", f"{self._prefix(name)}_caps.txt") for name in SPLITS}
        return tuple(name for name in SPLITS if any(os.path.lexists(self._root / file) for file in files[name]))

    def sought(self, split: str) -> str:
        """The file of features that a split is sought in."""
        return f"; {self._root / self._prefix(split)}_ims.npy is missing"

    @property
    def title(self) -> str:
        """As configured, else by the folder: f30k_precomp is flickr30k, coco_precomp and coco/precomp are mscoco."""
        folder = self._root.resolve()
        if self.config.title:
            return self.config.title
        if folder.name == "precomp":  # VSE-infinity keeps the files of a dataset in its `precomp/`
            return published_name(folder.parent.name)
        return published_name(folder.name) if folder.name.endswith("_precomp") else folder.name

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of every image's features, captions and id in their order, and of the vocabulary.

        How they are stored does not count: images stored once and repeated five times have one hash.
        """
        digest = hashlib.sha256()
        for name in self.splits:
            split = self.split(name)
            layout = self._stored[name][0].layout
            texts = [name, layout, split.image_ids, split.captions, split.caption_image.tolist()]
            digest.update(json.dumps(texts).encode())
            digest.update(b"".join(self.image_digests(name)))
        if self.vocabulary_path:
            digest.update(hashlib.sha256(read_bytes(self.vocabulary_path)).digest())
        return digest.hexdigest()

    def image_digests(self, split: str) -> tuple[bytes, ...]:
        """Digest of each image's features."""
        self.split(split)
        file, rows = self._stored[split]
        return tuple(digest.tobytes() for digest in file.digests[rows])

    def check(self) -> None:
        """Refuse splits whose features differ in width: an encoder takes one.

        Raises:
            InvalidDataset: names the files and their widths.
        """
        files = [self._stored[name][0] for name in self.splits if self.split(name)]
        if len({file.features.shape[2] for file in files}) > 1:
            widths = ", ".join(f"{file.path.name} {file.features.shape[2]}" for file in files)
            raise InvalidDataset(
                f"{self._root}: the splits' features differ in width ({widths}); extract them with one detector"
            )

    def open_split(self, name: str) -> Split:
        features, caption_file, ids_file = self._files(name)
        file = open_features(features)
        captions, hint = read_lines(caption_file)
        if not len(file) or not captions:
            raise InvalidDataset(f"{features} holds {len(file)} rows and {caption_file} {len(captions)} captions")
        refuse_printed_bytes(captions, caption_file)
        told = f"{features} has {len(file)} rows and {caption_file} {len(captions)} captions{hint}"
        ids = read_lines(ids_file)[0] if ids_file.exists() else None
        config = self.config
        storage = find_storage(file, len(captions), ids_file, ids, config.captions_per_image, config.stored, told)
        repeats = len(file) - len(file.runs()) if storage.once else 0
        also = f"; {repeats} rows equal the row before them" if repeats else ""
        logger.info("%s: %s%s", features.name, storage.sentence(), also)
        each = storage.each
        count = min(storage.images, self._most(name, each, len(captions), caption_file) or storage.images)
        rows = storage.rows[:count]
        file.require_finite(rows)
        if ids is None:
            ids = [f"{name}-{number:06d}" for number in range(storage.images)]
        names = (ids if len(ids) == storage.images else ids[::each])[:count]  # one per image, or one per caption
        captions = captions[: count * each]
        blank = captions.count("")
        if blank:  # kept: line k belongs to image k // each
            logger.warning("%s: %d captions are blank", caption_file, blank)
        self._stored[name] = file, rows
        if config.limit(name) is None:
            warn_of_size(self.title, name, count)
        return Split(
            name=name,
            images=FeatureRows(file.features, rows),
            image_ids=tuple(names),
            captions=tuple(captions),
            caption_ids=tuple(f"{image}#{number}" for image in names for number in range(each)),
            caption_image=np.repeat(np.arange(count), each),
        )

    def _most(self, split: str, each: int, captions: int, path: Path) -> int | None:
        """The largest number of images of a split; None = no limit. A line says where the authors would have fewer."""
        limit = self.config.limit(split)
        if split != "val" or captions <= AUTHORS_VALIDATION:
            return limit
        if self.config.validation == "authors":
            return min(limit or captions, AUTHORS_VALIDATION // each)
        if limit is None:
            logger.info(
                "%s: all %s captions are used; the authors' loaders use the first %s (dataset.validation=authors)",
                path,
                f"{captions:,}",
                f"{AUTHORS_VALIDATION:,}",
            )
        return limit

    def _files(self, split: str) -> tuple[Path, Path, Path]:
        """Features, captions and ids of a split; a line says what was taken where the folder holds two of them."""
        prefix = self._prefix(split)
        if split == "test" and prefix == "test" and self._has("testall"):
            logger.info("%s: test_* is taken; dataset.test_name=testall takes testall_*", self._root)
        if split == "val" and self._has("val") and self._has("dev"):
            logger.warning("%s holds val_* and dev_*; val_* is taken", self._root)
        features, captions, ids = (
            require_inside(self._root, self._root / f"{prefix}_{kind}") for kind in ("ims.npy", "caps.txt", "ids.txt")
        )
        return features, captions, ids

    def _prefix(self, split: str) -> str:
        """Of a split's files: for validation `val`, or `dev` where only that has features."""
        if split == "val":
            return "dev" if self._has("dev") and not self._has("val") else "val"
        return self.config.test_name if split == "test" else split

    def _has(self, prefix: str) -> bool:
        return (self._root / f"{prefix}_ims.npy").is_file()


def _captions_of(features: Path) -> Path:
    return features.with_name(features.name.removesuffix("_ims.npy") + "_caps.txt")


def _vocabulary(root: Path, given: str | None) -> Path | None:
    """The vocabulary file, checked for its layout; None where there is none or none is wanted."""
    if given == NO_VOCABULARY:
        return None
    path = root / Path(given).expanduser() if given is not None else _found_vocabulary(root)
    if path is not None and not isinstance(parse_json(read_bytes(path), path).get("word2idx"), dict):
        raise InvalidDataset(f"{path} must map words to ids under 'word2idx', as SCAN's vocab.py writes it")
    if path is not None:
        logger.info("vocabulary: %s", path)
    return path


def _found_vocabulary(root: Path) -> Path | None:
    """Where SCAN's users keep it: in the folder, in its `vocab/`, or in a `vocab/` beside it under the folder's name."""
    folder = root.resolve()
    beside = folder.parent / "vocab" / f"{folder.name}_vocab.json"
    inside = [*sorted(root.glob("*vocab*.json")), *sorted(root.glob("vocab/*vocab*.json"))]
    found = [require_inside(root, path) for path in inside]
    found += [beside] if beside.is_file() else []
    if len({read_bytes(path) for path in found}) > 1:
        names = ", ".join(str(path) for path in found)
        raise InvalidDataset(
            f"several vocabularies fit {root}: {names}; set dataset.vocabulary to one of them, or to none to count the "
            "training captions"
        )
    pickled = sorted(root.glob("*vocab*.pkl"))
    if pickled and not found:
        logger.warning(
            "%s is a pickle and is not read, so words are counted in the training captions; export it to JSON "
            "(word2idx, idx2word, idx) to use it",
            pickled[0],
        )
    return found[0] if found else None
