"""The base of every backbone: a module from a batch to fragments, with its config beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from harness.backbones.grid import Grid
from harness.backbones.words.tokenizers import Tokenizer, WordTokenizer, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.base import Resize
from harness.datasets.images import Box, seen_part
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.spec import PartConfig

DEFAULT_WIDTH = 256  #: D of every backbone unless configured, so that any image and text backbone fit each other


class BackboneConfig(PartConfig):
    """Base of every backbone's configuration: immutable, unknown keys refused."""


class Encoder(nn.Module):
    """A tower, whose weights may come trained, and a head, which is always trained.

    An encoder that has both implements `tower_module`, `raw` and `head`; its `forward` then takes a batch, or what `raw` made of
    that batch at another time. One without a tower implements `forward` alone.
    """

    config: Any
    raw_width: int = 0  #: C of the tower's outputs; 0 where there is no tower
    frozen: bool = False  #: whether the tower stays as it came, see `freeze`

    def forward(self, batch: Any) -> Fragments:
        """Fragments (N, F, D) of a batch, or of the tower's outputs (N, F, `raw_width`) for it.

        Raises:
            InvalidFragments: outputs of another width.
        """
        if not isinstance(batch, Fragments):
            return self.head(self.raw(batch))
        if batch.width != self.raw_width:
            raise InvalidFragments(
                f"{type(self).__name__} takes outputs of its tower, which have width {self.raw_width}, got width {batch.width}"
            )
        # Outputs are kept as float16 at most of the time; the head computes in the precision of its weights.
        return self.head(batch.to(torch.float32))

    @classmethod
    def comes_trained(cls, config: Any) -> bool:
        """Whether an encoder of this config has a tower whose weights come trained."""
        return False

    def tower_module(self) -> nn.Module | None:
        """The module whose parameters are the tower's; None where there is no tower."""
        return None

    def core_module(self) -> nn.Module | None:
        """The module whose call does the tower's work, for `torch.compile`; by default the tower."""
        return self.tower_module()

    @classmethod
    def has_tower(cls) -> bool:
        """Whether encoders of this class have one."""
        return cls.tower_module is not Encoder.tower_module

    @classmethod
    def recomputes(cls, config: Any) -> bool:
        """Whether the tower of an encoder of this config can compute its layers again in the backward pass, see
        `harness.backbones.recomputing`. To find out, it may be built with random weights."""
        return False

    def tower_definition(self) -> dict[str, Any]:
        """What decides the tower's outputs beside its tensors, as JSON values: architecture, preparation, libraries."""
        return {}

    def raw(self, batch: Any) -> Fragments:
        """The tower's outputs (N, F, `raw_width`), not checked for being finite: `head` is."""
        raise NotImplementedError(f"{type(self).__name__} has no tower")

    def head(self, raw: Fragments) -> Fragments:
        """Fragments (N, F, D) from the tower's outputs (N, F, `raw_width`)."""
        raise NotImplementedError(f"{type(self).__name__} has no head")

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Pretrained parameters, whose learning rate is scaled down: the tower's, if its weights came trained."""
        tower = self.tower_module()
        return list(tower.parameters()) if tower is not None and self.comes_trained(self.config) else []

    def freeze(self) -> None:
        """Keep a pretrained tower as it came: in evaluation mode (no dropout, no update of batch statistics) for good,
        without gradients. An encoder whose weights did not come trained is left alone."""
        tower = self.tower_module()
        if tower is None or not self.comes_trained(self.config):
            return
        self.frozen = True
        tower.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`; a frozen tower stays in evaluation mode."""
        super().train(mode)
        tower = self.tower_module() if self.frozen else None
        if tower is not None:
            tower.eval()
        return self

    def _tracked(self) -> AbstractContextManager[object]:
        """Around the tower's computation: no graph is kept of a frozen one."""
        return torch.no_grad() if self.frozen else nullcontext()


class ImageEncoder(Encoder):
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
    width: int  #: D of the fragments that come out
    image_size: int = 0  #: side of the pixels that it takes; 0 for regions
    resize: Resize = "plain"  #: how photographs get that side
    input_width: int = 0  #: D of the region features that it takes; 0 for pixels
    class_tokens: int = 0  #: leading fragments that stand for the whole image
    grid: Grid | None = None  #: where fragments lie in the pixels; None = they have no place there, or it is not known

    def __init__(self, config: Any, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__()
        self.config = config

    def places(self, width: int, height: int) -> tuple[Box | None, ...] | None:
        """Where the fragments of a photograph lie, as it is prepared for evaluation; None where that is not known.

        Args:
            width, height: of the photograph before it is resized or cropped.

        Returns:
            R boxes in fractions of the photograph's width and height; None for a fragment that stands for all of it.
        """
        if self.grid is None:
            return None
        return self.grid.boxes(seen_part(width, height, self.image_size, self.resize))

    @classmethod
    def pinned(cls, config: Any) -> Any:
        """The config with what pretrained weights bring written out, so that a record says it; by default as it came.

        Raises:
            InvalidSpec, InvalidCheckpoint: the weights are named but not in reach.
        """
        return config


class TextEncoder(Encoder):
    """Maps tokens of its own tokenizer to fragments, which come out as the last layer leaves them.

    Built by `fresh` for training and by `restored` for the weights of a saved run. The defaults are those of an encoder
    that learns an embedding of the words that captions or a vocabulary name.

    Args:
        config: an instance of `Config`.
        tokenizer: of the tokens that the encoder embeds.
        load_pretrained: False builds the same modules without reading pretrained weights.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
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

    def tokenizer_state(self) -> dict[str, Any]:
        """What `restored` needs beside the config, as JSON values."""
        return self.tokenizer.state()


def projection(own: int, width: int) -> nn.Module:
    """A linear layer to the common width, or nothing where a tower already has it."""
    return nn.Identity() if own == width else nn.Linear(own, width)


def layers_sha256(tower: nn.Module) -> str:
    """SHA-256 of how a tower is put together: what its layers print of themselves, and the heads, which they do not print."""
    heads = [(name, getattr(module, "num_heads", None)) for name, module in tower.named_modules()]
    printed = re.sub(r" at 0x[0-9a-f]+", "", str(tower))  # where a function lies in memory says nothing of it
    return hashlib.sha256(f"{printed} {heads}".encode()).hexdigest()
