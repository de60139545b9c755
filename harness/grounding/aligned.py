"""Some captions aligned with their pictures, and what the maps of their words come to.

Shape letters: N captions, M words that are asked about, R fragments of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.alignment import Alignment
from harness.grounding.alignments import joined, weights_of
from harness.grounding.boxes import Places, centres_inside, overlaps, padded
from harness.grounding.gates import separation_of
from harness.grounding.measures import inside_share, pointing, rank_correlation, uniform
from harness.grounding.targets import Target
from harness.grounding.texts import Located, fragments_of


@dataclass(frozen=True, eq=False)
class Aligned:
    """N captions, each aligned with its picture.

    Args:
        alignment: of the N pairs.
        captions: N texts.
        words: of each caption, as its text encoder reads them.
        places: (N, R) of the fragments of the pictures.
        targets: M.
        pairs: M, the pair that each target is of.
    """

    alignment: Alignment
    captions: Sequence[str]
    words: Sequence[Sequence[Located]]
    places: Places
    targets: Sequence[Target]
    pairs: Sequence[int]

    @cached_property
    def fragments(self) -> list[tuple[int, ...]]:
        """M, the fragments of the caption that spell each target; none where the text encoder does not read it."""
        return [
            fragments_of(target.span, self.words[pair]) for target, pair in zip(self.targets, self.pairs, strict=True)
        ]

    def measured(self, random: np.ndarray) -> dict[str, np.ndarray]:
        """(M,) values by the names of measures, see `harness.grounding.probe.GroundingProbe`.

        Args:
            random: (M, R) a random map per target.
        """
        weights = weights_of(self.alignment)
        mask = weights.mask.cpu().numpy()[self.pairs]
        places = Places(*(array[self.pairs] for array in self.places))
        rectangles = padded([target.boxes for target in self.targets])
        overlap, inside = overlaps(places, rectangles) * mask, centres_inside(places, rectangles) & mask
        reachable = inside.any(axis=1)

        def all_of(maps: np.ndarray, suffix: str = "") -> dict[str, np.ndarray]:
            return {
                f"pointing{suffix}": np.where(reachable, pointing(maps, inside, mask), np.nan),
                f"inside{suffix}": inside_share(maps, overlap, mask),
                f"rank_correlation{suffix}": rank_correlation(maps, overlap, mask & places.placed),
            }

        maps = joined(weights.words, self.pairs, self.fragments)
        found = all_of(maps) | all_of(uniform(mask), "_uniform") | all_of(random, "_random")
        found |= {
            "reachable": reachable.astype(np.float64),
            "inside_ceiling": overlap.max(axis=1, initial=0.0),
            "matched": ((maps * mask).sum(axis=1) > 0).astype(np.float64),
        }
        if weights.gathered is not None:
            found |= all_of(joined(weights.gathered, self.pairs, self.fragments), "_regions")
        return found

    def separations(self) -> list[float] | None:
        """N, how well the gates tell the words of each caption apart; None where the method has no gates on words."""
        if self.alignment.word_gates is None:
            return None
        gates = self.alignment.word_gates.double().cpu().numpy()
        named: list[list[tuple[int, int]]] = [[] for _ in self.captions]
        for pair, target in zip(self.pairs, self.targets, strict=True):
            named[pair].append(target.span)
        return [
            separation_of(caption, gates[pair], self.words[pair], named[pair])
            for pair, caption in enumerate(self.captions)
        ]
