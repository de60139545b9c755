"""Image backbone `patches`: pixels to one fragment per patch, by a small trainable tower or any timm or hub model.

Shape letters: N images, S side in pixels, L patches, D width.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, ImageEncoder, layers_sha256, projection
from harness.backbones.grid import Grid
from harness.backbones.patches.towers import ConvStem, Tower, small_vit
from harness.backbones.pixels import PixelNormalizer
from harness.backbones.recomputing import can_recompute
from harness.datasets.base import Resize
from harness.fragments import Fragments

SMALL = ("conv_stem", "small_vit")


class PatchConfig(BackboneConfig):
    """Settings of `patches`."""

    architecture: str = Field(
        "conv_stem",
        description="conv_stem, small_vit, a name of timm.list_models(), or with a slash a vision model of the Hugging Face "
        "hub or a local folder",
    )
    pretrained: bool | str = Field(
        False,
        description="true fetches the weights of timm or the hub; timm models: a path loads a local safetensors or "
        "PyTorch file or folder, package:NAME the file of an installed package",
    )
    image_size: int = Field(64, ge=8, description="side of the pixels, S")
    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    keep_class_token: bool = Field(True, description="keep [CLS] as the first fragment where the tower has one")
    patch_size: int = Field(8, ge=1, description="conv_stem and small_vit: side of a patch in pixels")
    channels: int = Field(128, ge=8, description="conv_stem and small_vit: width inside the tower")
    depth: int = Field(4, ge=1, description="small_vit: layers")
    heads: int = Field(4, ge=1, description="small_vit: attention heads")
    mean: tuple[float, float, float] | None = Field(
        None, description="per channel, of pixels in [0, 1]; none = as the tower was trained"
    )
    std: tuple[float, float, float] | None = Field(None, description="likewise, the deviation")
    resize: Resize | None = Field(
        None, description="crop = the shorter side of a photograph, then the middle; plain or none = to a square"
    )
    architecture_config: dict[str, Any] | None = Field(
        None, description="hub models: the configuration; none = as its config.json says, and then filled in"
    )

    @model_serializer(mode="wrap")
    def _without_open_choices(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what only pretrained towers fill in: records of towers without weights stay as they were."""
        return {key: value for key, value in serialise(self).items() if value is not None}

    @model_validator(mode="after")
    def _fits(self) -> PatchConfig:
        if self.architecture in SMALL:
            if self.image_size % self.patch_size:
                raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
            if self.pretrained:
                raise ValueError(f"{self.architecture} has no pretrained weights; they exist for timm models only")
        if self.architecture == "small_vit" and self.channels % self.heads:
            raise ValueError(f"channels {self.channels} is not a multiple of heads {self.heads}")
        return self


class PatchEncoder(ImageEncoder):
    """One fragment per patch, [CLS] first where it is kept.

    Attributes:
        class_tokens: how many leading fragments are no patches: 1 with a [CLS] that is kept, else 0 (registers of a
            timm model are dropped).

    Raises:
        InvalidSpec: an unknown architecture, or one that cannot take this image size.
        InvalidCheckpoint: pretrained weights that cannot be fetched, read, or do not fit.
    """

    Config = PatchConfig
    input = "pixels"

    def __init__(self, config: PatchConfig, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__(config)
        self.tower = _tower(config, config.pretrained if load_pretrained else False)
        self.image_size = config.image_size
        self.resize = config.resize or "plain"
        self.width = config.width
        self.class_tokens = min(1, self.tower.class_tokens) if config.keep_class_token else 0
        self.grid = Grid(*self.tower.grid, self.class_tokens) if self.tower.grid else None
        self._dropped = slice(self.class_tokens, self.tower.class_tokens)
        mean, std = config.mean or self.tower.mean, config.std or self.tower.std
        self.normalize = PixelNormalizer(config.image_size, mean, std)
        self.raw_width = self.tower.channels
        self.project = projection(self.raw_width, config.width)

    @classmethod
    def pinned(cls, config: PatchConfig) -> PatchConfig:
        """See `ImageEncoder.pinned`: a package's version, timm's tag, a hub model's layers, how pixels are normalised."""
        if config.architecture in SMALL:
            return config
        from harness.backbones.patches import huggingface, timm_models

        name = timm_models.timm_name(config.architecture)
        changes = (
            huggingface.pinned(name, config) if huggingface.is_hub_model(name) else timm_models.pinned(name, config)
        )
        return config.model_copy(update=changes)

    def raw(self, batch: Tensor) -> Fragments:
        """Patch tokens (N, L, C), or (N, 1 + L, C) with [CLS] first, from uint8 pixels (N, 3, S, S)."""
        with self._tracked():
            tokens = self.tower(self.normalize(batch))
        if self._dropped.start < self._dropped.stop:
            tokens = torch.cat([tokens[:, : self._dropped.start], tokens[:, self._dropped.stop :]], dim=1)
        return Fragments.unchecked(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), {})

    def head(self, raw: Fragments) -> Fragments:
        """Patch fragments (N, L, D) from the tower's tokens (N, L, C)."""
        return Fragments(self.project(raw.features), raw.mask)

    @classmethod
    def comes_trained(cls, config: PatchConfig) -> bool:
        return bool(config.pretrained)

    def tower_module(self) -> nn.Module:
        return self.tower

    @classmethod
    def recomputes(cls, config: PatchConfig) -> bool:
        return can_recompute(cls(config, load_pretrained=False).tower)

    def tower_definition(self) -> dict[str, Any]:
        config = self.config
        return {
            "backbone": "patches",
            "architecture": None if config.architecture_config else config.architecture,  # a place says nothing
            "image_size": config.image_size,
            "class_tokens": self.class_tokens,
            "mean": list(config.mean or self.tower.mean),
            "std": list(config.std or self.tower.std),
            "layers": layers_sha256(self.tower),
            self.tower.library: version(self.tower.library),
        }


def _tower(config: PatchConfig, pretrained: bool | str) -> Tower:
    size = config.image_size
    if config.architecture == "conv_stem":
        return ConvStem(size, config.patch_size, config.channels)
    if config.architecture == "small_vit":
        return small_vit(size, config.patch_size, config.channels, config.depth, config.heads)
    # Here, not above: timm and transformers are slow to import, and neither a small tower nor a listing needs them.
    from harness.backbones.patches.huggingface import hub_tower, is_hub_model
    from harness.backbones.patches.timm_models import timm_name, timm_tower

    name = timm_name(config.architecture)
    if is_hub_model(name):
        return hub_tower(name, pretrained, size, config.architecture_config)
    return timm_tower(name, pretrained, size)
