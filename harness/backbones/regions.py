"""Image backbone `regions`: one linear layer on a detector's region features, optionally self-attention over them.

Shape letters: N images, R regions, D width.
"""

from __future__ import annotations

from typing import cast

from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.backbones.base import DEFAULT_WIDTH, BackboneConfig, ImageEncoder
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments


class RegionConfig(BackboneConfig):
    """Settings of `regions`; the authors of SCAN and CHAN take a width of 1024."""

    width: int = Field(DEFAULT_WIDTH, ge=1, description="D of the fragments")
    self_attention: bool = Field(False, description="pre-norm self-attention with a residual, as CHAN's GRU setting")
    heads: int = Field(8, ge=1, description="of the self-attention")
    attend_to_padding: bool = Field(
        False, description="as the authors of CHAN do; only for their weights: scores then depend on the padding"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> RegionConfig:
        if self.self_attention and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; choose another of the two")
        return self


class RegionEncoder(ImageEncoder):
    """One fragment per region.

    Args:
        config: settings.
        region_width: D of the dataset's region features.

    Raises:
        InvalidSpec: the dataset has no region features.

    Source:
        Lee et al., SCAN, ECCV 2018, section 3.2 (linear); Pan et al., CHAN, CVPR 2023 (self-attention). Differs: padded
        regions are masked in the attention unless `attend_to_padding`.
    """

    Config = RegionConfig
    input = "regions"

    def __init__(self, config: RegionConfig, region_width: int = 0, *, load_pretrained: bool = True):
        super().__init__(config)
        if region_width < 1:
            raise InvalidSpec(
                "image backbone regions needs region features, which this dataset does not have; "
                "use an image backbone that takes pixels: patches or open_clip"
            )
        self.width = config.width
        self.input_width = region_width
        self.linear = nn.Linear(region_width, config.width)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.context = _context(config)

    def forward(self, batch: Tensor | Fragments) -> Fragments:
        """Region fragments (N, R, D) from raw features (N, R, `input_width`).

        Raises:
            InvalidFragments: not fragments, or of another width.
        """
        if not isinstance(batch, Fragments) or batch.width != self.input_width:
            came = f"width {batch.width}" if isinstance(batch, Fragments) else type(batch).__name__
            raise InvalidFragments(
                f"image backbone regions takes Fragments of raw features of width {self.input_width}, got {came}"
            )
        return Fragments(self.context(self.linear(batch.features), batch.mask), batch.mask)


class NoContext(nn.Module):
    """Regions without context."""

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """The regions (N, R, D) as they are."""
        return regions


class SelfAttention(nn.Module):
    """Pre-norm multi-head attention over the real regions of an image, added to them."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Regions (N, R, D) in the context of those with mask (N, R)."""
        return regions + self._attend(regions, ~mask)

    def _attend(self, regions: Tensor, hidden: Tensor | None) -> Tensor:
        queries = self.norm(regions)
        return cast(Tensor, self.attention(queries, queries, queries, key_padding_mask=hidden, need_weights=False)[0])


class UnmaskedSelfAttention(SelfAttention):
    """The same over all positions: padding is attended to, as in the authors' code."""

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Regions (N, R, D) in the context of all R positions."""
        return regions + self._attend(regions, None)


def _context(config: RegionConfig) -> nn.Module:
    if not config.self_attention:
        return NoContext()
    attention = UnmaskedSelfAttention if config.attend_to_padding else SelfAttention
    return attention(config.width, config.heads)
