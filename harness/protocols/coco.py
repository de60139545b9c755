"""COCO's 5,000 test images under judgements made later: CxC, ECCV Caption, and plausible matches (PMRP).

The first two come with the PyPI package `eccv_caption`, whose data files are read here; none of its code runs. The third
is two files of the same form that a user puts into the dataset's folder.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import InvalidProtocol, one_line
from harness.files.extras import install_extra
from harness.files.hashing import sha256_file
from harness.files.reading import Damaged, parse_json
from harness.metrics.positives import Positives
from harness.protocols.base import Subject
from harness.protocols.judged import Judged, JudgedProtocol

IMAGES, CAPTIONS = 5000, 25_000
_PMRP_URL = "https://github.com/naver-ai/eccv-caption"


@dataclass(frozen=True, kw_only=True)
class CocoJudgements(JudgedProtocol):
    """Relevance from `<stem>_image_to_caption.json` and `<stem>_caption_to_image.json`.

    Args:
        stem: of the files.
        packaged: whether they come with `eccv_caption`, or lie in the dataset's folder.
    """

    stem: str
    packaged: bool = True
    count: int | None = IMAGES
    title: str = "mscoco"

    def judged(self, subject: Subject) -> Judged:
        """The files' relevance, in rows and columns of the subject."""
        rows, columns, matched = coco_places(self.name, subject, _package_data(self.name))
        i2t, t2i = self._paths(subject)
        info = {"matched": matched, "files": self.files(subject)}
        return Judged(_positives(i2t, rows, columns), _positives(t2i, columns, rows), info)

    def files(self, subject: Subject) -> dict[str, str]:
        """See `Protocol.files`: the two files of pairs."""
        return {path.name: sha256_file(path) for path in self._paths(subject)}

    def report(self, subject: Subject) -> str:
        """How many of the files' pairs name an item that the split lacks; nothing where none does."""
        rows, columns, _ = coco_places(self.name, subject, _package_data(self.name))
        lines = []
        for path, items in zip(self._paths(subject), (columns, rows), strict=True):
            found = [item for values in _read(path).values() for item in values]
            lacking = sum(item not in items for item in found)
            if lacking:
                lines.append(f"{lacking:,} of {len(found):,} pairs in {path.name} name an item that this split lacks")
        return f"protocol {self.name}: {'; '.join(lines)}" if lines else ""

    def _paths(self, subject: Subject) -> tuple[Path, Path]:
        """The files of both directions."""
        names = f"{self.stem}_image_to_caption.json", f"{self.stem}_caption_to_image.json"
        folder = _package_data(self.name) if self.packaged else subject.root
        missing = [name for name in names if folder is None or not (folder / name).is_file()]
        if missing and not self.packaged:
            raise InvalidProtocol(
                f"protocol {self.name} needs {' and '.join(names)} in the dataset's folder"
                f"{f', {missing[0]} is not in {folder}' if folder else ''}; {_PMRP_URL} says where they are"
            )
        assert folder is not None
        return folder / names[0], folder / names[1]


