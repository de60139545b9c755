"""From an alignment's axes to what a reader sees: tokens to words, fragments to places in the picture."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from harness.backbones.base import ImageEncoder, TextEncoder
from harness.backbones.words import tokenizers
from harness.datasets.base import Images
from harness.records.cards import DECIMALS, Box


class Word(NamedTuple):
    """A word of a caption, and the places of its fragments among the caption's."""

    text: str
    places: list[int]


def words_of(encoder: TextEncoder, text: str, fragments: int, mask: Tensor) -> list[Word]:
    """The words of one caption that take part in an alignment, their pieces joined.

    Args:
        encoder: of the caption.
        text: the caption.
        fragments: the number of its real fragments.
        mask: (W,) bool, the fragments that take part.
    """
    found = []
    for word in tokenizers.words_of(encoder.tokenizer, text, fragments):
        places = [place for place in word.places if mask[place]]
        if places:
            found.append(Word(word.text if word.known else f"{word.text} (unknown)", places))
    return found


def boxes_of(encoder: ImageEncoder, images: Images, row: int, fragments: int) -> tuple[Box | None, ...] | None:
    """Where each fragment of a picture lies, R boxes; None where that is not known.

    Args:
        encoder: of the images.
        images: of the split.
        row: of the picture.
        fragments: R, those that are real.
    """
    if encoder.grid is None or encoder.grid.fragments != fragments:
        return None
    places = encoder.places(*images.original(row).size)
    if places is None:
        return None
    return tuple(place and _rounded(place) for place in places)


def _rounded(box: Box) -> Box:
    left, top, right, bottom = (min(1.0, max(0.0, round(edge, DECIMALS))) for edge in box)
    return left, top, right, bottom
