"""What a GRM matches with what, as one alignment: the level that gates, or the first level that ranks.

Shape letters: N pairs, R patches, W words, K regions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from harness.alignment import Alignment
from harness.fragments import Fragments
from harness.methods.grm.gates import OpenGate
from harness.methods.grm.levels import Matching
from harness.methods.grm.parts import Parts
from harness.methods.grm.regions import RegionPrompts, Regions
from harness.scorers.features import clean
from harness.scorers.matches import best_of
from harness.similarity.reductions import precise

#: Read by these levels only.
GATED = frozenset(("salient", "uncertain"))


@dataclass(frozen=True)
class Pairs:
    """N prepared pairs and what the levels read of them."""

    images: Fragments
    texts: Fragments
    scored: Tensor  #: (N, R) bool, the patches that take part
    regions: Regions
    matching: Matching
    parts: Parts

    @property
    def words(self) -> Tensor:
        """(N, W) bool."""
        return self.texts.mask

    @property
    def word_scale(self) -> Tensor:
        """(N, W) how the words' gates enter the similarity."""
        return self.matching.order(precise(self.texts.extras["gates"]))

    @property
    def patch_scale(self) -> Tensor:
        """(N, R) likewise of the patches."""
        return self.matching.order(precise(self.images.extras["gates"]))

    def similarity(self, right: Tensor) -> Tensor:
        """(N, W, F) of the words with `right` (N, F, D)."""
        unit = F.normalize(clean(self.texts), dim=-1)
        return self.matching.activation(unit @ F.normalize(precise(right), dim=-1).mT)


def original(pairs: Pairs) -> Alignment:
    """Plain tokens, in both directions."""
    similarity = pairs.similarity(clean(pairs.images))
    return _both_ways(pairs, similarity, None, None, "original level")


def salient(pairs: Pairs) -> Alignment:
    """Gated tokens, in both directions: a gate scales every similarity of its token."""
    words, patches = pairs.word_scale, pairs.patch_scale
    similarity = pairs.similarity(clean(pairs.images)) * patches[:, None] * words[:, :, None]
    return _both_ways(pairs, similarity, words, patches, "salient level")


def uncertain(pairs: Pairs) -> Alignment:
    """Per word the patches of its best region, by that region's attention.

    The other direction asks for the best word of each region, which is no patch, and is not here.
    """
    chosen = _best_regions(pairs)
    return Alignment(
        kind="patches of each word's best region (uncertain level)",
        weights=(chosen.weights @ pairs.regions.attention.mT) * pairs.scored[:, None],
        over="regions",
        word_mask=pairs.words,
        region_mask=pairs.scored,
        word_scores=chosen.word_scores,
    )


#: In the order of preference.
LEVELS: dict[str, Callable[[Pairs], Alignment]] = {"salient": salient, "original": original, "uncertain": uncertain}


def alignment(pairs: Pairs, ranking: Collection[str]) -> Alignment:
    """The alignment of N pairs.

    Args:
        pairs: prepared.
        ranking: the levels that the score adds up.

    Returns:
        Of the salient level, or of the first of original and uncertain that ranks; with the gates if a ranking level
        reads them, and with the regions that the prompts gather if the uncertain level ranks.
    """
    found = next(level(pairs) for name, level in LEVELS.items() if name in ranking)
    if GATED & set(ranking):
        found = replace(
            found,
            word_gates=_gates(pairs.parts.granularity, pairs.texts, pairs.words),
            region_gates=_gates(pairs.parts.significance, pairs.images, pairs.scored),
        )
    if "uncertain" in ranking and isinstance(pairs.parts.regions.prompting, RegionPrompts):
        looks = precise(pairs.regions.attention.mT)
        found = replace(found, regions=looks, word_regions=_best_regions(pairs).weights)
    return found


def _both_ways(
    pairs: Pairs, similarity: Tensor, word_scale: Tensor | None, patch_scale: Tensor | None, level: str
) -> Alignment:
    def way(direction: str, kind: str) -> Alignment:
        return best_of(
            similarity,
            pairs.words,
            pairs.scored,
            direction,
            word_gates=word_scale,
            region_gates=patch_scale,
            kind=f"{kind} ({level})",
        )

    return replace(way("t2i", "best patch of each word"), reverse=way("i2t", "best word of each patch"))


def _best_regions(pairs: Pairs) -> Alignment:
    """Words against regions, gated as the uncertain level reads them."""
    words = pairs.word_scale
    similarity = pairs.similarity(pairs.images.extras["regions"]) * words[:, :, None]
    return best_of(similarity, pairs.words, pairs.regions.mask, "t2i", word_gates=words)


def _gates(gate: object, fragments: Fragments, mask: Tensor) -> Tensor | None:
    """(N, F) as the component gives them; None for one that keeps everything."""
    return None if isinstance(gate, OpenGate) else precise(fragments.extras["gates"]) * mask
