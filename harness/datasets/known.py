"""Published datasets: their sizes, the files of each layout, and where one gets them. Facts only; nothing is opened.

An experiment names the one that it is about (`expects: flickr30k`), so that it can be planned before the data are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Bytes of the region features of one image: 36 regions, 2,048 float32 each.
REGIONS, REGION_WIDTH = 36, 2048
REGION_BYTES = REGIONS * REGION_WIDTH * 4

_KARPATHY = "Karpathy's splits: https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_FLICKR30K_IMAGES = (
    "on request at https://shannon.cs.illinois.edu/DenotationGraph; on the Hugging Face hub: nlphuji/flickr30k"
)
_LAPS = "data/{folder} of https://github.com/CrossmodalGroup/LAPS"
_BLIP = "https://storage.googleapis.com/sfr-vision-language-research/datasets/{file}"
_CLIP_BENCHMARK = "https://github.com/mehdidc/retrieval_annotations/releases/download/1.0.0/{file}"
_SCAN = "SCAN's data.zip; mirror on Kaggle: kuanghueilee/scan-features"


@dataclass(frozen=True)
class DataFile:
    """A file or folder of a dataset.

    Args:
        path: below the dataset's root.
        what: in words.
        where: how one gets it.
        bytes: of a file whose content has a known size; None = not known here.
        required: whether nothing runs without it.
    """

    path: str
    what: str
    where: str
    bytes: int | None = None
    required: bool = True


@dataclass(frozen=True)
class KnownDataset:
    """A published dataset.

    Args:
        images: by split, `train`, `val` and `test`.
        captions_per_image: as the field uses it.
        words: mean and standard deviation of a caption's words, and the longest caption.
        source: of these numbers.
        files: by layout (a name in `itm ls datasets`).
    """

    images: Mapping[str, int]
    captions_per_image: int
    words: tuple[float, float, int]
    source: str
    files: Mapping[str, tuple[DataFile, ...]] = field(default_factory=dict)


def _regions(images: Mapping[str, int], test: str, folder: str) -> tuple[DataFile, ...]:
    """SCAN's files; features count as stored once per image, which is how SCAN offers those of this detector."""
    found = []
    for split, prefix in (("train", "train"), ("val", "dev"), ("test", test)):
        size = images[split] * REGION_BYTES
        what = f"{images[split]:,} x {REGIONS} x {REGION_WIDTH:,} float32"
        found.append(DataFile(f"{prefix}_ims.npy", what, _SCAN, size))
        found.append(DataFile(f"{prefix}_caps.txt", "captions, one per line", _SCAN))
    vocabulary = f"../vocab/{folder}_vocab.json"
    return (*found, DataFile(vocabulary, "vocabulary; else counted", f"SCAN's vocab.zip ({_SCAN})", required=False))


def _coco_images(folder: str) -> tuple[DataFile, ...]:
    counts = {"train2014": "82,783", "val2014": "40,504"}
    return tuple(
        DataFile(f"{folder}/{part}", f"{count} photographs", f"https://cocodataset.org: {part}.zip")
        for part, count in counts.items()
    )


def _laps(folder: str, test: str, images: tuple[DataFile, ...]) -> tuple[DataFile, ...]:
    """LAPS's files, whose images lie beside them."""
    where = _LAPS.format(folder=folder)
    lines = [
        DataFile(f"{prefix}_{kind}.txt", what, where)
        for prefix in ("train", "dev", test)
        for kind, what in (("caps", "captions, one per line"), ("ids", "image ids"))
    ]
    return (DataFile("id_mapping.json", "image file of each id", where), *lines, *images)


def _lists(pattern: str, source: str, images: tuple[DataFile, ...]) -> tuple[DataFile, ...]:
    """One file of captions per split."""
    names = [pattern.format(split=split) for split in ("train", "val", "test")]
    return (*(DataFile(name, "captions", source.format(file=name)) for name in names), *images)


_FLICKR30K = {"train": 29_000, "val": 1_014, "test": 1_000}
_COCO = {"train": 113_287, "val": 5_000, "test": 5_000}

#: By the title that tables and published figures use.
KNOWN: Mapping[str, KnownDataset] = {
    "flickr8k": KnownDataset(
        {"train": 6_000, "val": 1_000, "test": 1_000},
        5,
        (11.8, 3.9, 38),
        "counted in Karpathy's dataset_flickr8k.json",
        {
            "karpathy": (
                DataFile("dataset_flickr8k.json", "splits and captions", _KARPATHY),
                DataFile("images", "8,000 photographs", "Flickr8k_Dataset.zip; mirror on Kaggle: adityajn105/flickr8k"),
            )
        },
    ),
    "flickr30k": KnownDataset(
        _FLICKR30K,
        5,
        (13.4, 5.4, 78),
        "images counted in LAPS's files; words per caption approximate",
        {
            "karpathy": (
                DataFile("dataset_flickr30k.json", "splits and captions", _KARPATHY),
                DataFile("images", "31,014 photographs", _FLICKR30K_IMAGES),
            ),
            "laps": _laps("f30k", "test", (DataFile("../flickr30k-images", "31,014 photographs", _FLICKR30K_IMAGES),)),
            "blip": _lists(
                "flickr30k_{split}.json",
                _BLIP,
                (DataFile("flickr30k-images", "31,014 photographs", _FLICKR30K_IMAGES),),
            ),
            "clip_benchmark": _lists(
                "flickr30k_{split}_karpathy.txt",
                _CLIP_BENCHMARK,
                (DataFile("images", "31,014 photographs", _FLICKR30K_IMAGES),),
            ),
            "precomp": _regions(_FLICKR30K, "test", "f30k_precomp"),
        },
    ),
    "mscoco": KnownDataset(
        _COCO,
        5,
        (11.3, 2.6, 50),
        "images and words per caption counted in LAPS's files",
        {
            "karpathy": (
                DataFile("dataset_coco.json", "splits and captions", _KARPATHY),
                *_coco_images("images"),
            ),
            "laps": _laps("coco", "testall", _coco_images("../coco-images")),
            "blip": _lists("coco_karpathy_{split}.json", _BLIP, _coco_images("images")),
            "precomp": _regions(_COCO, "testall", "coco_precomp"),
        },
    ),
}
