"""GRM for the scoring engine: its three levels from one packed product of words x (patches + regions).

Every configuration packs: the gates scale the tile whatever rule made them, and the one activation on offer, leaky ReLU,
is applied to the tile and commutes with scales >= 0.

Shape letters: I images, T captions, R patches, K regions, W words, D width; of a tile c images and q captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.packing import Bucket
from methods._grm_gates import at_least_float32
from methods._grm_levels import ImageSide, Mean, Order, TextSide, reduce_tile, unit_vectors

#: Captions that a maximum over words takes at a time on a CPU, and from how many on filling up a vector pays.
VECTOR, WORTH_FILLING = 32, 12


def image_rows(images: Fragments, scored: Tensor, regions: Tensor, region_mask: Tensor) -> Fragments:
    """Patches and regions as the fragments of one item.

    Args:
        images: prepared, features (I, R, D), `gates` (I, R) among the extras.
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
        activation: applied to every token similarity; leaves 0 as it is.
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
        """Gates and means of a tile's captions, filled up to whole vectors; `columns` (W, q, D)."""
        gates = self.order(at_least_float32(items.extras()["gates"]))
        real = torch.ones_like(gates, dtype=torch.bool)
        filling = _filling(len(gates), gates.device)
        return TextSide(
            columns.transpose(0, 1),
            _by_position(gates, filling),
            _by_position(torch.full_like(gates, 1 / items.length), filling),
            _by_position(self.mean(gates, real) * gates, filling),
            real.sum(1),
        )

    def reduce(self, similarity: Tensor, left: ImageSide, right: TextSide) -> Tensor:
        """(c, R + K, W, q) -> (c, 1, q), the sum already."""
        captions = similarity.shape[-1]
        filling = len(right.gates) - captions
        copy = F.pad(similarity, (0, filling)) if filling else similarity.clone()  # the levels scale it in place
        levels = reduce_tile(self.activation(copy), left, right, tuple(self.weights)).float()
        scale = levels.new_tensor(list(self.weights.values()))[:, None, None]
        return (levels * scale).sum(0)[:, None, :captions]

    def finish(self, values: Tensor, right: TextSide) -> Tensor:
        """(C, 1, q) -> (C, q)."""
        return values[:, 0]


def _filling(captions: int, device: torch.device) -> int:
    """Captions of nothing that are added to q: torch's maximum over words is up to eight times as fast on whole vectors."""
    return -captions % VECTOR if device.type == "cpu" and captions >= WORTH_FILLING else 0


def _by_position(values: Tensor, filling: int) -> Tensor:
    """(q, W) -> (q + filling, W), stored as (W, q + filling) like the tile, so that products with it are vectorised."""
    return F.pad(values.T, (0, filling)).contiguous().T