def coco_places(protocol: str, subject: Subject, folder: Path) -> tuple[dict[int, int], dict[int, int], str]:
    """Find COCO's ids in a subject: by its own ids, else by position where it is COCO's test split in file order.

    Args:
        protocol: its name, for the message.
        subject: 5,000 images and 25,000 captions.
        folder: the data of `eccv_caption`.

    Returns:
        COCO's image id -> row, its annotation id -> column, and how that is known: by ids, or by position.

    Raises:
        InvalidProtocol: the ids are not COCO's, and the order cannot be known.
    """
    own = _read(folder / "original_caption_to_image.json")
    owner = np.asarray(subject.caption_image)
    image_ids = [_trailing_number(name) for name in subject.image_ids]
    caption_ids = [int(name) if name.isascii() and name.isdigit() else None for name in subject.caption_ids]
    if set(caption_ids) == own.keys() and set(image_ids) == {images[0] for images in own.values()}:
        image = {number: row for row, number in enumerate(image_ids) if number is not None}
        caption = {number: column for column, number in enumerate(caption_ids) if number is not None}
        wrong = next((c for c, i in own.items() if owner[caption[c]] != image[i[0]]), None)
        if wrong is None:
            return image, caption, "ids"
        raise InvalidProtocol(f"protocol {protocol}: the dataset gives caption {wrong} to another image than COCO does")
    order = np.load(folder / "coco_test_ids.npy", allow_pickle=False)
    in_file_order = len(owner) == CAPTIONS and np.array_equal(owner, np.arange(CAPTIONS) // 5)
    if subject.title == "mscoco" and in_file_order:
        image = {own[int(number)][0]: column // 5 for column, number in enumerate(order)}
        return image, {int(number): column for column, number in enumerate(order)}, "position in file order"
    raise InvalidProtocol(
        f"protocol {protocol} needs COCO's test split with COCO's ids (dataset karpathy), or in file order with 5 captions "
        f"per image under the name mscoco; got '{subject.title or 'a dataset without a name'}' with image id "
        f"'{subject.image_ids[0]}' and caption id '{subject.caption_ids[0]}'"
    )


@functools.cache
def _package_data(protocol: str) -> Path:
    found = importlib.util.find_spec("eccv_caption")  # found, not imported: it warns and needs more packages
    locations = list(found.submodule_search_locations or ()) if found else []
    folder = Path(locations[0]) / "data" if locations else None
    if folder is None or not (folder / "coco_test_ids.npy").is_file():
        raise InvalidProtocol(
            f"protocol {protocol} needs the data of the package eccv_caption; in the clone, run: {install_extra('eccv')}"
        )
    return folder


def _read(path: Path) -> dict[int, list[int]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidProtocol(f"cannot read {path}: {error.strerror or error}") from None
    return _parsed(content, path)


@functools.lru_cache(maxsize=8)  # by content: a user may correct a file while this process runs
def _parsed(content: bytes, path: Path) -> dict[int, list[int]]:
    try:
        return {int(key): [int(item) for item in items] for key, items in parse_json(content).items()}
    except (Damaged, ValueError, TypeError, AttributeError) as error:
        raise InvalidProtocol(f"cannot read {path} as a map of ids to lists of ids: {one_line(error, 120)}") from None


def _positives(path: Path, queries: dict[int, int], items: dict[int, int]) -> Positives:
    """A file's relevance; items that the split lacks are absent (ECCV Caption names two sixth captions of an image)."""
    pairs = [(query, item) for query, found in _read(path).items() for item in found]
    unknown = next((query for query, _ in pairs if query not in queries), None)
    if unknown is not None or not any(item in items for _, item in pairs):
        what = f"asks {unknown}, which is not in COCO's test split" if unknown else "holds no pair of COCO's test split"
        raise InvalidProtocol(f"{path} {what}; get it again")
    return Positives.from_pairs(
        np.array([queries[q] for q, _ in pairs]), np.array([items.get(i, -1) for _, i in pairs])
    )


def _trailing_number(name: str) -> int | None:
    """391895 of `COCO_val2014_000000391895.jpg` and of `391895`."""
    found = re.search(r"(?:^|_)(\d+)(?:\.\w+)?$", name, re.ASCII)
    return int(found[1]) if found else None


CXC = CocoJudgements(
    name="cxc",
    description="Crisscrossed Captions: COCO 5K with the pairs that people graded as matching",
    queries="5,000 images, 24,972 captions",
    positives="CxC's pairs (package eccv_caption)",
    stem="cxc",
    headline=("rsum", "i2t_r1", "t2i_r1"),
)
ECCV_CAPTION = CocoJudgements(
    name="eccv_caption",
    description="ECCV Caption: COCO 5K with matches found by machines and verified by people",
    queries="1,261 images, 1,332 captions",
    positives="ECCV Caption's pairs (package eccv_caption)",
    stem="eccv",
)
PMRP = CocoJudgements(
    name="pmrp",
    description="Plausible matches on COCO 5K: R-Precision where the files pm_*.json are given",
    positives="pairs that share object classes (pm_image_to_caption.json, pm_caption_to_image.json)",
    stem="pm",
    packaged=False,
    headline=("i2t_r_precision", "t2i_r_precision"),
)
