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
from harness.methods.grm.levels import Matching, unit_vectors
from harness.similarity.compiled import kernels as compiled
from harness.similarity.gpu import fused
from harness.similarity.gpu.weights import LeftWeights, RightWeights
from harness.similarity.packed.kernels import Kernel, Operands, Scratch, largest_over_positions
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.reductions import precise, total_


def image_rows(images: Fragments, scored: Tensor, with_regions: bool) -> Fragments:
    """Patches and regions of prepared images (I, R, D) as the fragments of one item; without regions, K = 0.

    Args:
        scored: (I, R) bool, the patches that take part.

    Returns:
        Features (I, R + K, D), normalised, with the extras `gates` (I, R + K), 0 at the regions, and `patches` (I,),
        how many of an item's real fragments are patches: they come first.
    """
    patches, kept = images.features.shape[1], slice(None if with_regions else 0)
    regions, region_mask = images.extras["regions"][:, kept], images.extras["region_mask"][:, kept]
    features = images.features.new_empty(len(images), patches + regions.shape[1], images.width)
    unit_vectors(images.features, features[:, :patches])
    unit_vectors(regions, features[:, patches:])
    gates = precise(images.extras["gates"])
    gates = torch.cat([gates, gates.new_zeros(region_mask.shape)], 1)
    mask = torch.cat([scored, region_mask], 1)
    return Fragments(features, mask, {"gates": gates, "patches": scored.sum(1)})


@dataclass(frozen=True)
class PackedTexts:
    """What the levels need of the n captions of a group, with P words in all."""

    items: Group  #: the captions
    gates: Tensor  #: (P,) of the words
    word_mean: Tensor  #: (P,) weights of the mean over a caption's words
    salient_mean: Tensor  #: (P,) the same over gated words; the gates are in it


@dataclass(frozen=True)
class PackedImages:
    """What the levels need of c images of R patches and K regions each, the weights of the levels multiplied in."""

    gates: Tensor  #: (c, R, 1) of the patches
    patch_mean: Tensor  #: (c, R, 1) weights of the original level's mean over patches
    #: (c, R + K, 1) weights of the means over gated patches (their gates are in it) and over regions
    gated_mean: Tensor


