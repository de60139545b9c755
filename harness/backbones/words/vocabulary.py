"""The vocabulary of the encoders that learn their own word embeddings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InvalidDataset
from harness.files.kinds import identify, mismatch
from harness.files.reading import Damaged, parse_json

PAD, START, END, UNKNOWN, MASK = "<pad>", "<start>", "<end>", "<unk>", "<mask>"
_SPECIAL = (PAD, START, END, UNKNOWN)  # ids 0 to 3, as in SCAN's vocabulary files

# Clitics are split as the Penn Treebank does, since published vocabularies were counted that way:
# "don't" -> do n't, "man's" -> man 's. Hyphens and inner points stay inside a word: "t-shirt", "u.s".
_WORD = re.compile(r"[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-./]\w+)*|``|''|\.\.\.|--|[^\w\s]")
_OPENING_QUOTE = re.compile(r'(?:(?<=^)|(?<=[\s(\[{<]))"')


def words(caption: str) -> list[str]:
    """Lower-case words and punctuation marks of a caption.

    Source:
        nltk's Penn Treebank rules, which SCAN and CHAN use. Differs: contractions without an apostrophe ("gonna") stay
        whole.

    >>> words("A man's T-shirt, don't you see?")
    ['a', 'man', "'s", 't-shirt', ',', 'do', "n't", 'you', 'see', '?']
    """
    text = _OPENING_QUOTE.sub(" `` ", caption.lower().replace("\u2019", "'")).replace('"', " '' ")
    return _WORD.findall(text)


@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids.

    Args:
        entries: words by id; the first four are <pad>, <start>, <end>, <unk>.

    Raises:
        InvalidDataset: the special words are elsewhere, or a word appears twice.
    """

    entries: tuple[str, ...]
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.entries[: len(_SPECIAL)] != _SPECIAL:
            raise InvalidDataset(
                f"a vocabulary must start with {', '.join(_SPECIAL)}, got {', '.join(self.entries[:4]) or 'nothing'}"
            )
        ids = {word: number for number, word in enumerate(self.entries)}
        if len(ids) < len(self.entries):
            twice = next(word for word, count in Counter(self.entries).items() if count > 1)
            raise InvalidDataset(f"the vocabulary holds '{twice}' more than once; each word needs one id")
        object.__setattr__(self, "ids", ids)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def mask_id(self) -> int:
        """The id of <mask>, or of <unk> in a published vocabulary, which has no <mask>."""
        return self.ids.get(MASK, self.ids[UNKNOWN])

    @classmethod
    def from_captions(cls, captions: Iterable[str], min_count: int = 1) -> Vocabulary:
        """Every word that occurs at least `min_count` times, the most frequent first, ties in alphabetical order."""
        counts = Counter(word for caption in captions for word in words(caption))
        kept = [word for word, count in counts.items() if count >= min_count and word not in (*_SPECIAL, MASK)]
        return cls((*_SPECIAL, MASK, *sorted(kept, key=lambda word: (-counts[word], word))))

    @classmethod
    def from_words(cls, ids: Mapping[str, int]) -> Vocabulary:
        """From a mapping of words to the ids 0..n-1.

        Raises:
            InvalidDataset: ids that are not 0..n-1.
        """
        if not all(isinstance(i, int) for i in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
            raise InvalidDataset(
                f"the {len(ids)} words of a vocabulary must have the ids 0 to {len(ids) - 1}, each once"
            )
        return cls(tuple(sorted(ids, key=ids.__getitem__)))

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """From a JSON file with `word2idx`: what `save` and SCAN write.

        Raises:
            InvalidDataset: missing, not JSON, or not a vocabulary.
        """
        try:
            values = parse_json(Path(path).read_bytes())
        except OSError as error:
            raise InvalidDataset(f"cannot read the vocabulary {path}: {error.strerror or error}") from None
        except Damaged as error:
            if identify(path).key not in ("json", "text"):
                raise InvalidDataset(mismatch(path, "a vocabulary: a JSON object with 'word2idx'")) from None
            raise InvalidDataset(f"cannot read the vocabulary {path} as JSON: {error}") from None
        if not isinstance(values, dict) or not isinstance(values.get("word2idx"), dict):
            raise InvalidDataset(
                f"the vocabulary {path} must be a JSON object with 'word2idx', a mapping of words to ids, as SCAN's "
                "vocab.py writes it"
            )
        return cls.from_words(values["word2idx"])

    def save(self, path: str | Path) -> None:
        """Write SCAN's layout: `word2idx`, `idx2word`, `idx` (the number of words)."""
        layout = {
            "word2idx": dict(self.ids),
            "idx2word": {str(number): word for word, number in self.ids.items()},
            "idx": len(self),
        }
        Path(path).write_text(json.dumps(layout, ensure_ascii=False), encoding="utf-8")
