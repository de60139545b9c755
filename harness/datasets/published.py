"""What published tables call a dataset, and whether a split has their number of images."""

from __future__ import annotations

import logging

from harness.datasets.known import KNOWN

logger = logging.getLogger(__name__)

#: What folders and files are called -> the name in tables.
_NAMES = {
    "f8k": "flickr8k",
    "flickr8k": "flickr8k",
    "f30k": "flickr30k",
    "flickr30k": "flickr30k",
    "flickr": "flickr30k",
    "coco": "mscoco",
    "mscoco": "mscoco",
    "mscoco2014": "mscoco",
    "coco2014": "mscoco",
}
_ENDINGS = ("_precomp", "_karpathy")
#: COCO is evaluated on all its test images, and on the first of five folds.
_FIRST_FOLD = {"mscoco": 1000}


def published_name(name: str) -> str:
    """The name that tables use for a dataset whose folder or files are called so; the name itself where it is not known.

    >>> [published_name(name) for name in ("f30k_precomp", "coco_karpathy", "holidays")]
    ['flickr30k', 'mscoco', 'holidays']
    """
    stem = name.lower()
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    return _NAMES.get(stem, name)


def size_problem(title: str, split: str, images: int) -> str:
    """What is odd about the number of images of a split that has a published size; "" where nothing is.

    Recalls depend on the size of the gallery: all 31,014 images of Flickr30K as the test split give a text-to-image R@5 of 66
    where its 1,000 test images give 95.

    Args:
        title: the dataset as tables name it.
        split: train, val or test.
        images: how many it has.

    >>> size_problem("flickr30k", "test", 31_014)
    'flickr30k test has 31,014 images, but 1,000 in published tables: recalls in galleries of different sizes do not compare'
    >>> size_problem("flickr30k", "train", 28_000)
    'flickr30k train has 28,000 images, but 29,000 behind published tables: figures do not compare'
    >>> size_problem("mscoco", "test", 5000)
    ''
    """
    if split == "val" or title not in KNOWN:  # validation splits are cut to any size
        return ""
    published = KNOWN[title].images[split]
    expected = sorted({published, _FIRST_FOLD.get(title, published) if split == "test" else published})
    if images in expected:
        return ""
    sizes = " or ".join(f"{size:,}" for size in expected)
    consequence = {
        "train": "behind published tables: figures do not compare",
        "test": "in published tables: recalls in galleries of different sizes do not compare",
    }[split]
    return f"{title} {split} has {images:,} images, but {sizes} {consequence}"


def warn_of_size(title: str, split: str, images: int) -> None:
    """Log `size_problem`."""
    if problem := size_problem(title, split, images):
        logger.warning(problem)
