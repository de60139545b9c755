"""The words of a caption as its tokens make them up, for a reader: word pieces joined, special tokens marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What a piece starts with where it begins a word (byte-level and sentence pieces), or goes on with one (word pieces).
BEGINS, CONTINUES = ("\u0120", "\u2581"), "##"
SPACE = "\u2423"  #: shows a token of white space alone


@dataclass(frozen=True)
class Word:
    """A word, or a special token such as [CLS], of one caption."""

    text: str  #: as the caption has it where the tokenizer tells
    places: tuple[int, ...]  #: of its tokens among the caption's
    special: bool = False  #: start, end or separator: no word of the caption, though scorers may match it like one
    known: bool = True  #: whether the tokenizer has it; other words look alike to the encoder


def joined(pieces: Sequence[str], special: Iterable[int] = ()) -> tuple[Word, ...]:
    """Words of pieces, as their own marks say; where they have none, each piece is a word.

    >>> [(word.text, word.places) for word in joined(["[CLS]", "snow", "##board", "."], special=[0])]
    [('[CLS]', (0,)), ('snowboard', (1, 2)), ('.', (3,))]
    >>> [word.text for word in joined(["\u2581a", "\u2581snow", "board"])]
    ['a', 'snowboard']

    Args:
        pieces: of one caption, as the vocabulary spells them.
        special: their places that are special.
    """
    apart = set(special)
    marked = any(piece.startswith(BEGINS) for piece in pieces)
    words: list[Word] = []
    for place, piece in enumerate(pieces):
        follows = bool(words) and not words[-1].special and place not in apart
        continues = not piece.startswith(BEGINS) if marked else piece.startswith(CONTINUES)
        text = piece if place in apart else piece.removeprefix(CONTINUES).lstrip("".join(BEGINS))
        if follows and continues:
            before = words.pop()
            words.append(Word(before.text + text, (*before.places, place)))
        else:
            words.append(Word(text or piece, (place,), special=place in apart))
    return tuple(words)


@dataclass(frozen=True)
class Span:
    """One token of a caption: where its text stands there, and to which word it belongs."""

    piece: str
    start: int
    end: int
    word: int | None  #: number of the word; None = special
    known: bool = True


def spelled(caption: str, spans: Sequence[Span]) -> tuple[Word, ...]:
    """Words of tokens that know their place in the caption; white space ends a word, whatever the tokenizer says.

    >>> spans = [Span("[CLS]", 0, 0, None), Span("snow", 2, 6, 1), Span("##board", 6, 11, 1)]
    >>> [(word.text, word.places, word.special) for word in spelled("a snowboard", spans)]
    [('[CLS]', (0,), True), ('snowboard', (1, 2), False)]
    """
    groups: list[list[int]] = []
    for place, span in enumerate(spans):
        before = spans[place - 1] if place else None
        same = before is not None and before.word is not None and before.word == span.word
        if same and before is not None and not any(c.isspace() for c in caption[before.end : span.start + 1]):
            groups[-1].append(place)
        else:
            groups.append([place])
    return tuple(_spelled(caption, spans, places) for places in groups)


def _spelled(caption: str, spans: Sequence[Span], places: Sequence[int]) -> Word:
    first, last = spans[places[0]], spans[places[-1]]
    written = caption[first.start : last.end]
    text = written.strip() or (SPACE if written else "".join(spans[place].piece for place in places))
    known = all(spans[place].known for place in places)
    return Word(text, tuple(places), special=first.word is None, known=known)
