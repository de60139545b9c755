"""From an alignment's axes to what a reader sees: tokens to words, fragments to places in the picture."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from harness.backbones.base import ImageEncoder, TextEncoder
from harness.datasets.base import Images
from harness.fragments import Tokens
from harness.records.cards import DECIMALS, Box


class Word(NamedTuple):
    """A word of a caption, and the places of its tokens among the caption's."""

    text: str
    places: list[int]


def words_of(encoder: TextEncoder, tokens: Tokens, mask: Tensor) -> list[Word]:
    """The words of one caption that take part in an alignment; word pieces that follow each other are joined."""
    found: list[Word] = []
    for place, (token, real) in enumerate(zip(tokens.ids[0].tolist(), mask.tolist(), strict=False)):
        if not real:
            continue
        piece = encoder.tokenizer.piece(token)
        if piece.startswith("##") and found and found[-1].places[-1] == place - 1:
            last = found.pop()
            found.append(Word(last.text + piece[2:], [*last.places, place]))
        else:
            found.append(Word(piece, [place]))
    return found


def boxes_of(encoder: ImageEncoder, images: Images, row: int, fragments: int) -> tuple[Box | None, ...] | None:
    """Where each fragment of a picture lies."""
    side = math.isqrt(fragments - encoder.class_tokens)
    if encoder.input != "pixels" or side * side != fragments - encoder.class_tokens:
        return None
    left, top, right, bottom = 0.0, 0.0, 1.0, 1.0
    if encoder.resize == "crop":
        size = images.original(row).size
        shorter = min(size)
        left, right = (0.5 - shorter / size[0] / 2, 0.5 + shorter / size[0] / 2)
        top, bottom = (0.5 - shorter / size[1] / 2, 0.5 + shorter / size[1] / 2)
    width, height = (right - left) / side, (bottom - top) / side
    cells = [
        (left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height)
        for row in range(side)
        for column in range(side)
    ]
    rounded: list[Box] = [tuple(round(edge, DECIMALS) for edge in cell) for cell in cells]  # type: ignore[misc]
    return (*[None] * encoder.class_tokens, *rounded)
