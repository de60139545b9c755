"""Edits of one caption, each by a share of what can be edited in it.

An edit draws first which words it would change and into what, for all of them; the share decides how many of these it
changes. So a caption at a higher severity has the changes of the lower one and more (`reordered` touches the same places
and more), and a curve over severities compares like with like. The number is share x words, rounded up or down by a draw, so
that short captions have the right share on average too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.datasets.scenes.world import Draws
from harness.robustness.perturbations.lexicon import Lexicon
from harness.robustness.perturbations.words import Words, in_case_of, with_article

#: Words of fewer letters get no typo.
SHORTEST = 3
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
#: A row's keys stand so far right of the first row's, in keys.
_OFFSETS = (0.0, 0.25, 0.75)


@dataclass(frozen=True, eq=False)
class Context:
    """What an edit may know beside the caption.

    Args:
        lexicon: of the dataset.
        said: words of all captions of the same picture, as `lexicon.key_of` has them.
    """

    lexicon: Lexicon
    said: frozenset[str] = frozenset()


#: A caption, the share of its words to change (0 to 1), the draws of this caption, and what else may be known.
Edit = Callable[[Words, float, Draws, Context], Words]


def typos(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """One typo in each of some words of at least `SHORTEST` letters; digits and first letters stay.

    A typo is a letter left out, two neighbouring letters exchanged, or a letter of the key beside the right one, with equal
    chances. Four of five misspellings are one such slip or a letter too many (Damerau, CACM 1964), and few are in the
    first letter (Kukich, ACM Computing Surveys 1992).
    """
    places = [place for place, word in enumerate(caption.words) if _can_be_mistyped(word)]
    chosen = _chosen(places, share, draws)
    typed = {place: _typo(caption.words[place], draws) for place in places}
    return caption.with_words([typed[p] if p in chosen else word for p, word in enumerate(caption.words)])


def dropped_words(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some words left out, never the last that is left; punctuation stays."""
    chosen = _chosen(range(len(caption.words)), share, draws, most=len(caption.words) - 1)
    gaps, words = list(caption.gaps), list(caption.words)
    for place in sorted(chosen, reverse=True):
        del words[place]
        joined = _joined(gaps[place], gaps[place + 1], first=place == 0, last=place == len(words))
        gaps[place : place + 2] = [joined]
    return Words(tuple(gaps), tuple(words))


