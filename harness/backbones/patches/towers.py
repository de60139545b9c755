"""Vision towers for `patches`: pixels to patch tokens, each with what the encoder must know about it.

Shape letters: N images, S side in pixels, L tokens, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.backbones.grid import square
from harness.errors import InvalidSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Tower(nn.Module):
    """Normalised pixels (N, 3, S, S) to tokens (N, L, `channels`), the class tokens first."""

    channels: int
    class_tokens: int = 0  #: leading tokens that are no patches ([CLS], registers)
    grid: tuple[int, int] | None = None  #: rows and columns of the patches, which come row by row; None = not known
    library: str = "timm"  #: the distribution that defines its layers
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class ConvStem(Tower):
    """Strided 3 x 3 convolutions down to one cell per patch, and a learned position for each cell.

    Made to train from scratch on small images with a CPU: about 15 million multiply-adds for 64 pixels.

    Args:
        image_size: S, a multiple of `patch_size`.
        patch_size: side of a cell in pixels; a power of two, at least 4.
        channels: of the tokens; each earlier layer has half of the next.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int):
        super().__init__()
        stages = patch_size.bit_length() - 1
        if patch_size < 4 or 2**stages != patch_size:
            raise InvalidSpec(f"image backbone conv_stem needs a patch_size of 4, 8, 16, ..., got {patch_size}")
        self.channels = channels
        self.grid = (image_size // patch_size, image_size // patch_size)
        layers: list[nn.Module] = []
        previous = 3
        for stage in range(stages):
            width = max(8, channels >> (stages - 1 - stage))
            layers += _convolution(previous, width, stride=2)
            previous = width
        self.layers = nn.Sequential(*layers, *_convolution(previous, channels, stride=1))
        self.layers.to(memory_format=torch.channels_last)  # a third faster on a CPU
        self.position = nn.Parameter(torch.zeros(1, (image_size // patch_size) ** 2, channels))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.layers(pixels.contiguous(memory_format=torch.channels_last))
        return cells.flatten(2).transpose(1, 2) + self.position


class TimmTower(Tower):
    """A timm model without its pooling and classifier.

    Args:
        model: built with `num_classes=0, global_pool=""`.
        image_size: S.
    """

    def __init__(self, model: nn.Module, image_size: int):
        super().__init__()
        self.model = model
        settings: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        self.mean = tuple(settings.get("mean", IMAGENET_MEAN))
        self.std = tuple(settings.get("std", IMAGENET_STD))
        self.class_tokens = int(getattr(model, "num_prefix_tokens", 0))
        self.channels_last = self._probe(image_size)

    def _probe(self, image_size: int) -> bool:
        """Whether a map comes out as (N, H, W, C): timm's families differ, and not every model says it."""
        training = self.model.training
        with torch.no_grad():
            out = self.model.eval()(torch.zeros(1, 3, image_size, image_size))
        self.model.train(training)
        if out.ndim not in (3, 4):
            raise InvalidSpec(
                f"timm model {type(self.model).__name__} gives features of shape {tuple(out.shape)}, "
                "which are no patch tokens; choose a model with a spatial or token output"
            )
        channels_last = out.ndim == 4 and out.shape[2] != out.shape[3]
        self.channels = out.shape[1] if out.ndim == 4 and not channels_last else out.shape[-1]
        self.class_tokens = self.class_tokens if out.ndim == 3 else 0
        rows, columns = out.shape[1:3] if channels_last else out.shape[-2:]
        self.grid = (rows, columns) if out.ndim == 4 else square(out.shape[1] - self.class_tokens)
        return channels_last

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.model(pixels)
        if out.ndim == 3:
            return out
        return out.flatten(1, 2) if self.channels_last else out.flatten(2).transpose(1, 2)


def small_vit(image_size: int, patch_size: int, channels: int, depth: int, heads: int) -> TimmTower:
    """A vision transformer with a class token, small enough to train from scratch."""
    from timm.models.vision_transformer import VisionTransformer  # here, not above: it takes two seconds

    model = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=channels,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        global_pool="",
    )
    return TimmTower(model, image_size)


def _convolution(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
