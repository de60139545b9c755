"""Text backbone `example`: learned word embeddings, each mixed with its neighbours.

Shape letters: N captions, W words, D width.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, TextEncoder
from harness.backbones.words.tokenizers import Tokenizer
from harness.fragments import Fragments, Tokens


class ExampleConfig(BackboneConfig):
    """Options of `example`. An encoder that learns its words needs `min_count` and `max_words`."""

    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    min_count: int = Field(1, ge=1, description="a training word that is rarer becomes <unk>")
    max_words: int = Field(64, ge=3, description="longest caption, <start> and <end> included")


class Example(TextEncoder):
    """One fragment per word."""

    Config = ExampleConfig

    def __init__(self, config: ExampleConfig, tokenizer: Tokenizer, *, load_pretrained: bool = True):
        super().__init__(config, tokenizer)
        self.width = config.width
        self.embedding = nn.Embedding(tokenizer.vocabulary_size, config.width)
        self.neighbours = nn.Conv1d(config.width, config.width, kernel_size=3, padding=1)

    def forward(self, batch: Tokens) -> Fragments:
        """Word fragments (N, W, D); padding is set to 0 before its neighbours read it."""
        words = self.embedding(batch.ids) * batch.mask[..., None]
        mixed = words + self.neighbours(words.transpose(1, 2)).transpose(1, 2)
        return Fragments(mixed, batch.mask)
