"""Text backbone `bigru`: learned word embeddings and a bi-directional GRU, as SCAN, CHAN and VSE++ use.

Shape letters: N captions, W words, E word width, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, TextEncoder
from harness.backbones.vocabulary import NoTokenizer, Vocabulary, WordTokenizer, make_tokenizer, restore_tokenizer
from harness.errors import InvalidFragments
from harness.fragments import Fragments, Tokens


class BiGruConfig(BackboneConfig):
    """Settings of `bigru`; the defaults are SCAN's but for the width (1024 there) and the count of a kept word (4)."""

    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    word_width: int = Field(300, ge=1, description="of the word embeddings")
    layers: int = Field(1, ge=1)
    bidirectional: bool = True
    min_count: int = Field(1, ge=1, description="a training word that is rarer becomes <unk>")
    max_words: int = Field(64, ge=3, description="longest caption, <start> and <end> included")


class BiGruEncoder(TextEncoder):
    """One fragment a word: the mean of the GRU's two directions.

    Args:
        config: settings.
        tokenizer: of the vocabulary that the embedding is for.

    Source:
        Lee et al., SCAN, ECCV 2018, section 3.2.
    """

    Config = BiGruConfig

    def __init__(self, config: BiGruConfig, tokenizer: WordTokenizer | NoTokenizer):
        super().__init__()
        self.config = config
        self.width = config.width
        self.tokenizer: WordTokenizer | NoTokenizer = tokenizer
        self.embedding = nn.Embedding(tokenizer.vocabulary_size, config.word_width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.gru = nn.GRU(
            config.word_width, config.width, config.layers, batch_first=True, bidirectional=config.bidirectional
        )

    @classmethod
    def fresh(cls, config: BiGruConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> BiGruEncoder:
        """See `TextEncoder.fresh`."""
        return cls(
            config, make_tokenizer("text backbone bigru", captions, vocabulary, config.min_count, config.max_words)
        )

    @classmethod
    def restored(cls, config: BiGruConfig, state: Mapping[str, Any]) -> BiGruEncoder:
        """See `TextEncoder.restored`."""
        return cls(config, restore_tokenizer(state))

    def tokenizer_state(self) -> dict[str, Any]:
        """See `TextEncoder.tokenizer_state`."""
        return self.tokenizer.state()

    def forward(self, tokens: Tokens) -> Fragments:
        """Word fragments (N, W, D), <start> and <end> among them; padded positions are zero.

        Raises:
            InvalidFragments: an empty caption, or padding before a real word.
        """
        lengths = checked_lengths(tokens)
        packed = pack_padded_sequence(self.embedding(tokens.ids), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=tokens.ids.shape[1])
        directions = states.unflatten(-1, (-1, self.width))
        return Fragments(directions.mean(dim=2), tokens.mask)


def checked_lengths(tokens: Tokens) -> Tensor:
    """(N,) int64 on the CPU, after checking that each row is real words first, then padding.

    Raises:
        InvalidFragments: an empty caption, or padding before a real word.
    """
    mask = tokens.mask.cpu()
    lengths = mask.sum(dim=1)
    if not bool((lengths > 0).all()):
        raise InvalidFragments("a caption without any token cannot be encoded; every caption needs at least one")
    if not torch.equal(mask, torch.arange(mask.shape[1]) < lengths[:, None]):
        raise InvalidFragments("token masks must be real tokens first, then padding; got padding before a real token")
    return lengths
