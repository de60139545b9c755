"""Whether a split has the number of images under which the field reports figures."""

from __future__ import annotations

from harness.datasets.known import KNOWN

#: Authors' loaders cut the validation split to 1,000 images; COCO has a 1K protocol beside the one of 5,000.
_CUT = 1000
#: Images of a whole dataset, with those that no split names, beside the sum of its splits.
_WHOLE = {8091: "flickr8k", 8092: "flickr8k", 31_783: "flickr30k"}


def published_sizes(title: str, split: str) -> list[int]:
    """Numbers of images of a published split; none where the dataset is not known.

    >>> published_sizes("flickr30k", "val"), published_sizes("holidays", "test")
    ([1000, 1014], [])
    """
    if title not in KNOWN or split not in KNOWN[title].images:
        return []
    images = KNOWN[title].images[split]
    return sorted({images, _CUT} if split != "train" else {images})


def whole_of(images: int) -> str:
    """The dataset all of whose images these are as many as, "" where there is none.

    >>> whole_of(31_014), whole_of(1_000)
    ('flickr30k', '')
    """
    sums = {sum(known.images.values()): title for title, known in KNOWN.items()}
    return (sums | _WHOLE).get(images, "")
