"""A trained model while probes are put to it: it encodes what they show, each side once."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.probes.sides import LARGEST_OWN, RecentlyUsed, Towers
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.scorer import Scorer
from harness.scoring import encode_images, encode_texts, similarity_matrix
from harness.scoring.sides import bytes_of

#: Items encoded at once.
BATCH = 256


@dataclass(frozen=True, eq=False)
class Model:
    """A run's trained scorer.

    Args:
        store: where the run lies.
        record: of the run.
        scorer: in evaluation mode, on its device.
        towers: those that it shares with other models; None = it shares none.
        kept: what models encoded, which several may share.
    """

    store: RunStore
    record: RunRecord
    scorer: Scorer
    towers: Towers | None = None
    kept: RecentlyUsed = field(default_factory=lambda: RecentlyUsed(LARGEST_OWN))

    def encode(self, split: Split) -> tuple[Fragments, Fragments]:
        """Images (I, R, D) and captions (T, W, D) of a split, on the scorer's device.

        A side that the same object held before (`split.images`, `split.captions`) is not encoded again while it is kept.

        Raises:
            CannotEncode, InvalidDataset, InvalidFragments: see `harness.scoring.encode_sides`.
        """
        image_encoder, text_encoder = self.scorer.encoders
        run, towers = self.record.run_id, self.towers

        def images() -> Fragments:
            stored = (
                towers and image_encoder.input == "pixels" and towers.outputs(self.scorer, image_encoder, split.images)
            )
            found = dataclasses.replace(split, stored_images=stored or None)
            return _in_memory(encode_images(self.scorer, found, BATCH, limit=sys.maxsize))

        def texts() -> Fragments:
            stored = towers and towers.outputs(self.scorer, text_encoder, split.captions)
            found = dataclasses.replace(split, stored_texts=stored or None)
            return _in_memory(encode_texts(self.scorer, found, BATCH, limit=sys.maxsize))

        return (
            self.kept.get((run, "images"), (split.images,), images, bytes_of),
            self.kept.get((run, "texts"), (split.captions,), texts, bytes_of),
        )

    @torch.no_grad()
    def similarity(self, split: Split) -> Tensor:
        """(I, T) scores of all pairs of a split, on the CPU; not to be changed in place.

        Raises:
            InvalidSimilarity: scores that are not finite; and as `encode`.
        """

        def scores() -> Tensor:
            return similarity_matrix(self.scorer, *self.encode(split)).cpu()

        of = (split.images, split.captions)  # the unchanged split comes back in every probe
        return self.kept.get(
            (self.record.run_id, "scores"), of, scores, lambda made: made.numel() * made.element_size()
        )


def _in_memory(side: object) -> Fragments:
    assert isinstance(side, Fragments)  # there is no limit
    return side
