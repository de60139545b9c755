"""One small set of photographs with captions, written in the shape of each layout that published data come in.

Every function writes the same pictures, captions and splits below a folder, and returns the root that a user would name.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.datasets import open_dataset
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset

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


def _bytes(folder: Path) -> dict[str, bytes]:
    """The content of each image file."""
    images(folder)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    return content


def webdataset(root: Path) -> Path:
    """CLIP_benchmark's archives, four samples in each; line breaks inside captions are written as a backslash and an n."""
    root = root / "wds_flickr30k"
    content = _bytes(root / "images")
    write_lines(root / "dataset_type.txt", ["retrieval"])
    for split in COUNTS:
        tar(root, split, [(p.captions, content[p.file]) for p in of(split)])
    return root


def tar(root: Path, split: str, samples: Sequence[tuple[Sequence[str], bytes]], per_archive: int = 4) -> None:
    """A split of a webdataset."""
    (root / split).mkdir(parents=True, exist_ok=True)
    starts = range(0, len(samples), per_archive)
    for number, start in enumerate(starts):
        with tarfile.open(root / split / f"{number}.tar", "w") as archive:
            for row, (captions, image) in enumerate(samples[start : start + per_archive], start):
                text = "\n".join(caption.replace("\n", r"\n") for caption in captions)
                add(archive, f"s{row:07d}.txt", text.encode())
                add(archive, f"s{row:07d}.jpg", image)
    write_lines(root / split / "nshards.txt", [len(starts)])


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **header: Any) -> None:
    """A member of an archive, of any kind."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


def _rows() -> list[dict[str, Any]]:
    """Rows as in nlphuji/flickr30k: the column `split` decides."""
    return [
        {"filename": p.file, "split": p.split, "sentids": list(range(EACH)), "img_id": str(number), "number": number}
        for number, p in enumerate(pictures())
    ]


def parquet(path: Path, rows: Sequence[dict[str, Any]], group: int = 4) -> None:
    """A Parquet file with some rows in each row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)


def hub_with_pictures(root: Path) -> Path:
    """nlphuji/flickr30k: all rows in the hub's split `test`, pictures in the table."""
    content = _bytes(root / "images")
    rows = [
        {**row, "caption": list(p.captions), "image": {"bytes": content[p.file], "path": p.file}}
        for row, p in zip(_rows(), pictures(), strict=True)
    ]
    root = root / "flickr30k"
    for number, start in enumerate((0, 10)):
        parquet(root / "TEST" / "test" / f"000{number}.parquet", rows[start : start + 10])
    return root


def hub_beside_pictures(root: Path) -> Path:
    """yerevann/coco-karpathy's columns, without `cocoid`; pictures in a folder."""
    root = root / "flickr30k"
    images(root / "images" / "val2014")
    rows = [
        {**row, "filepath": "val2014", "sentences": list(p.captions)}
        for row, p in zip(_rows(), pictures(), strict=True)
    ]
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        own = [row for row in rows if row["split"] == split]
        parquet(root / "data" / f"{name}-00000-of-00001.parquet", own)
    return root