def repeated_words(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some words written twice in a row."""
    chosen = _chosen(range(len(caption.words)), share, draws)
    gaps, words = [caption.gaps[0]], []
    for place, word in enumerate(caption.words):
        twice = place in chosen
        words += [word, word] if twice else [word]
        gaps += [" ", caption.gaps[place + 1]] if twice else [caption.gaps[place + 1]]
    return Words(tuple(gaps), tuple(words))


def swapped_words(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some words exchanged with their neighbour, in pairs that share no word."""
    words, taken = list(caption.words), set[int]()
    number = _number(len(words), share / 2, draws)
    for place in draws.order(max(len(words) - 1, 0)):
        if len(taken) < 2 * number and not taken & {place, place + 1}:
            words[place], words[place + 1] = words[place + 1], words[place]
            taken |= {place, place + 1}
    return caption.with_words(words)


def reordered(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some words moved to each other's places, at least two, so that each of them leaves its own; all for a share of 1."""
    number = _number(len(caption.words), share, draws)
    order = draws.order(len(caption.words))
    cycle = order[: max(number, 2) if number else 0]
    words = list(caption.words)
    for place, source in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        words[place] = caption.words[source]
    return caption.with_words(words)


def synonyms(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some of the phrases that have a synonym put in other words; the meaning stays."""
    phrases = context.lexicon.phrases(caption)
    chosen = _chosen(range(len(phrases)), share, draws)
    options = [context.lexicon.wording(caption.words[first:end]) for first, end in phrases]
    said = [texts[draws.below(len(texts))] for texts in options]
    gaps, words = list(caption.gaps), list(caption.words)
    for number in sorted(chosen, reverse=True):
        first, end = phrases[number]
        old = words[first:end]
        new = in_case_of(said[number], " ".join(old)).split()
        words[first:end] = new
        gaps[first + 1 : end] = [" "] * (len(new) - 1)
        words = with_article(words, first, old[0])
    return Words(tuple(gaps), tuple(words))


def wrong_attribute(caption: Words, share: float, draws: Draws, context: Context) -> Words:
    """Some colours, sizes, numbers, materials and patterns replaced by another of their class; the meaning becomes false."""
    options = [context.lexicon.wrong(word, context.said) for word in caption.words]
    places = [place for place, others in enumerate(options) if others]
    chosen = _chosen(places, share, draws)
    said = {place: options[place][draws.below(len(options[place]))] for place in places}
    words = list(caption.words)
    for place in sorted(chosen):
        words[place] = in_case_of(said[place], words[place])
        words = with_article(words, place, caption.words[place])
    return caption.with_words(words)


def _number(count: int, share: float, draws: Draws) -> int:
    """Share x count, rounded by a draw so that it is right on average: 0.3 of 5 is 1 as often as 2."""
    return min(count, math.floor(share * count + draws.between(0.0, 1.0)))


def _chosen(places: Sequence[int], share: float, draws: Draws, most: int | None = None) -> set[int]:
    """Some of the places; those of a smaller share are among those of a larger one."""
    number = _number(len(places), share, draws)
    order = draws.order(len(places))
    return {places[index] for index in order[: number if most is None else max(min(number, most), 0)]}


def _joined(left: str, right: str, first: bool = False, last: bool = False) -> str:
    """The gap that is left where a word between two gaps is left out: the punctuation of both, and the blanks of one.

    >>> _joined(" ", ", "), _joined(" ", " "), _joined(", ", "", last=True), _joined(" ", " .", last=True)
    (', ', ' ', ',', ' .')
    >>> _joined("", " ", first=True), _joined("", " - ", first=True)
    ('', '- ')
    """
    if not left.strip():
        if first:
            return left + right.lstrip()
        return right if last or right.strip() else left
    return left if not right.strip() and not last else left.rstrip() + right


def _neighbours() -> dict[str, str]:
    """The keys beside, above and below each letter of a QWERTY keyboard: those at most 1.3 keys away."""
    at = {
        key: (column + offset, float(row))
        for row, (keys, offset) in enumerate(zip(_ROWS, _OFFSETS, strict=True))
        for column, key in enumerate(keys)
    }
    return {
        key: "".join(other for other, there in at.items() if other != key and math.dist(here, there) <= 1.3)
        for key, here in at.items()
    }


NEIGHBOURS = _neighbours()


def _can_be_mistyped(word: str) -> bool:
    letters = sum(map(str.isalpha, word))
    return letters >= SHORTEST and all(char.isalpha() or char in "-'\u2019" for char in word)


def _typo(word: str, draws: Draws) -> str:
    """A word with one slip behind its first letter."""
    later = [place for place in range(1, len(word)) if word[place].isalpha()]
    pairs = [p for p in later if p + 1 in later and word[p].lower() != word[p + 1].lower()]
    kinds = ["left out", *(["exchanged"] if pairs else []), *(["beside"] if _typed(word, later) else [])]
    kind = kinds[draws.below(len(kinds))]
    if kind == "exchanged":
        place = pairs[draws.below(len(pairs))]
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == "beside":
        typed = _typed(word, later)
        place = typed[draws.below(len(typed))]
        keys = NEIGHBOURS[word[place].lower()]
        return word[:place] + in_case_of(keys[draws.below(len(keys))], word[place]) + word[place + 1 :]
    place = later[draws.below(len(later))]
    return word[:place] + word[place + 1 :]


def _typed(word: str, places: Sequence[int]) -> list[int]:
    """The places of letters that a QWERTY keyboard has."""
    return [place for place in places if word[place].lower() in NEIGHBOURS]
