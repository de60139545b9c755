"""Image files: what their headers say, whether they can be decoded, and their fingerprints. Remembered in the cache."""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from harness.datasets.files import require_inside
from harness.datasets.photographs.decoding import DECODER, FORMATS, MOST_PIXELS, as_shown, decode_bytes
from harness.datasets.photographs.sources import ImageFiles, ImageSource
from harness.datasets.store import facts
from harness.description.hashes import Prints, fingerprint
from harness.description.spreads import spread
from harness.errors import InvalidDataset, one_line
from harness.records.description import PROBLEMS, FileFacts

#: Part of the cache's key: raise it when a file yields other facts than before.
_VERSION = 1
_HASHED = 64  # JPEGs are decoded at the smallest eighth of their size that is no smaller
_SIZES = 8
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Picture:
    """What one file is; `problem` is why it cannot be read, "" if it can."""

    sha256: str = ""
    bytes: int = 0
    format: str = ""
    mode: str = ""
    width: int = 0  #: as shown: upright by its EXIF data
    height: int = 0
    turned: bool = False
    problem: str = ""
    missing: bool = False
    hash: str = ""
    grey: str = ""


def look(source: ImageSource, root: Path, *, quick: bool = False) -> list[Picture]:
    """What each image is, of which some may be missing.

    Args:
        source: where their bytes lie.
        root: the folder that files must lie in; a link that leaves it is a problem, and is not followed.
        quick: read headers only: no content is hashed and no image decoded.
    """
    labels = list(source.labels)
    found, marks = _marks(source, root)
    there = [row for row in range(len(labels)) if row not in found]
    rows = {labels[row]: row for row in there}

    def find(label: Path) -> list[str]:
        return _as_texts((_header if quick else _whole)(source, rows[label]))

    kind = f"{'headers' if quick else 'pictures'}-{DECODER}-{_VERSION}"
    kept = facts.remembered(kind, [labels[row] for row in there], marks, find, "looking at images")
    found |= {row: Picture(**json.loads(texts[0])) for row, texts in zip(there, kept, strict=True)}
    return [found[row] for row in range(len(labels))]


def _marks(source: ImageSource, root: Path) -> tuple[dict[int, Picture], list[facts.Signature]]:
    """The images that cannot be looked at, by row, and the signatures of the others."""
    if not isinstance(source, ImageFiles):
        return {}, source.marks()
    found, marks = {}, []
    outside = {folder: _outside(folder, root) for folder in {path.parent for path in source.labels}}
    for row, path in enumerate(source.labels):
        problem = outside[path.parent] or (_outside(path, root) if path.is_symlink() else "")
        try:
            if problem:
                raise InvalidDataset(problem)
            marks.append(facts.signature(path))
        except InvalidDataset as error:
            found[row] = Picture(problem=str(error), missing=not os.path.lexists(path))
    return found, marks


def _outside(path: Path, root: Path) -> str:
    """Why a path is refused whose links leave the root; "" if they do not."""
    try:
        require_inside(root, path)
    except InvalidDataset as error:
        return str(error)
    return ""


def file_facts(pictures: Sequence[Picture], prints: Prints | None) -> FileFacts:
    """The files of a split in numbers.

    Args:
        pictures: what each file is.
        prints: their fingerprints, None where images were not decoded.
    """
    bad = [picture for picture in pictures if picture.problem]
    seen = [picture for picture in pictures if picture.width]
    readable = np.array([not picture.problem for picture in pictures], dtype=bool)
    counted = FileFacts(
        missing=sum(picture.missing for picture in bad),
        unreadable=sum(not picture.missing for picture in bad),
        problems=[p.problem for missing in (True, False) for p in [p for p in bad if p.missing is missing][:PROBLEMS]],
        uniform=0 if prints is None else int((readable & ~prints.known).sum()),
    )
    if not seen:
        return counted
    return counted.model_copy(
        update={
            "bytes": spread([picture.bytes for picture in seen]),
            "width": spread([picture.width for picture in seen]),
            "height": spread([picture.height for picture in seen]),
            "aspect": spread([picture.width / picture.height for picture in seen]),
            "sizes": _most(Counter(f"{picture.width} x {picture.height}" for picture in seen), _SIZES),
            "modes": _most(Counter(picture.mode for picture in seen)),
            "formats": _most(Counter(picture.format for picture in seen)),
            "turned": sum(picture.turned for picture in seen),
        }
    )


def prints_of(pictures: Sequence[Picture]) -> Prints:
    """Fingerprints of files that were looked at whole; a file that cannot be read has none."""
    blank = base64.b64encode(bytes(256)).decode()
    return Prints.stack(
        [
            (int(picture.hash or "0", 16), np.frombuffer(base64.b64decode(picture.grey or blank), np.uint8))
            for picture in pictures
        ]
    )


def thumbnail(image: Image.Image, side: int = 240) -> bytes:
    """A small JPEG of an RGB image, its longer side at most `side` pixels."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.convert("RGB").save(buffer, "JPEG", quality=78, optimize=True)
    return buffer.getvalue()


def read_thumbnail(source: ImageSource, row: int) -> bytes | None:
    """A small JPEG of an image; None where it cannot be read."""
    try:
        return thumbnail(decode_bytes(source.read(row), source.labels[row]))
    except InvalidDataset:
        return None


def _header(source: ImageSource, row: int) -> Picture:
    label = source.labels[row]
    try:
        content = source.read(row)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _described(image, Picture(bytes=len(content)))
    except (InvalidDataset, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return Picture(problem=f"image {label} cannot be read: {one_line(error)}")


def _whole(source: ImageSource, row: int) -> Picture:
    picture, label = Picture(), source.labels[row]
    try:
        content = source.read(row)
        picture = Picture(sha256=facts.sha256_of(content), bytes=len(content))
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                picture = _described(image, picture)
                shown = _small(image)
        except Exception:  # the full decoder says what is wrong
            shown = decode_bytes(content, label)
        bits, grey = fingerprint(shown)
        return replace(picture, hash=f"{bits:016x}", grey=base64.b64encode(grey.tobytes()).decode())
    except InvalidDataset as error:
        return replace(picture, problem=str(error))


def _described(image: Image.Image, picture: Picture) -> Picture:
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data: viewers show the picture as it lies
        orientation = 1
    width, height = image.size
    if orientation in _ON_ITS_SIDE:
        width, height = height, width
    return replace(
        picture,
        format=image.format or "",
        mode=image.mode,
        width=width,
        height=height,
        turned=orientation in range(2, 9),
    )


def _small(image: Image.Image) -> Image.Image:
    """The picture as it is shown; a JPEG only as large as its hash needs, which is many times faster."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError("too many pixels")
    image.draft("RGB", (_HASHED, _HASHED))
    image.load()
    return as_shown(image)


def _as_texts(picture: Picture) -> list[str]:
    return [json.dumps(asdict(picture))]


def _most(counts: Counter[str], limit: int = 20) -> dict[str, int]:
    return dict(counts.most_common(limit))