def flickr_csv(root: Path) -> Path:
    """flickr_annotations_30k.csv: JSON lists in cells."""
    images(root / "flickr30k-images")
    with (root / "flickr_annotations_30k.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["raw", "sentids", "split", "filename", "img_id"])
        for number, p in enumerate(pictures()):
            table.writerow([json.dumps(p.captions), json.dumps(list(range(EACH))), p.split, p.file, number])
    return root


def _tokens(captions: Sequence[Picture]) -> list[str]:
    return [f"{p.file}#{number}\t{text}" for p in captions for number, text in enumerate(p.captions)]


def flickr30k_entities(root: Path) -> Path:
    """The Flickr30K token file with the splits of Flickr30k Entities, whose ids lack `.jpg`."""
    images(root / "flickr30k-images")
    write_lines(root / "results_20130124.token", _tokens(pictures()))
    for split in COUNTS:
        write_lines(root / f"{split}.txt", [p.file.removesuffix(".jpg") for p in of(split)])
    return root


def flickr8k_text(root: Path) -> Path:
    """Flickr8k's two archives: its splits are called trainImages, devImages, testImages."""
    root = root / "flickr8k"
    images(root / "Flicker8k_Dataset")
    text = root / "Flickr8k_text"
    stray = "2258277193_586949ec62.jpg.1#0\ta caption of no file"
    write_lines(text / "Flickr8k.token.txt", [*_tokens(pictures()), stray])
    write_lines(text / "Flickr8k.lemma.token.txt", _tokens(pictures()))
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        write_lines(text / f"Flickr_8k.{name}Images.txt", [p.file for p in of(split)])
    return root


def kaggle_results(root: Path) -> Path:
    """Kaggle's results.csv: bars between the columns, one row without its second one."""
    flickr30k_entities(root)
    (root / "results_20130124.token").unlink()
    lines = [f"{p.file}| {number}| {text}" for p in pictures() for number, text in enumerate(p.captions)]
    lines[4] = lines[4].replace("| 4| ", "| 4   ")
    write_lines(root / "results.csv", ["image_name| comment_number| comment", *lines])
    return root


def kaggle_captions(root: Path) -> Path:
    """Kaggle's captions.txt: a CSV file whose captions are quoted where they must be."""
    root = root / "flickr30k"
    flickr30k_entities(root)
    (root / "results_20130124.token").unlink()
    with (root / "captions.txt").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        table.writerows((p.file, text) for p in pictures() for text in p.captions)
    return root


def coco_captions(root: Path, year: str = "val2017", split: str = "test") -> Path:
    """COCO's own file: images and annotations in an order of their own."""
    images(root / "coco" / year)
    own = of(split)
    annotations = [
        {"id": 100 * number + k, "image_id": row, "caption": text}
        for k in range(EACH)
        for row, p in enumerate(own)
        for number, text in [(row, p.captions[k])]
    ]
    listed = [{"id": row, "file_name": p.file} for row, p in enumerate(own)]
    write_json(root / "coco" / "annotations" / f"captions_{year}.json", {"images": listed, "annotations": annotations})
    return root / "coco"


def docci(root: Path) -> Path:
    """DOCCI's four splits; one description each."""
    root = root / "docci"
    images(root / "images")
    names = {"train": "train", "val": "qual_dev", "test": "test"}
    rows = [
        {
            "example_id": p.file.removesuffix(".jpg"),
            "split": names[p.split],
            "image_file": p.file,
            "description": p.captions[0],
        }
        for p in pictures()
    ]
    rows.append({**rows[-1], "example_id": "qual_test_00000", "split": "qual_test"})
    write_lines(root / "docci_descriptions.jsonlines", [json.dumps(row) for row in rows])
    return root


def flair_sentences(root: Path) -> Path:
    """FLAIR's form: one row per sentence, of a number that differs between images."""
    root = root / "docci"
    images(root / "images")
    rows = [
        {"image_id": p.file.removesuffix(".jpg"), "image": f"images/{p.file}", "caption": text}
        for row, p in enumerate(of("test"))
        for text in p.captions[: 1 + row % EACH]
    ]
    write_json(root / "annotations.json", {"annotations": rows})
    return root


def urban1k(root: Path) -> Path:
    """Urban1k: numbered images and text files."""
    root = root / "Urban1k"
    content = _bytes(root / "image")
    (root / "image").mkdir()
    for number, p in enumerate(of("test"), 6):  # 10 and 11 come before 6 in the order of letters
        (root / "image" / f"{number}.jpg").write_bytes(content[p.file])
        write_lines(root / "caption" / f"{number}.txt", [p.captions[0]])
    return root


#: By the layout's name in `itm ls datasets`, the shapes that it reads; all hold the same data as `karpathy`.
SHAPES: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "laps": (laps, laps_above, laps_coco, vse_infinity),
    "blip": (blip, lavis),
    "clip_benchmark": (clip_benchmark,),
}
#: The same for layouts that keep all splits in one file or in files of splits.
WHOLE: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "table": (hub_with_pictures, hub_beside_pictures, flickr_csv),
    "flickr_tokens": (flickr30k_entities, flickr8k_text, kaggle_results, kaggle_captions),
}


def opened(root: Path, **options: Any) -> Dataset:
    """The dataset in a folder, whose layout its files tell."""
    return open_dataset({"root": str(root), **options})


def refused(root: Path, match: str, **options: Any) -> None:
    """The dataset is refused, at the latest when it is checked, by one line."""
    with pytest.raises(InvalidDataset, match=match) as caught:
        opened(root, **options).check()
    assert "\n" not in str(caught.value)


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Write what a change makes of a JSON file's value, or the value that it changed in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(value) or value), encoding="utf-8")


def change_lines(path: Path, change: Callable[[list[str]], Any]) -> None:
    """The same for the lines of a text file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    write_lines(path, change(lines) or lines)
