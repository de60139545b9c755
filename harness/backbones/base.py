"""What every backbone is: a module from a batch to fragments, with its config beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from harness.fragments import Fragments, Tokens
from harness.spec import Spec


class BackboneConfig(Spec):
    """Base of every backbone's configuration: immutable, unknown keys refused."""


class ImageEncoder(nn.Module):
    """Maps a batch of images to fragments.

    `input` says what `forward` takes: "pixels" = uint8 (N, 3, H, W) of side `image_size`, which the encoder itself
    normalises; "regions" = raw region features as `Fragments` of width `input_width`.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    input: ClassVar[Literal["pixels", "regions"]] = "pixels"
    config: Any
    width: int  #: D of the fragments that come out
    image_size: int = 0  #: side of the pixels that it takes; 0 for regions

    def forward(self, batch: Tensor | Fragments) -> Fragments:
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Parameters that came trained, for which the learning rate is scaled down. None by default."""
        return []


class TextEncoder(nn.Module):
    """Maps tokens of its own tokenizer to fragments."""

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    config: Any
    width: int
    tokenizer: Tokenizer

    def forward(self, tokens: Tokens) -> Fragments:
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Parameters that came trained, for which the learning rate is scaled down. None by default."""
        return []


class Tokenizer(Protocol):
    """Captions to token ids, and the ids that masking of words needs."""

    vocabulary_size: int
    mask_id: int  #: what replaces a masked word
    special_ids: tuple[int, ...]  #: never masked, replaced or deleted (start, end, padding)

    def __call__(self, captions: Sequence[str]) -> Tokens: ...
