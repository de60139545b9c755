"""Which words may stand for each other, and which are of one class but never mean the same.

`lexicon.txt` has them for photographs. Generated scenes have the wordings of their grammar and the words of their world,
so that no caption of theirs gets a word that training never showed.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.base import Dataset
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.grammar import OPENINGS, PLACES, RELATIONS, SIZE_WORDS
from harness.datasets.scenes.world import COLOURS, TEXTURES
from harness.robustness.perturbations.words import Words

#: Words in lower case, as they stand one after the other.
Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Attribute:
    """What a word of a class says.

    Args:
        kind: colour, size, number, material or pattern.
        same: words that mean nearly the same, itself included.
        others: a word of every meaning of the class that is clearly another one.
    """

    kind: str
    same: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words that may and may not stand for each other.

    Args:
        synonyms: what each phrase may become.
        attributes: what each attribute word says.
        unique: kinds of attributes that are false of a picture as soon as they are false of the object that they are said
            of. Words of other kinds may come true by another object, so what the picture's captions say is avoided.
    """

    synonyms: Mapping[Phrase, tuple[str, ...]]
    attributes: Mapping[str, Attribute]
    unique: frozenset[str] = frozenset()

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of its content."""
        content = (sorted(self.synonyms.items()), sorted(self.attributes.items(), key=str), sorted(self.unique))
        return hashlib.sha256(repr(content).encode()).hexdigest()

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self.synonyms), default=0)

    def wording(self, words: Sequence[str]) -> tuple[str, ...]:
        """What the words of a phrase may become."""
        return self.synonyms[tuple(map(key_of, words))]

    def wrong(self, word: str, said: Collection[str]) -> tuple[str, ...]:
        """What makes a caption false in the place of a word; nothing where the word is no attribute.

        Args:
            word: of a caption.
            said: words of all captions of its picture, as `key_of` has them.
        """
        found = self.attributes.get(key_of(word))
        if found is None or found.kind in self.unique:
            return found.others if found is not None else ()
        return tuple(other for other in found.others if not set(self.attributes[other].same) & set(said))

    def phrases(self, caption: Words) -> list[tuple[int, int]]:
        """First and last + 1 word of every phrase of a caption that has a synonym; they do not overlap.

        Of phrases that begin with the same word the longest counts, and nothing but blanks may stand within one.
        """
        keys, found, first = [key_of(word) for word in caption.words], [], 0
        while first < len(keys):
            lengths = range(min(self._longest, len(keys) - first), 0, -1)
            fits = (n for n in lengths if tuple(keys[first : first + n]) in self.synonyms)
            length = next((n for n in fits if not "".join(caption.gaps[first + 1 : first + n]).strip()), 0)
            if length:
                found.append((first, first + length))
            first += max(length, 1)
        return found


def key_of(word: str) -> str:
    """A word as the lexicon has it: lower case, a straight apostrophe."""
    return word.lower().replace("\u2019", "'")


def lexicon_of(dataset: Dataset) -> Lexicon:
    """The lexicon of a dataset's captions."""
    return of_scenes() if isinstance(dataset, Scenes) else of_photographs()


@functools.cache
def of_scenes() -> Lexicon:
    """The grammar's own wordings, and the colours, sizes and textures of the generated world.

    A plain texture is never said, so it replaces none. No two objects of a scene agree in colour and shape, so a wrong size
    or texture of one is true of no other.
    """
    openings = [opening.strip() for opening in OPENINGS if opening.startswith("a ")]
    wordings = (*SIZE_WORDS, *RELATIONS.values(), *PLACES, openings)
    either = [(one, other) for group in wordings for one in group for other in group if one != other]
    classes = {
        "colour": [(colour,) for colour in COLOURS],
        "size": SIZE_WORDS,
        "pattern": [(texture,) for texture in TEXTURES if texture != "plain"],
    }
    return Lexicon(_synonyms(either), _attributes(classes, ()), unique=frozenset(("size", "pattern")))


@functools.cache
def of_photographs() -> Lexicon:
    """What `lexicon.txt` holds."""
    text = Path(__file__).with_name("lexicon.txt").read_text(encoding="utf-8")
    pairs: list[tuple[str, str]] = []
    classes: dict[str, list[tuple[str, ...]]] = {}
    near: list[tuple[str, str]] = []
    for section, line in _lines(text):
        if section == "synonyms":
            left, sign, right = line.partition(" = " if " = " in line else " > ")
            pairs += [(left, right)] if sign == " > " else [(left, right), (right, left)]
        elif section == "attributes":
            kind, _, groups = line.partition(": ")
            classes[kind] = [tuple(group.split()) for group in groups.split(" | ")]
        else:
            one, other = line.split()
            near += [(one, other), (other, one)]
    return Lexicon(_synonyms(pairs), _attributes(classes, near))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Section and text of every line that is not empty and no comment."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            yield section, line


def _synonyms(pairs: Sequence[tuple[str, str]]) -> dict[Phrase, tuple[str, ...]]:
    found: dict[Phrase, list[str]] = {}
    for left, right in pairs:
        found.setdefault(tuple(left.split()), []).append(right)
    return {phrase: tuple(words) for phrase, words in found.items()}


def _attributes(
    classes: Mapping[str, Sequence[tuple[str, ...]]], near: Sequence[tuple[str, str]]
) -> dict[str, Attribute]:
    found = {}
    for kind, groups in classes.items():
        for same in groups:
            alike = {other for one, other in near if one in same}
            others = tuple(group[0] for group in groups if group != same and not alike & set(group))
            found.update({word: Attribute(kind, same, others) for word in same})
    return found
