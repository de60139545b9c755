"""Pixels as encoders take them: checked, and normalised on the device that the encoder is on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.errors import InvalidFragments


class PixelNormalizer(nn.Module):
    """uint8 (N, 3, S, S) to floats with the mean and deviation that a tower was made for.

    Args:
        image_size: S.
        mean, std: a number a channel, for values in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image_size: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.image_size = image_size
        # Not persistent: they follow from the config, and a state dict should hold what was learned.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (N, 3, S, S), float32.

        Raises:
            InvalidFragments: another type or shape.
        """
        side = self.image_size
        if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or pixels.shape[1:] != (3, side, side):
            came = f"{pixels.dtype} {tuple(pixels.shape)}" if isinstance(pixels, Tensor) else type(pixels).__name__
            raise InvalidFragments(f"this image encoder takes uint8 pixels of shape (N, 3, {side}, {side}), got {came}")
        return (pixels - self.mean) / self.std
