"""From an alignment's axes to what a reader sees: tokens to words, fragments to places in the picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from harness.backbones.base import ImageEncoder, TextEncoder
from harness.datasets.base import Images
from harness.fragments import Tokens
from harness.records.cards import DECIMALS, Box

#: What tokenizers write at the beginning or end of a piece: WordPiece, SentencePiece, byte pairs.
_MARKS = re.compile(r"^##(?=.)|^[▁Ġ]|</w>$")


class Word(NamedTuple):
    """A word of a caption, and the places of its tokens among the caption's."""

    text: str
    places: list[int]


def words_of(encoder: TextEncoder, tokens: Tokens, mask: Tensor, text: str) -> list[Word]:
    """The words of one caption that take part in an alignment, their pieces joined.

    Args:
        encoder: whose tokenizer made the tokens.
        tokens: of the caption, (1, W).
        mask: (W,) bool, the tokens that take part.
        text: the caption.
    """
    ids, taking_part = tokens.ids[0].tolist(), mask.tolist()
    pieces = [encoder.tokenizer.piece(token) for token in ids]
    words = [Word(word.text, [place for place in word.places if taking_part[place]]) for word in joined(pieces, text)]
    return [word for word in words if word.places]


def joined(pieces: Sequence[str], text: str) -> list[Word]:
    """Tokens as words: pieces that follow each other in the text without a space or a mark between them are one word.

    Every tokenizer marks its pieces otherwise, or not at all, so that the text itself decides.

    >>> [word.text for word in joined(["[CLS]", "sky", "##div", "##ers", "jump", ".", "[SEP]"], "Skydivers jump.")]
    ['[CLS]', 'skydivers', 'jump', '.', '[SEP]']

    Args:
        pieces: of all tokens, special ones included.
        text: what they were made of.
    """
    found: list[Word] = []
    plain, end, open_word = _plain(text), 0, False
    for place, piece in enumerate(pieces):
        bare = _plain(_MARKS.sub("", piece))
        start = plain.find(bare, end) if bare else -1
        continues = start == end and open_word and bare[0].isalnum()
        if continues:
            last = found.pop()
            found.append(Word(last.text + _MARKS.sub("", piece), [*last.places, place]))
        else:
            found.append(Word(_MARKS.sub("", piece) or piece, [place]))
        open_word = start >= 0 and bare[-1].isalnum()
        end = start + len(bare) if start >= 0 else end
    return found


def _plain(text: str) -> str:
    """Text as tokenizers compare it: in small letters, without accents."""
    parts = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in parts if not unicodedata.combining(c))


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
