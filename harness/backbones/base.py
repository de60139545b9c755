"""The base of every backbone: a module from a batch to fragments, with its config beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from harness.backbones.words.tokenizers import Tokenizer, WordTokenizer, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidSpec
from harness.fragments import Fragments, Tokens
from harness.spec import PartConfig

DEFAULT_WIDTH = 256  #: D of every backbone unless configured, so that any image and text backbone fit each other


class BackboneConfig(PartConfig):
    """Base of every backbone's configuration: immutable, unknown keys refused."""


class ImageEncoder(nn.Module):
    """Maps a batch of images to fragments, which come out as the last layer leaves them: scorers normalise.

    `input` says what `forward` takes: "pixels" = uint8 (N, 3, H, W) of side `image_size`, which the encoder itself
    normalises; "regions" = raw region features as `Fragments` of width `input_width`.

    Args:
        config: the backbone's settings, an instance of `Config`.
        region_width: D of the dataset's region features; 0 where it has none.
        load_pretrained: False builds the same modules without reading pretrained weights, because those of a saved run
            will follow.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    input: ClassVar[Literal["pixels", "regions"]] = "pixels"
    config: Any
    width: int  #: D of the fragments that come out
    image_size: int = 0  #: side of the pixels that it takes; 0 for regions
    input_width: int = 0  #: D of the region features that it takes; 0 for pixels

    def __init__(self, config: Any, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__()
        self.config = config

    @classmethod
    def pinned(cls, config: Any) -> Any:
        """The config with what pretrained weights bring written out, so that a record says it; by default as it came.

        Raises:
            InvalidSpec, InvalidCheckpoint: the weights are named but not in reach.
        """
        return config

    def forward(self, batch: Tensor | Fragments) -> Fragments:
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Pretrained parameters, whose learning rate is scaled down; none by default."""
        return []


class TextEncoder(nn.Module):
    """Maps tokens of its own tokenizer to fragments, which come out as the last layer leaves them.

    Built by `fresh` for training and by `restored` for the weights of a saved run. The defaults are those of an encoder
    that learns an embedding of the words that captions or a vocabulary name.

    Args:
        config: an instance of `Config`.
        tokenizer: of the tokens that the encoder embeds.
        load_pretrained: False builds the same modules without reading pretrained weights.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    config: Any
    width: int
    tokenizer: Tokenizer

    def __init__(self, config: Any, tokenizer: Tokenizer, *, load_pretrained: bool = True):
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer

    @classmethod
    def fresh(cls, config: Any, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> Self:
        """A new encoder whose tokenizer comes from a vocabulary, from captions to count, or from a pretrained model.

        Args:
            config: an instance of `Config`.
            captions: training captions; encoders with a tokenizer of their own ignore them.
            vocabulary: used instead of counting captions.

        Raises:
            InvalidSpec: the encoder needs captions or a vocabulary and got neither, or a pretrained model is missing.
        """
        return cls(config, cls.fresh_tokenizer(config, captions, vocabulary))

    @classmethod
    def fresh_tokenizer(cls, config: Any, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> Tokenizer:
        """The tokenizer of the encoder that `fresh` would build. Arguments and errors as there."""
        if vocabulary is None and captions is None:
            raise InvalidSpec(
                "a text backbone that learns its words needs training captions to count, or a vocabulary file; got neither"
            )
        vocabulary = vocabulary or Vocabulary.from_captions(captions or (), config.min_count)
        return WordTokenizer(vocabulary, config.max_words)

    @classmethod
    def restored(cls, config: Any, state: Mapping[str, Any]) -> Self:
        """The encoder that `tokenizer_state` describes, before its trained weights are loaded; needs no other file.

        Raises:
            InvalidCheckpoint: the state is not one that this encoder wrote.
        """
        return cls(config, cls.restored_tokenizer(config, state), load_pretrained=False)

    @classmethod
    def restored_tokenizer(cls, config: Any, state: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of the encoder that `restored` would build. Arguments and errors as there."""
        return restore_tokenizer(state)

    @classmethod
    def pinned(cls, config: Any) -> Any:
        """See `ImageEncoder.pinned`."""
        return config

    @classmethod
    def reads_vocabulary(cls, config: Any) -> bool:
        """Whether the encoder learns an embedding of the words that captions or a vocabulary name."""
        return True

    def forward(self, tokens: Tokens) -> Fragments:
        raise NotImplementedError

    def tokenizer_state(self) -> dict[str, Any]:
        """What `restored` needs beside the config, as JSON values."""
        return self.tokenizer.state()

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Pretrained parameters, whose learning rate is scaled down; none by default."""
        return []


def projection(own: int, width: int) -> nn.Module:
    """A linear layer to the common width, or nothing where a tower already has it."""
    return nn.Identity() if own == width else nn.Linear(own, width)
