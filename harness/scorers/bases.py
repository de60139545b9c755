"""Bases of scorers that prepare their fragments in one of two ways: each as a unit vector, or all as one vector."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scorers.features import check_widths, clean, mean_of_real


class UnitFragmentScorer(Scorer):
    """Compares fragments by cosines: both sides are prepared as unit vectors."""

    def prepare_images(self, images: Fragments) -> Fragments:
        """Regions or patches as unit vectors."""
        return images.normalized()

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """Words as unit vectors."""
        return texts.normalized()


class GlobalVectorScorer(Scorer):
    """Compares one unit vector per item (F = 1), the mean of its fragments unless a subclass pools otherwise.

    It matches no word with any region, so `align` gives None.
    """

    def pool_images(self, features: Tensor, mask: Tensor) -> Tensor:
        """(N, D) from features (N, F, D), 0 at the padding, and mask (N, F). A single fragment is its own pool."""
        return mean_of_real(features, mask)

    def pool_texts(self, features: Tensor, mask: Tensor) -> Tensor:
        """As `pool_images`, for captions."""
        return mean_of_real(features, mask)

    def prepare_images(self, images: Fragments) -> Fragments:
        """One unit vector per image."""
        return unit_vector(self.pool_images(clean(images), images.mask))

    def prepare_texts(self, texts: Fragments) -> Fragments:
        """One unit vector per caption."""
        return unit_vector(self.pool_texts(clean(texts), texts.mask))

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        """Cosines (I, T) of the items' vectors; arguments and errors as `Scorer.score`."""
        left, right = self.prepare_images(images), self.prepare_texts(texts)
        check_widths(left, right)
        return left.features[:, 0] @ right.features[:, 0].T


def unit_vector(vectors: Tensor, extras: dict[str, Tensor] | None = None) -> Fragments:
    """Vectors (N, D), scaled to unit length, as items of one fragment each."""
    mask = vectors.new_ones(len(vectors), 1).bool()
    return Fragments(normalize(vectors, dim=-1)[:, None], mask, extras or {})
