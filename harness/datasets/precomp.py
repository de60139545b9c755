"""Region features in SCAN's layout: `{split}_ims.npy` (N, R, D) beside `{split}_caps.txt`, one caption a line.

The features may be stored once an image, or repeated once a caption as SCAN does. They are memory-mapped: 33 GB of COCO
need no memory. Optional: `{split}_ids.txt`, and a vocabulary JSON as SCAN's `vocab.py` writes it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from harness.datasets._files import (
    SPLITS,
    FolderConfig,
    dataset_root,
    parse_json,
    read_bytes,
    read_lines,
    require_split,
    within,
)
from harness.datasets.base import Dataset, DatasetConfig, Split
from harness.errors import InvalidDataset
from harness.fragments import Fragments

log = logging.getLogger(__name__)

_CAPTIONS = 5  # an image, in every data set that was published in this layout
_BLOCK_BYTES = 64 * 2**20  # read at once
_SAMPLES, _SAMPLE_BYTES = 256, 4096  # of the features, for the hash
_TITLES = {"f30k_precomp": "flickr30k", "coco_precomp": "mscoco", "f8k_precomp": "flickr8k"}


class PrecompConfig(FolderConfig):
    """Where the files are and how rows belong to captions."""

    captions_per_image: int | None = Field(None, ge=1, description="null = found from the counts: 5, or 1")
    vocabulary: str | None = Field(
        None, description="the vocabulary JSON, below root; null = the only *vocab*.json there"
    )
    test_name: str = Field("test", pattern=r"^\w+$", description="prefix of the test files: testall for COCO 5K")
    name: str | None = Field(None, description="the dataset's name in tables; null = from the folder's name")


class FeatureRows:
    """Region features of a split's images, by row of a mapped array.

    Args:
        features: (N, R, D) floating point.
        rows: (I,) int64, the row of each image.
    """

    def __init__(self, features: np.ndarray, rows: np.ndarray):
        self.inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("regions",))
        self.region_width: int = features.shape[2]
        self._features, self._rows = features, rows

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
        raise InvalidDataset(
            "this dataset has region features but no pixels; choose the image backbone 'regions', or dataset karpathy"
        )

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Region features (n, R, region_width), float32; all regions are real."""
        rows = self._rows[np.asarray(indices, dtype=np.int64)]
        features = torch.from_numpy(self._features[rows].astype(np.float32))
        return Fragments(features, torch.ones(features.shape[:2], dtype=torch.bool))


@dataclass(frozen=True)
class _Files:
    """The files of one split."""

    features: Path
    captions: Path
    ids: Path

    def present(self) -> list[Path]:
        return [path for path in (self.captions, self.ids, self.features) if path.is_file()]


