"""Image backbone `example`: a convolution whose every cell becomes a fragment.

Shape letters: N images, S side in pixels, P side of a patch, D width.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, ImageEncoder
from harness.backbones.grid import Grid
from harness.backbones.pixels import PixelNormalizer
from harness.fragments import Fragments


class ExampleConfig(BackboneConfig):
    """Options of `example`."""

    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    image_size: int = Field(32, ge=8, description="side of the pixels, S")
    patch_size: int = Field(8, ge=1, description="side of a patch, P")

    @model_validator(mode="after")
    def _fits(self) -> ExampleConfig:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        return self


class Example(ImageEncoder):
    """One fragment per patch."""

    Config = ExampleConfig
    input = "pixels"

    def __init__(self, config: ExampleConfig, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__(config)
        self.image_size, self.width = config.image_size, config.width
        cells = config.image_size // config.patch_size
        self.grid = Grid(cells, cells)  # so that pages can show where a fragment lies
        self.normalize = PixelNormalizer(config.image_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.patches = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)

    def forward(self, batch: Tensor) -> Fragments:
        """Fragments (N, (S / P)², D) of uint8 pixels (N, 3, S, S); scorers normalise them."""
        cells = self.patches(self.normalize(batch)).flatten(2).transpose(1, 2)
        return Fragments(cells, torch.ones(cells.shape[:2], dtype=torch.bool, device=cells.device))
