"""Captions with something that no caption should hold: tags, entities, printed bytes, control characters.

Each kind is a test of one caption. None of them changes a caption; a loader that meets one leaves it as it is.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import ftfy

from harness.records.description import Oddity

_EXAMPLES = 3
_LONGEST_EXAMPLE = 200
_LONGEST_WORD = 40
#: `man/n`, `two/m` (PKU and jieba), `man_NN` (Penn); a single one may be "and/or", so a caption needs several.
_TAGGED = re.compile(r"[^\s/_]+(?:/[a-z]{1,2}|/[A-Z]{2,4}|_[A-Z]{2,4}\$?)(?=\s|$|[^\x00-\x7f])")
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_SPECIAL = re.compile(r"<(?:unk|pad|start|end|s|/s|eos|bos|mask)>|\[(?:UNK|PAD|CLS|SEP|MASK)\]|<\|\w+\|>")
_ESCAPED = re.compile(r"\\[nrt\"']|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}")
_ENTITIES_TAG = re.compile(r"\[/EN#\d+|\]\s*\[/EN#")
_LINK = re.compile(r"https?://|www\.", re.IGNORECASE)
_KEY = re.compile(r"^\S+\.(?:jpe?g|png|webp)(?:#\d+)?[\s,|]", re.IGNORECASE)
#: Format characters that scripts and emoji need.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def _tagged(caption: str) -> bool:
    found = len(_TAGGED.findall(caption))
    return found > 1 and 2 * found >= len(caption.split())


def _control(caption: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") for c in caption if c not in f"{_JOINERS}\t\r\n")


def _garbled(caption: str) -> bool:
    return "\N{REPLACEMENT CHARACTER}" in caption or (not caption.isascii() and ftfy.is_bad(caption))


def _quoted(caption: str) -> bool:
    return len(caption) > 2 and caption[0] == caption[-1] == '"' and caption.count('"') == 2


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda caption: pattern.search(caption) is not None


#: Kind, in words -> whether a caption is of it.
KINDS: Mapping[str, Callable[[str], bool]] = {
    "part-of-speech tags": _tagged,
    "bytes printed by Python": lambda caption: _BYTES.fullmatch(caption) is not None,
    "HTML entities": _matches(_ENTITY),
    "HTML tags": lambda caption: _MARKUP.search(caption) is not None and _SPECIAL.search(caption) is None,
    "special tokens": _matches(_SPECIAL),
    "phrase marks of Flickr30k Entities": _matches(_ENTITIES_TAG),
    "escape sequences": _matches(_ESCAPED),
    "wrongly decoded characters": _garbled,
    "control or invisible characters": _control,
    "file name before the text": _matches(_KEY),
    "web addresses": _matches(_LINK),
    "quotation marks around the text": _quoted,
    f"words of more than {_LONGEST_WORD} characters": lambda caption: any(
        len(word) > _LONGEST_WORD for word in caption.split()
    ),
    "non-ASCII characters": lambda caption: not caption.isascii(),
}
#: Scripts whose words no space separates: one whitespace-separated piece may be a whole sentence.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def oddities(captions: Sequence[str]) -> list[Oddity]:
    """The kinds that occur, in the order of `KINDS`.

    >>> [(odd.kind, odd.captions) for odd in oddities(["two/m men/n", "a &amp; b", "he and/or she"])]
    [('part-of-speech tags', 1), ('HTML entities', 1)]
    """
    found = []
    for kind, holds in KINDS.items():
        odd = [caption for caption in captions if holds(caption)]
        if odd:
            examples = [caption[:_LONGEST_EXAMPLE] for caption in dict.fromkeys(odd)][:_EXAMPLES]
            found.append(Oddity(kind=kind, captions=len(odd), examples=examples))
    return found


def scripts(captions: Sequence[str]) -> dict[str, int]:
    """Script -> captions with a letter of it, the most frequent first.

    >>> scripts(["a dog", "一只狗 dog", "собака"])
    {'LATIN': 2, 'CJK': 1, 'CYRILLIC': 1}
    """
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update({_script(c) for c in set(caption) if c.isalpha()})
    return dict(counts.most_common())


@functools.lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "UNNAMED").split()[0].split("-")[0]
