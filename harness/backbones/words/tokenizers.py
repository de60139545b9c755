"""Tokenizers: captions to token ids, and what they lose of the captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from harness.backbones.words.pieces import Word
from harness.backbones.words.vocabulary import END, PAD, START, UNKNOWN, Vocabulary, words
from harness.errors import CannotEncode, InvalidCheckpoint, InvalidDataset
from harness.fragments import Tokens


@dataclass(frozen=True)
class Losses:
    """Captions of which a tokenizer keeps too little.

    Args:
        unknown: captions in which it knows no word.
        cut: captions whose end it leaves out.
    """

    unknown: int
    cut: int


class Tokenizer(Protocol):
    """Captions to token ids, and the ids that masking of words needs."""

    vocabulary_size: int
    longest: int  #: tokens of a caption, special ones included; the rest of a longer one is cut off
    mask_id: int  #: what replaces a masked word
    special_ids: tuple[int, ...]  #: never masked, replaced or deleted, nor drawn as a replacement (start, end, padding)

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W) and their mask."""
        ...

    def losses(self, captions: Sequence[str]) -> Losses:
        """How many captions lose all their words, or their end. A blank caption has nothing to lose."""
        ...

    def piece(self, token: int) -> str:
        """The word or word piece of an id, for tables."""
        ...

    def words(self, caption: str) -> tuple[Word, ...]:
        """What a reader sees of the tokens of one caption, in their order; each token is in one word."""
        ...

    def state(self) -> dict[str, Any]:
        """What rebuilds the tokenizer, as JSON values."""
        ...


class WordTokenizer:
    """Captions to word ids between <start> and <end>.

    Args:
        vocabulary: words that have ids; the others become <unk>.
        max_words: longest sequence, <start> and <end> included; the rest of a caption is cut off.

    >>> tokenizer = WordTokenizer(Vocabulary.from_captions(["a dog runs"]), max_words=4)
    >>> tokenizer(["A dog runs.", "cat"]).ids
    tensor([[1, 5, 6, 2],
            [1, 3, 2, 0]])
    """

    def __init__(self, vocabulary: Vocabulary, max_words: int):
        self.vocabulary = vocabulary
        self.longest = max_words
        self.vocabulary_size = len(vocabulary)
        self.mask_id = vocabulary.mask_id
        self.special_ids = tuple(vocabulary.ids[word] for word in (PAD, START, END))

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Ids (N, W) and their mask, W the longest caption of the batch."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.ids[UNKNOWN]
        kept = [[ids.get(word, unknown) for word in words(caption)[: self.longest - 2]] for caption in captions]
        return pad_rows([[ids[START], *row, ids[END]] for row in kept], ids[PAD])

    def losses(self, captions: Sequence[str]) -> Losses:
        """See `Tokenizer.losses`. Words are counted, not punctuation marks."""
        split = [found for caption in captions if (found := words(caption))]
        named = [[word for word in found if word[0].isalnum()] or found for found in split]
        unknown = sum(all(word not in self.vocabulary.ids for word in found) for found in named)
        return Losses(unknown, sum(len(found) > self.longest - 2 for found in split))

    def piece(self, token: int) -> str:
        """See `Tokenizer.piece`."""
        return self.vocabulary.entries[token]

    def words(self, caption: str) -> tuple[Word, ...]:
        """See `Tokenizer.words`; a word that has no id is told by its text."""
        kept = words(caption)[: self.longest - 2]
        inner = [Word(word, (place,), known=word in self.vocabulary.ids) for place, word in enumerate(kept, 1)]
        return (Word(START, (0,), special=True), *inner, Word(END, (len(kept) + 1,), special=True))

    def state(self) -> dict[str, Any]:
        """See `Tokenizer.state`."""
        return {"kind": "words", "words": list(self.vocabulary.entries), "max_words": self.longest}


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

    def __call__(self, captions: Sequence[str]) -> Tokens:
        raise CannotEncode(
            "these weights were imported without their vocabulary, so captions cannot be turned into ids; "
            "import the checkpoint again with the vocabulary file that it was trained with"
        )

    def losses(self, captions: Sequence[str]) -> Losses:
        """Refused, as a call is."""
        self(captions)
        raise AssertionError("a call never returns")

    def piece(self, token: int) -> str:
        """The id: its word is not known."""
        return f"#{token}"

    def words(self, caption: str) -> tuple[Word, ...]:
        """Refused, as a call is."""
        self([caption])
        raise AssertionError("a call never returns")

    def state(self) -> dict[str, Any]:
        """See `Tokenizer.state`."""
        return {"kind": "none", "vocabulary_size": self.vocabulary_size}


def words_of(tokenizer: Tokenizer, caption: str, fragments: int) -> tuple[Word, ...]:
    """The words of a caption with the places of their fragments.

    >>> tokenizer = WordTokenizer(Vocabulary.from_captions(["a dog runs"]), max_words=6)
    >>> [(word.text, word.places) for word in words_of(tokenizer, "A cat runs", 5)]
    [('<start>', (0,)), ('a', (1,)), ('cat', (2,)), ('runs', (3,)), ('<end>', (4,))]
    >>> words_of(tokenizer, "A cat runs", 1)
    (Word(text='A cat runs', places=(0,), special=False, known=True),)

    Args:
        tokenizer: of the text encoder.
        caption: its text.
        fragments: W, the number of fragments that the encoder made of it: one per token, or one for the whole caption.
            Fragments of another kind are numbered.
    """
    found = tokenizer.words(caption)
    if fragments == sum(len(word.places) for word in found):
        return found
    if fragments == 1:
        return (Word(caption, (0,)),)
    return tuple(Word(f"#{number}", (number,)) for number in range(fragments))


def restore_tokenizer(state: Mapping[str, Any]) -> WordTokenizer | NoTokenizer:
    """The word tokenizer of a saved run.

    Raises:
        InvalidCheckpoint: the state is of another kind of tokenizer, or damaged.
    """
    if state.get("kind") == "none":
        return NoTokenizer(int(state.get("vocabulary_size", 0)))
    if state.get("kind") != "words":
        raise InvalidCheckpoint(f"expected the saved state of a word tokenizer, got kind {state.get('kind')!r}")
    try:
        return WordTokenizer(Vocabulary(tuple(state["words"])), int(state["max_words"]))
    except (KeyError, TypeError, ValueError, InvalidDataset) as error:
        raise InvalidCheckpoint(f"the saved tokenizer holds no usable vocabulary: {error}") from None


def pad_rows(rows: Sequence[Sequence[int]], padding: int) -> Tokens:
    """Rows of ids, padded at the end to the longest."""
    longest = max((len(row) for row in rows), default=1)
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], dtype=torch.long)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    return Tokens(ids.view(len(rows), longest), torch.arange(longest) < lengths[:, None])
