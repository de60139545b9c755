"""A caption as words and what stands between them, so that words change while spaces and punctuation stay.

A word is a run without blanks, less the punctuation at both its ends: `"T-shirt,"` is the word `T-shirt` between gaps.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_RUN = re.compile(r"\S+")
_VOWELS = "aeiou"


class Words(NamedTuple):
    """A caption taken apart.

    Args:
        gaps: W + 1 texts: what stands before the first word, between two, and after the last.
        words: W words.
    """

    gaps: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The caption."""
        return "".join(gap + word for gap, word in zip(self.gaps, (*self.words, ""), strict=True))

    def with_words(self, words: Sequence[str]) -> Words:
        """The same gaps between as many other words."""
        return Words(self.gaps, tuple(words))


def parse(caption: str) -> Words:
    """Take a caption apart; `parse(caption).text` is the caption, whatever it holds.

    >>> parse("A man's  T-shirt, (torn).")
    Words(gaps=('', ' ', '  ', ', (', ').'), words=('A', "man's", 'T-shirt', 'torn'))
    """
    gaps, words, end = [], [], 0
    for run in _RUN.finditer(caption):
        letters = [place for place, char in enumerate(run.group()) if _category(char) in "LN"]
        if not letters:
            continue  # punctuation alone
        first, last = run.start() + letters[0], run.start() + letters[-1] + 1
        while last < run.end() and _category(caption[last]) == "M":
            last += 1  # accents that follow their letter
        gaps.append(caption[end:first])
        words.append(caption[first:last])
        end = last
    return Words((*gaps, caption[end:]), tuple(words))


def in_case_of(word: str, model: str) -> str:
    """A word in capitals or with a first capital, as another one is.

    >>> in_case_of("crimson", "Red"), in_case_of("crimson", "RED"), in_case_of("crimson", "red")
    ('Crimson', 'CRIMSON', 'crimson')
    """
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def with_article(words: Sequence[str], place: int, old: str) -> list[str]:
    """Words with "a" or "an" before a replaced word as the new one needs it.

    The article changes only where the old word began with a vowel and the new one does not, or the reverse.

    Args:
        words: with the new word.
        place: of the new word.
        old: the word that stood there.

    >>> with_article(["A", "orange", "hat"], 1, "red")
    ['An', 'orange', 'hat']
    """
    found = list(words)
    if place and found[place - 1].lower() in ("a", "an"):
        vowel = found[place][:1].lower() in _VOWELS
        if vowel != (old[:1].lower() in _VOWELS):
            found[place - 1] = in_case_of("an" if vowel else "a", found[place - 1][:1])
    return found


def _category(char: str) -> str:
    """Major Unicode category: L letter, N number, M mark, P punctuation, ..."""
    return unicodedata.category(char)[0]
