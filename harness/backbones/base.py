"""What every backbone is: a module from a batch to fragments, with its config beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from harness.fragments import Fragments, Tokens
from harness.spec import PartConfig

if TYPE_CHECKING:
    from harness.backbones.vocabulary import Vocabulary

DEFAULT_WIDTH = 256  #: D of every backbone unless configured, so that any image and text backbone fit each other


class BackboneConfig(PartConfig):
    """Base of every backbone's configuration: immutable, unknown keys refused."""


class ImageEncoder(nn.Module):
    """Maps a batch of images to fragments.

    `input` says what `forward` takes: "pixels" = uint8 (N, 3, H, W) of side `image_size`, which the encoder itself
    normalises; "regions" = raw region features as `Fragments` of width `input_width`.

    The fragments come out as the last layer leaves them: scorers normalise.

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

    def forward(self, batch: Tensor | Fragments) -> Fragments:
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Parameters that came trained, for which the learning rate is scaled down. None by default."""
        return []


class TextEncoder(nn.Module):
    """Maps tokens of its own tokenizer to fragments, which come out as the last layer leaves them.

    Built by `fresh` for training and by `restored` for the weights of a saved run.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    config: Any
    width: int
    tokenizer: Tokenizer

    @classmethod
    def fresh(cls, config: Any, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> TextEncoder:
        """A new encoder whose tokenizer comes from a vocabulary, from captions to count, or from a pretrained model.

        Args:
            config: an instance of `Config`.
            captions: training captions; encoders with a tokenizer of their own ignore them.
            vocabulary: used instead of counting captions.

        Raises:
            InvalidSpec: the encoder needs captions or a vocabulary and got neither, or a pretrained model is missing.
        """
        raise NotImplementedError

    @classmethod
    def fresh_tokenizer(cls, config: Any, captions: Sequence[str] | None, vocabulary: Vocabulary | None) -> Tokenizer:
        """The tokenizer that `fresh` would build its encoder around. Arguments and errors as there."""
        raise NotImplementedError

    @classmethod
    def restored_tokenizer(cls, config: Any, state: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that `restored` would build its encoder around. Arguments and errors as there."""
        raise NotImplementedError

    @classmethod
    def reads_vocabulary(cls, config: Any) -> bool:
        """Whether the encoder learns an embedding of the words that captions or a vocabulary name."""
        return True

    @classmethod
    def restored(cls, config: Any, state: Mapping[str, Any]) -> TextEncoder:
        """The encoder that `tokenizer_state` describes, before its trained weights are loaded; needs no other file.

        Raises:
            InvalidCheckpoint: the state is not one that this encoder wrote.
        """
        raise NotImplementedError

    def forward(self, tokens: Tokens) -> Fragments:
        raise NotImplementedError

    def tokenizer_state(self) -> dict[str, Any]:
        """What `restored` needs beside the config, as JSON values."""
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Parameters that came trained, for which the learning rate is scaled down. None by default."""
        return []


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

    def __call__(self, captions: Sequence[str]) -> Tokens: ...

    def losses(self, captions: Sequence[str]) -> Losses:
        """How many captions lose all their words, or their end. A blank caption has nothing to lose."""
        ...