class Precomp(Dataset):
    """Precomputed region features with captions. `inputs` is regions only."""

    Config: ClassVar[type[DatasetConfig]] = PrecompConfig
    config: PrecompConfig

    def __init__(self, config: PrecompConfig):
        super().__init__(config)
        self._root = dataset_root(config.root)
        self.vocabulary_path = _vocabulary(self._root, config.vocabulary)  #: None where there is none
        self._splits: dict[str, Split] = {}

    @property
    def title(self) -> str:
        """As configured, else by the folder: f30k_precomp is flickr30k, coco_precomp is mscoco."""
        folder = self._root.resolve().name
        return self.config.name or _TITLES.get(folder, folder)

    @cached_property
    def sha256(self) -> str:
        """Of all captions, ids and the vocabulary, and of each feature file's length, header and 256 spread samples.

        All 33 GB of COCO's features would take minutes to hash; the samples tell one set of features from another.
        """
        digest = hashlib.sha256(f"{self.config.captions_per_image}\n".encode())
        for split in SPLITS:
            for path in self._files(split).present():
                content = _sampled(path) if path.suffix == ".npy" else read_bytes(path)
                digest.update(f"{split} {path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
        if self.vocabulary_path:
            digest.update(hashlib.sha256(read_bytes(self.vocabulary_path)).digest())
        return digest.hexdigest()

    def split(self, name: str) -> Split:
        """The split `train`, `val` (files `dev_*` or `val_*`) or `test`. The first call reads all its features once.

        Raises:
            InvalidDataset: files missing or truncated, counts that disagree, or features that are not finite.
        """
        require_split(name, "precomp")
        if name not in self._splits:
            self._splits[name] = self._open(name)
        return self._splits[name]

    def _files(self, split: str) -> _Files:
        prefix = self.config.test_name if split == "test" else split
        if split == "val" and not (self._root / "val_ims.npy").is_file() and (self._root / "dev_ims.npy").is_file():
            prefix = "dev"
        return _Files(*(self._root / f"{prefix}_{kind}" for kind in ("ims.npy", "caps.txt", "ids.txt")))

    def _open(self, name: str) -> Split:
        files = self._files(name)
        features = _features(files.features)
        captions = read_lines(files.captions)
        if not len(features) or not captions:
            raise InvalidDataset(
                f"{files.features} holds {len(features)} rows and {files.captions} {len(captions)} captions"
            )
        each, stored_once = _layout(features, len(captions), files, self.config.captions_per_image)
        count = min(len(captions) // each, self.config.limit(name) or len(captions))
        captions = captions[: count * each]
        rows = np.arange(count) * (1 if stored_once else each)
        _require_finite(features, rows, files.features)
        blank = sum(not caption for caption in captions)
        if blank:  # kept: line k belongs to image k // each
            log.warning("%s: %d captions are blank", files.captions, blank)
        ids = _ids(files, len(features), each, stored_once, name)[:count]
        return Split(
            name=name,
            images=FeatureRows(features, rows),
            image_ids=tuple(ids),
            captions=tuple(captions),
            caption_ids=tuple(f"{image}#{number}" for image in ids for number in range(each)),
            caption_image=np.repeat(np.arange(count), each),
        )


def _features(path: Path) -> np.ndarray:
    """(N, R, D), mapped; a file of one vector an image, (N, D), counts as R = 1."""
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InvalidDataset(f"{path} is missing; precomp needs {{split}}_ims.npy beside {{split}}_caps.txt") from None
    except (OSError, ValueError, EOFError) as error:  # ValueError: truncated, or an array of Python objects
        raise InvalidDataset(
            f"{path} cannot be read as an array (truncated?): {' '.join(str(error).split())}"
        ) from None
    if not isinstance(features, np.ndarray) or features.ndim not in (2, 3) or features.dtype.kind != "f":
        got = f"{features.dtype} of shape {features.shape}" if isinstance(features, np.ndarray) else "an archive"
        raise InvalidDataset(f"{path} must hold floating-point features (N, R, D), got {got}")
    if 0 in features.shape[1:]:
        raise InvalidDataset(f"{path} holds images without regions or without features: shape {features.shape}")
    return features if features.ndim == 3 else features[:, None, :]


def _layout(features: np.ndarray, captions: int, files: _Files, configured: int | None) -> tuple[int, bool]:
    """Captions an image, and whether an image's features are stored once.

    As many rows as captions are either images repeated for each of their captions, which their equality shows, or
    images with one caption each. Otherwise the number of captions must be a multiple of the number of rows.
    """
    count = len(features)
    each = configured or (_CAPTIONS if count == captions else captions // count)
    if count == captions and each > 1 and count % each == 0:
        odd = _first_not_repeated(features, each)
        if odd is None:
            return each, False
        if configured is not None:
            raise InvalidDataset(
                f"{files.features} has as many rows as {files.captions} has captions ({count}), so each image must be "
                f"repeated captions_per_image = {each} times, but row {odd} differs from the row before it"
            )
    if count == captions and configured in (None, 1):
        return 1, True
    if each < 1 or count * each != captions:
        expected = f"{configured} captions an image" if configured else "the same number of captions an image"
        raise InvalidDataset(
            f"{files.features} has {count} rows and {files.captions} {captions} captions; expected {expected}, "
            "each image stored once or once a caption"
        )
    return each, True


def _first_not_repeated(features: np.ndarray, each: int) -> int | None:
    """The first row that should repeat the one before it and does not (its first region is compared); None = all do."""
    for start in range(0, len(features), 1000 * each):
        first = np.asarray(features[start : start + 1000 * each, 0])
        same = (first[1:] == first[:-1]).all(axis=1) | (np.arange(1, len(first)) % each == 0)
        if not same.all():
            return start + 1 + int(np.argmin(same))
    return None


def _require_finite(features: np.ndarray, rows: np.ndarray, path: Path) -> None:
    """Read every image's features once, in blocks."""
    block = max(1, _BLOCK_BYTES // max(1, features[0].nbytes))
    for start in range(0, len(rows), block):
        chosen = rows[start : start + block]
        finite = np.isfinite(features[chosen]).all(axis=(1, 2))
        if not finite.all():
            raise InvalidDataset(f"{path}: row {int(chosen[np.argmin(finite)])} holds NaN or inf; extract it again")


def _ids(files: _Files, count: int, each: int, stored_once: bool, split: str) -> list[str]:
    """Ids of the images: from the ids file, one a row or one a caption, else by number."""
    images = count if stored_once else count // each
    if not files.ids.is_file():
        return [f"{split}-{number:06d}" for number in range(images)]
    ids = read_lines(files.ids)
    if len(ids) not in (images, images * each):
        raise InvalidDataset(f"{files.ids} has {len(ids)} ids for {images} images with {each} captions each")
    return ids if len(ids) == images else ids[::each]


def _sampled(path: Path) -> bytes:
    """A file's length, its first bytes, and spread samples up to its last ones."""
    try:
        length = path.stat().st_size
        parts = [str(length).encode()]
        with path.open("rb") as file:
            for number in range(_SAMPLES):
                file.seek(max(0, length - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                parts.append(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise InvalidDataset(f"cannot read {path}: {error.strerror or error}") from None
    return b"".join(parts)


def _vocabulary(root: Path, given: str | None) -> Path | None:
    """The vocabulary file, checked for its layout."""
    found = sorted(root.glob("*vocab*.json"))
    path = within(root, given, "dataset.vocabulary") if given is not None else found[0] if len(found) == 1 else None
    if path is not None and not isinstance(parse_json(read_bytes(path), path).get("word2idx"), dict):
        raise InvalidDataset(f"{path} must map words to ids under 'word2idx', as SCAN's vocab.py writes it")
    return path