@dataclass(frozen=True)
class LevelsKernel(Kernel):
    """The weighted sum of the levels, with images on the left.

    It computes what `levels` does, in fewer passes over the tile: the gate of an image's patch leaves the maximum
    over words, so that both maxima over words that read gated words come from one scaled tile.
    """

    weights: Mapping[str, float]  #: of the levels that rank, by name
    matching: Matching  #: how tokens and gates make a similarity
    tiles_in_use = 3

    def best_on(self, operands: Operands) -> Kernel:
        """This kernel, or what computes the same faster."""
        if fused.available(operands.device, operands.dtype):
            return FusedLevels(self)
        return CompiledLevels(self) if compiled.available(operands.device, operands.dtype) else self

    def left_side(self, items: Bucket, rows: Tensor) -> PackedImages:
        """`rows` (c, R + K, D)."""
        extras = items.extras()
        # One number for the bucket: K is the same for all images, or it follows from the number of patches.
        patches = int(extras["patches"][0])
        gates, salient = self._gates(extras["gates"][:, :patches], rows)
        regions = rows.shape[1] - patches
        region_mean = gates.new_full((len(gates), regions), self._weight("uncertain") / max(1, regions))
        return PackedImages(
            gates[..., None],
            torch.full_like(gates, self._weight("original") / patches)[..., None],
            torch.cat([self._weight("salient") * salient, region_mean], 1)[..., None],
        )

    def right_side(self, items: Group, columns: Tensor) -> PackedTexts:
        """`columns` (P, D)."""
        found = [self._gates(part.extras()["gates"], columns) for part in items.parts]
        plain = [torch.full_like(gates, 1 / gates.shape[1]) for gates, _ in found]
        gates, salient = zip(*found, strict=True)
        return PackedTexts(items, *(torch.cat([v.T.flatten() for v in values]) for values in (gates, plain, salient)))

    def reduce(self, similarity: Tensor, left: PackedImages, right: PackedTexts, scratch: Scratch) -> Tensor:
        """(c, R + K, P) -> (c, n), the sum already."""
        similarity = precise(self.matching.activation(similarity))
        patches = similarity[:, : left.gates.shape[1]]
        of_words = similarity.new_zeros(len(similarity), similarity.shape[2])
        of_rows = []
        if self._weight("original"):
            of_words.addcmul_(patches.amax(1), right.word_mean, value=self._weight("original"))
            of_rows.append(_weighted_sum(right.items.joined(largest_over_positions, patches), left.patch_mean))
        if self._weight("salient"):
            gated = torch.mul(patches, left.gates, out=scratch.like(patches))
            of_words.addcmul_(gated.amax(1), right.salient_mean, value=self._weight("salient"))
        if self._weight("uncertain"):
            regions = similarity[:, patches.shape[1] :]
            of_words.addcmul_(regions.amax(1), right.salient_mean, value=self._weight("uncertain"))
        if self._weight("salient") or self._weight("uncertain"):
            gated = torch.mul(similarity, right.gates, out=scratch.like(similarity))
            of_rows.append(_weighted_sum(right.items.joined(largest_over_positions, gated), left.gated_mean))
        return sum(of_rows, right.items.joined(lambda view: total_(view, -2), of_words))

    def _weight(self, level: str) -> float:
        return self.weights.get(level, 0.0)

    def _gates(self, gates: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gates (N, F) of real fragments as they enter, at the precision of `like`, and the weights of their mean."""
        scale = self.matching.order(gates.to(torch.promote_types(like.dtype, torch.float32)))
        return scale, self.matching.mean(scale, torch.ones_like(scale, dtype=torch.bool)) * scale


def _weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """(c, F, n), overwritten, and weights (c, F, 1) -> (c, n)."""
    return total_(values.mul_(weights), 1)


def _left_weights(levels: LevelsKernel, items: Bucket, rows: Tensor) -> LeftWeights:
    """What kernels of our own need of a tile's images; `rows` (c, R + K, D)."""
    images = levels.left_side(items, rows)
    patches = images.gates.shape[1]
    spare = (0, rows.shape[1] - patches)
    return LeftWeights(
        patches,
        F.pad(images.gates[..., 0], spare).contiguous(),
        F.pad(images.patch_mean[..., 0], spare).contiguous(),
        images.gated_mean[..., 0].contiguous(),
    )


def _right_weights(
    levels: LevelsKernel, items: Group, columns: Tensor, place: Callable[[Group, Tensor], Tensor]
) -> RightWeights:
    """What they need of a group's words; `columns` (P, D). `place` puts a number per word where a kernel expects it."""
    texts, weights = levels.right_side(items, columns), levels.weights
    gates, words, salient = (place(items, values) for values in (texts.gates, texts.word_mean, texts.salient_mean))
    return RightWeights(
        gates,
        weights.get("original", 0.0) * words,
        weights.get("salient", 0.0) * salient,
        weights.get("uncertain", 0.0) * salient,
    )


@dataclass(frozen=True)
class FusedLevels(fused.BothWays):
    """`LevelsKernel` on a GPU, which reads the tile twice and writes nothing of its size."""

    levels: LevelsKernel  #: what it computes

    def left_side(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """`rows` (c, R + K, D)."""
        return _left_weights(self.levels, items, rows)

    def right_side(self, items: Group, columns: Tensor) -> tuple[fused.AlignedColumns, RightWeights]:
        """`columns` (P, D)."""
        return fused.AlignedColumns.of(items, columns), _right_weights(self.levels, items, columns, fused.aligned)

    def activation(self, similarity: Tensor) -> Tensor:
        return self.levels.matching.activation(similarity)


@dataclass(frozen=True)
class CompiledLevels(compiled.BothWays):
    """`LevelsKernel` on a CPU, which reads the tile once."""

    levels: LevelsKernel  #: what it computes

    def left_weights(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """`rows` (c, R + K, D)."""
        return _left_weights(self.levels, items, rows)

    def right_weights(self, items: Group, columns: Tensor) -> RightWeights:
        """`columns` (P, D)."""
        return _right_weights(self.levels, items, columns, lambda _, values: values)

    def activation(self, similarity: Tensor) -> Tensor:
        return self.levels.matching.activation(similarity)
