"""GRM for the scoring engine: its three levels from one packed product of words x (patches + regions).

Every configuration packs: the gates scale the tile whatever rule made them, and the one activation on offer, leaky ReLU,
is applied to the tile and commutes with scales >= 0.

Shape letters: I images, T captions, R patches, K regions, W words, D width; of a tile c images and q captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.packing import Bucket
from methods._grm_gates import at_least_float32
from methods._grm_levels import ImageSide, Mean, Order, TextSide, level_values, unit_vectors


def image_rows(images: Fragments, scored: Tensor, regions: Tensor, region_mask: Tensor) -> Fragments:
    """Patches and regions as the fragments of one item.

    Args:
        images: prepared, features (I, R, D), zeros at the padding, `gates` (I, R) among the extras.
        scored: (I, R) bool, the patches that take part.
        regions: (I, K, D); K = 0 if no level reads them.
        region_mask: (I, K) bool.

    Returns:
        Features (I, R + K, D), normalised, with the extras `gates` (I, R + K), 0 at the regions, and `patches` (I,),
        how many of an item's real fragments are patches: they come first.
    """
    features = torch.cat([unit_vectors(images.features), unit_vectors(regions).to(images.features.dtype)], 1)
    gates = at_least_float32(images.extras["gates"])
    gates = torch.cat([gates, gates.new_zeros(region_mask.shape)], 1)
    mask = torch.cat([scored, region_mask], 1)
    return Fragments(features, mask, {"gates": gates, "patches": scored.sum(1)})


@dataclass(frozen=True)
class LevelsKernel:
    """The weighted sum of the levels; a `harness.similarity.kernels.TileKernel` with images on the left.

    Args:
        weights: of the levels that rank, by name.
        order: from `_grm_gates.ORDERS`.
        mean: from `_grm_gates.MEANS`.
        activation: applied to every token similarity, without changing its input.
    """

    weights: Mapping[str, float]
    order: Order
    mean: Mean
    activation: Callable[[Tensor], Tensor]
    swapped: bool = False
    tiles_in_use: int = 3

    def left_side(self, items: Bucket, rows: Tensor) -> ImageSide:
        """Gates and means of a tile's images; `rows` (c, F, D)."""
        extras = items.extras()
        # One number for the bucket: K is the same for all images, or it follows from the number of patches.
        patches = int(extras["patches"][0])
        gates = self.order(extras["gates"][:, :patches])
        real = torch.ones_like(gates, dtype=torch.bool)
        regions = rows.shape[1] - patches
        return ImageSide(
            rows,
            gates,
            torch.full_like(gates, 1 / patches),
            self.mean(gates, real),
            gates.new_full((len(gates), regions), 1 / max(1, regions)),
        )

    def right_side(self, items: Bucket, columns: Tensor) -> TextSide:
        """Gates and means of a tile's captions; `columns` (W, q, D)."""
        gates = self.order(at_least_float32(items.extras()["gates"]))
        real = torch.ones_like(gates, dtype=torch.bool)
        return TextSide(
            columns.transpose(0, 1),
            gates,
            torch.full_like(gates, 1 / items.length),
            self.mean(gates, real) * gates,
            real.sum(1),
        )

    def reduce(self, similarity: Tensor, left: ImageSide, right: TextSide) -> Tensor:
        """(c, R + K, W, q) -> (c, 1, q), the sum already."""
        levels = level_values(self.activation(similarity), left, right, self.weights, torch.mul, Tensor.mul_)
        return torch.stack([weight * levels[name].float() for name, weight in self.weights.items()]).sum(0)[:, None]

    def finish(self, values: Tensor, right: TextSide) -> Tensor:
        """(C, 1, q) -> (C, q)."""
        return values[:, 0]
