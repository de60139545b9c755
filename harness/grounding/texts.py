"""From words of a caption to fragments of a text encoder, by the letters and digits that both spell.

Captions are compared in a plain form: lower case, letters and digits only. So "Two young, White males" of one file is "two
young , white males" of another, and a place in one of them is a place in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.backbones.words.pieces import Word

#: Letters that a tokenizer may leave out between two words that are found, such as a character that it does not know.
_GAP = 40


def plain(text: str) -> str:
    """Letters and digits of a text, in lower case.

    >>> plain("A man's T-shirt , 2nd")
    'amanstshirt2nd'
    """
    return "".join(character for character in text.casefold() if character.isalnum())


def spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end of each word in the plain form of all of them.

    >>> spans("a red circle, and".split())
    [(0, 1), (1, 4), (4, 10), (10, 13)]
    """
    found, start = [], 0
    for word in words:
        end = start + len(plain(word))
        found.append((start, end))
        start = end
    return found


class Located(NamedTuple):
    """A word of a caption: start and end in the caption's plain form, and its fragments."""

    start: int
    end: int
    places: tuple[int, ...]


def located(caption: str, words: Sequence[Word]) -> list[Located]:
    """Where the words of a tokenizer stand in the plain form of a caption, with their fragments.

    Special tokens and punctuation stand nowhere. Neither do words that the caption does not spell at that place, as where a
    tokenizer rewrites them.

    Args:
        caption: its text.
        words: in their order.

    >>> words = [Word("[CLS]", (0,), special=True), Word("a", (1,)), Word("snowboard", (2, 3)), Word(".", (4,))]
    >>> [tuple(word) for word in located("A snowboard.", words)]
    [(0, 1, (1,)), (1, 10, (2, 3))]
    """
    text, cursor = plain(caption), 0
    found: list[Located] = []
    for word in words:
        spelled = "" if word.special else plain(word.text)
        if not spelled:
            continue
        start = text.find(spelled, cursor, cursor + _GAP + len(spelled))
        if start >= 0:
            cursor = start + len(spelled)
            found.append(Located(start, cursor, word.places))
    return found


def fragments_of(span: tuple[int, int], words: Sequence[Located]) -> tuple[int, ...]:
    """The fragments of all words that share a letter with a part of the caption.

    Args:
        span: start and end in the caption's plain form.
        words: as `located` finds them.

    >>> fragments_of((1, 4), [Located(0, 1, (1,)), Located(1, 4, (2,)), Located(4, 6, (3, 4))])
    (2,)
    """
    start, end = span
    return tuple(place for word in words if word.start < end and start < word.end for place in word.places)
