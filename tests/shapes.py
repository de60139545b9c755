"""One small set of photographs with captions, written in the shape of each layout that published data come in.

Every function writes the same pictures, captions and splits below a folder, and returns the root that a user would name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = {"train": 8, "val": 4, "test": 6}
EACH = 5
_WORDS = ("dog", "cat", "boat", "tree", "child", "horse", "train", "ball", "kite", "bench")


@dataclass(frozen=True)
class Picture:
    """A photograph with its captions."""

    file: str
    split: str
    captions: tuple[str, ...]


def pictures(each: int = EACH) -> list[Picture]:
    """The set: file names in no order, commas in captions, one caption that names a file."""
    found = []
    for split, count in COUNTS.items():
        for row in range(count):
            number = len(found)
            texts = [f"a {_WORDS[(number + k) % 10]} , seen near {split} {row} {_WORDS[k]} ." for k in range(each)]
            if number == 9:
                texts[1] = 'the sign says "dog.jpg,cat.jpg"'
            found.append(Picture(f"{(number * 7919) % 1000 + 1000}.jpg", split, tuple(texts)))
    return found


def of(split: str, each: int = EACH) -> list[Picture]:
    """The pictures of a split."""
    return [picture for picture in pictures(each) if picture.split == split]


def images(folder: Path) -> Path:
    """The image files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures()):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / picture.file, quality=95)
    return folder


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, lines: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def karpathy(root: Path) -> Path:
    images(root / "images")
    rows = [
        {"filename": p.file, "split": p.split, "sentences": [{"raw": text} for text in p.captions]} for p in pictures()
    ]
    write_json(root / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": rows})
    return root


def _laps_files(folder: Path, captions: Path, test: str = "test", prefix: str = "") -> None:
    """Ids are positions among the sorted file names; once per image in train, once per caption elsewhere."""
    order = sorted(picture.file for picture in pictures())
    write_json(folder / "id_mapping.json", {str(number): f"{prefix}{file}" for number, file in enumerate(order)})
    for split, name in (("train", "train"), ("val", "dev"), ("test", test)):
        write_lines(captions / f"{name}_caps.txt", [text for picture in of(split) for text in picture.captions])
        repeats = 1 if split == "train" else EACH
        write_lines(captions / f"{name}_ids.txt", [order.index(p.file) for p in of(split) for _ in range(repeats)])


def laps(root: Path) -> Path:
    """LAPS's tree, whose images lie beside the captions; the root is the folder of the captions."""
    images(root / "flickr30k-images")
    _laps_files(root / "f30k", root / "f30k")
    return root / "f30k"


def laps_above(root: Path) -> Path:
    """The same; the root is the folder of both."""
    laps(root)
    return root


def laps_coco(root: Path) -> Path:
    """Test files called testall, images in a folder of a split below coco-images."""
    images(root / "coco-images" / "val2014")
    _laps_files(root / "coco", root / "coco", "testall", "val2014/")
    return root / "coco"


def vse_infinity(root: Path) -> Path:
    """Captions in precomp/, images and mapping beside it; also PCME++."""
    root = root / "f30k"
    images(root / "flickr30k-images")
    _laps_files(root, root / "precomp")
    return root


def blip(root: Path) -> Path:
    """One row per caption in train, one per image elsewhere."""
    images(root / "flickr30k-images")
    for split in COUNTS:
        listed = [{"image": f"flickr30k-images/{p.file}", "caption": list(p.captions)} for p in of(split)]
        single = [
            {"caption": text, "image": f"flickr30k-images/{p.file}", "image_id": number}
            for number, p in enumerate(of(split))
            for text in p.captions
        ]
        write_json(root / f"flickr30k_{split}.json", single if split == "train" else listed)
    return root


def lavis(root: Path) -> Path:
    """LAVIS's cache: annotations/ beside images/, the same rows for COCO."""
    images(root / "images" / "val2014")
    for split in COUNTS:
        rows = [{"image": f"val2014/{p.file}", "caption": list(p.captions)} for p in of(split)]
        write_json(root / "annotations" / f"coco_karpathy_{split}.json", rows)
    return root


def clip_benchmark(root: Path) -> Path:
    images(root)
    for split in COUNTS:
        lines = [f"{picture.file},{text}" for picture in of(split) for text in picture.captions]
        write_lines(root / f"flickr30k_{split}_karpathy.txt", ["image,caption", *lines])
    return root


#: By the layout's name in `itm ls datasets`, the shapes that it reads; all hold the same data as `karpathy`.
SHAPES: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "laps": (laps, laps_above, laps_coco, vse_infinity),
    "blip": (blip, lavis),
    "clip_benchmark": (clip_benchmark,),
}
