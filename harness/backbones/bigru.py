"""Text backbone `bigru`: learned word embeddings and a bi-directional GRU, as SCAN, CHAN and VSE++ use.

Shape letters: N captions, W words, E word width, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, TextEncoder
from harness.backbones.words import vectors
from harness.backbones.words.tokenizers import Tokenizer, WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidFragments, InvalidSpec
from harness.files.hashing import sha256_file
from harness.fragments import Fragments, Tokens


class BiGruConfig(BackboneConfig):
    """Settings of `bigru`.

    The defaults are SCAN's but for the width (1024 there), the count of a kept word (4) and the longest caption (none is
    cut there). CHAN's authors start from GloVe: `embeddings=glove.840B.300d.txt`.
    """

    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    word_width: int = Field(300, ge=1, description="of the word embeddings")
    layers: int = Field(1, ge=1, description="of the GRU")
    bidirectional: bool = Field(True, description="mean of both directions; false = forwards only")
    min_count: int = Field(1, ge=1, description="a training word that is rarer becomes <unk>")
    max_words: int = Field(64, ge=3, description="longest caption, <start> and <end> included")
    embeddings: str = Field(
        "",
        description="file of word vectors to start from: GloVe, word2vec or fastText (also .zip or .gz), torchtext's .pt, "
        "or a matrix in the vocabulary's order",
    )
    embeddings_sha256: str = Field("", description="of that file's content; filled in where it is empty")

    @model_validator(mode="after")
    def _hash_embeddings(self) -> BiGruConfig:
        if self.embeddings and not self.embeddings_sha256:
            try:
                found = sha256_file(self.embeddings)
            except (OSError, ValueError) as error:
                raise ValueError(f"cannot read the word vectors: {getattr(error, 'strerror', error)}") from None
            object.__setattr__(self, "embeddings_sha256", found)
        return self


class BiGruEncoder(TextEncoder):
    """One fragment per word: the mean of the GRU's two directions.

    Args:
        config: settings.
        tokenizer: of the vocabulary that the embedding is for.

    Source:
        Lee et al., SCAN, ECCV 2018, section 3.2.
    """

    Config = BiGruConfig

    def __init__(self, config: BiGruConfig, tokenizer: Tokenizer, *, load_pretrained: bool = True):
        super().__init__(config, tokenizer)
        self.width = config.width
        self.embedding = nn.Embedding(tokenizer.vocabulary_size, config.word_width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.gru = nn.GRU(
            config.word_width, config.width, config.layers, batch_first=True, bidirectional=config.bidirectional
        )

    @classmethod
    def fresh(cls, config: BiGruConfig, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> BiGruEncoder:
        """See `TextEncoder.fresh`; published vectors are copied into the embedding where the config names some."""
        encoder = super().fresh(config, captions, vocabulary)
        if config.embeddings:
            _require_content(config)
            words = cast(WordTokenizer, encoder.tokenizer).vocabulary
            vectors.initialise(encoder.embedding, config.embeddings, words, vocabulary is not None)
        return encoder

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


def _require_content(config: BiGruConfig) -> None:
    try:
        found = sha256_file(config.embeddings)
    except OSError as error:
        raise InvalidSpec(f"cannot read the word vectors {config.embeddings}: {error.strerror or error}") from None
    if found != config.embeddings_sha256:
        raise InvalidSpec(
            f"the word vectors {config.embeddings} changed: SHA-256 {found[:12]}, expected {config.embeddings_sha256[:12]}"
        )


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
