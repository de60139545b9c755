"""Vision towers for `patches`: pixels to patch tokens, each with what the encoder must know about it.

Shape letters: N images, S side in pixels, L tokens, C channels.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.known import KNOWN
from harness.backbones.order import load_in_order, shares_names
from harness.backbones.weights import load_strictly, read_state_dict
from harness.errors import InvalidCheckpoint, InvalidSpec, did_you_mean, reported_as
from harness.files.packages import is_reference, packaged_weights

_log = logging.getLogger(__name__)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Tower(nn.Module):
    """Normalised pixels (N, 3, S, S) to tokens (N, L, `channels`), the class tokens first."""

    channels: int
    class_tokens: int = 0  #: leading tokens that are no patches ([CLS], registers)
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
        return channels_last

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.model(pixels)
        if out.ndim == 3:
            return out
        return out.flatten(1, 2) if self.channels_last else out.flatten(2).transpose(1, 2)


def small_vit(image_size: int, patch_size: int, channels: int, depth: int, heads: int) -> TimmTower:
    """A vision transformer with a class token, small enough to train from scratch."""
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


def timm_tower(name: str, pretrained: bool | str, image_size: int) -> TimmTower:
    """A timm model by name.

    Args:
        name: `timm.list_models()`, with an optional `.tag`.
        pretrained: True fetches timm's weights, a text is a local file or `package:NAME`, False starts from random
            weights.
        image_size: S.

    Raises:
        InvalidSpec: no such model, or one that cannot take images of this size.
        InvalidCheckpoint: the weights cannot be fetched, read, or do not fit.
    """
    _require_known(name)
    model = _create(name, pretrained is True, image_size)
    if isinstance(pretrained, str):
        load_timm_file(model, _weights_file(name, pretrained, image_size))
    with reported_as(InvalidSpec, f"timm model {name} cannot take images of {image_size} pixels"):
        return TimmTower(model, image_size)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, of pixels in [0, 1], that a timm model's weights were trained with.

    Raises:
        InvalidSpec: no such model.
    """
    _require_known(name)
    settings = timm.get_pretrained_cfg(name)
    return (IMAGENET_MEAN, IMAGENET_STD) if settings is None else (tuple(settings.mean), tuple(settings.std))


def _require_known(name: str) -> None:
    if not timm.is_model(name):
        known = ("small_vit", "conv_stem", *timm.list_models())
        valid = did_you_mean(name, known, "small_vit, conv_stem, or a name of timm.list_models()")
        raise InvalidSpec(f"unknown architecture '{name}'{valid}")


def _weights_file(name: str, pretrained: str, image_size: int) -> Path:
    """The file that `pretrained` names; of a known package only with the architecture that its weights belong to."""
    if not is_reference(pretrained):
        return Path(pretrained)
    found = packaged_weights(pretrained)
    known = KNOWN.get(found.package)
    if known is None:
        return found.path
    architecture = name.partition(".")[0]
    if known.architecture != architecture:
        remedy = f"set image.architecture={known.architecture}" if known.architecture else "name it as text.model"
        raise InvalidSpec(
            f"package {found.package} holds {known.title}, whose weights do not belong to {architecture}; {remedy}"
        )
    if image_size != known.size:
        _log.warning(
            "%s was trained on images of %d pixels and is used at %d; image.image_size=%d is what its weights know",
            known.title,
            known.size,
            image_size,
            known.size,
        )
    return found.path


def load_timm_file(model: nn.Module, path: Path) -> None:
    """Load a local file into a timm model: its own format or one that its family knows how to convert.

    Position embeddings of another image size are resampled by timm; a classifier in the file is left out. A file that
    shares no name with the model is matched in order, see `load_in_order`.

    Raises:
        InvalidCheckpoint: unreadable, unsafe, or not the weights of this model.
    """
    state: dict[str, Tensor] = read_state_dict(path)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        # timm's converters assume the right family and fail in many ways on another
        with reported_as(InvalidCheckpoint, f"{path} does not hold weights of {type(model).__name__}"):
            state = dict(convert(state, model))
    settings: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    names = settings.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([names] if isinstance(names, str) else names))
    own = model.state_dict()
    if not shares_names(model, state):
        count = load_in_order(model, state, str(path))
        _log.info("%s has other names than timm: its %d tensors were matched in order and shape", path.name, count)
        return
    load_strictly(model, {k: v for k, v in state.items() if k in own or not k.startswith(heads)}, str(path))


def _create(name: str, pretrained: bool, image_size: int) -> nn.Module:
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, "global_pool": ""}
    if pretrained:
        remedy = "without a connection, name a local file: image.pretrained=/path/to/weights.safetensors"
        failure = reported_as(InvalidCheckpoint, f"cannot get timm's weights of {name}", remedy)
    else:
        failure = reported_as(InvalidSpec, f"timm cannot build {name} for {image_size} pixels")
    with failure:
        try:
            return timm.create_model(name, img_size=image_size, **options)
        except TypeError:  # convolutional families take any size and have no such argument
            return timm.create_model(name, **options)


def _convolution(channels_in: int, channels_out: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
