"""Vocabulary and word tokenizer of the encoders that learn their own word embeddings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.backbones.base import Losses
from harness.errors import CannotEncode, InvalidCheckpoint, InvalidDataset, InvalidSpec
from harness.files.kinds import identify, mismatch
from harness.fragments import Tokens

PAD, START, END, UNKNOWN, MASK = "<pad>", "<start>", "<end>", "<unk>", "<mask>"
_SPECIAL = (PAD, START, END, UNKNOWN)  # ids 0 to 3, as in SCAN's vocabulary files

# Clitics are split as the Penn Treebank does, since published vocabularies were counted that way:
# "don't" -> do n't, "man's" -> man 's. Hyphens and inner points stay inside a word: "t-shirt", "u.s".
_WORD = re.compile(
    r"[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-./]\w+)*|``|''|\.\.\.|--|[^\w\s]",
)
_OPENING_QUOTE = re.compile(r'(?:(?<=^)|(?<=[\s(\[{<]))"')


def words(caption: str) -> list[str]:
    """Lower-case words and punctuation marks of a caption.

    Source:
        nltk's Penn Treebank rules, which SCAN and CHAN use. Differs: contractions without an apostrophe ("gonna") stay
        whole.
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
            values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InvalidDataset(f"cannot read the vocabulary {path}: {error.strerror or error}") from None
        except ValueError as error:
            if identify(path).key not in ("json", "text"):
                raise InvalidDataset(mismatch(path, "a vocabulary: a JSON object with 'word2idx'")) from None
            raise InvalidDataset(f"the vocabulary {path} is not valid JSON (truncated?): {error}") from None
        if not isinstance(values, dict) or not isinstance(values.get("word2idx"), dict):
            raise InvalidDataset(
                f"the vocabulary {path} must be a JSON object with 'word2idx', a mapping of words to ids"
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


class WordTokenizer:
    """Captions to word ids between <start> and <end>.

    Args:
        vocabulary: words that have ids; the others become <unk>.
        max_words: longest sequence, <start> and <end> included; the rest of a caption is cut off.
    """

    def __init__(self, vocabulary: Vocabulary, max_words: int):
        self.vocabulary = vocabulary
        self.max_words = self.longest = max_words
        self.vocabulary_size = len(vocabulary)
        self.mask_id = vocabulary.mask_id
        self.special_ids = tuple(vocabulary.ids[word] for word in (PAD, START, END))

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W) and their mask, W the longest caption of the batch."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.ids[UNKNOWN]
        return pad_rows(
            [
                [ids[START], *(ids.get(word, unknown) for word in words(caption)[: self.max_words - 2]), ids[END]]
                for caption in captions
            ],
            ids[PAD],
        )

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`. Words are counted, not punctuation marks."""
        split = [found for caption in captions if (found := words(caption))]
        named = [[word for word in found if word[0].isalnum()] or found for found in split]
        unknown = sum(all(word not in self.vocabulary.ids for word in found) for found in named)
        return Losses(unknown, sum(len(found) > self.max_words - 2 for found in split))

    def state(self) -> dict[str, Any]:
        """What `from_state` needs."""
        return {"kind": "words", "words": list(self.vocabulary.entries), "max_words": self.max_words}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> WordTokenizer:
        """The tokenizer that `state` describes.

        Raises:
            InvalidCheckpoint: it describes none.
        """
        try:
            return cls(Vocabulary(tuple(state["words"])), int(state["max_words"]))
        except (KeyError, TypeError, ValueError, InvalidDataset) as error:
            raise InvalidCheckpoint(f"the saved tokenizer holds no usable vocabulary: {error}") from None


class NoTokenizer:
    """Stands in where imported weights came without their vocabulary: token ids can be encoded, captions not.

    Args:
        vocabulary_size: number of ids that the embedding knows.
    """

    special_ids: tuple[int, ...] = (0, 1, 2)
    mask_id = 3
    longest = 0

    def __init__(self, vocabulary_size: int):
        self.vocabulary_size = vocabulary_size

    def losses(self, captions: Sequence[str]) -> Losses:
        """Raises as `__call__`."""
        raise self._refusal()

    def __call__(self, captions: Sequence[str]) -> Tokens:
        raise self._refusal()

    def _refusal(self) -> CannotEncode:
        return CannotEncode(
            "these weights were imported without their vocabulary, so captions cannot be turned into ids; "
            "import the checkpoint again with the vocabulary file that it was trained with"
        )

    def state(self) -> dict[str, Any]:
        """What `restore_tokenizer` needs."""
        return {"kind": "none", "vocabulary_size": self.vocabulary_size}


def make_tokenizer(
    what: str, captions: Sequence[str] | None, vocabulary: Vocabulary | None, min_count: int, max_words: int
) -> WordTokenizer:
    """A word tokenizer from a vocabulary, or else from captions.

    Raises:
        InvalidSpec: neither is given.
    """
    if vocabulary is None and captions is None:
        raise InvalidSpec(
            f"{what} needs training captions to build its vocabulary from, or a vocabulary file; got neither"
        )
    return WordTokenizer(vocabulary or Vocabulary.from_captions(captions or (), min_count), max_words)


def restore_tokenizer(state: Mapping[str, Any]) -> WordTokenizer | NoTokenizer:
    """The tokenizer of a saved run.

    Raises:
        InvalidCheckpoint: the state is of another kind of tokenizer.
    """
    if state.get("kind") == "none":
        return NoTokenizer(int(state.get("vocabulary_size", 0)))
    if state.get("kind") == "words":
        return WordTokenizer.from_state(state)
    raise InvalidCheckpoint(f"expected the saved state of a word tokenizer, got kind {state.get('kind')!r}")


def pad_rows(rows: Sequence[Sequence[int]], padding: int) -> Tokens:
    """Rows of ids, padded at the end to the longest."""
    longest = max((len(row) for row in rows), default=1)
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], dtype=torch.long)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    return Tokens(ids.view(len(rows), longest), torch.arange(longest) < lengths[:, None])
