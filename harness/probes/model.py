"""A trained model while probes are put to it: it encodes what they show, and what several of them share only once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.scorer import Scorer
from harness.scoring import encode_split, similarity_matrix

#: Items encoded at once.
BATCH = 256


@dataclass(frozen=True, eq=False)
class Model:
    """A run's trained scorer.

    Args:
        store: where the run lies.
        record: of the run.
        scorer: in evaluation mode, on its device.
    """

    store: RunStore
    record: RunRecord
    scorer: Scorer

    def encode(self, split: Split) -> tuple[Fragments, Fragments]:
        """Images (I, R, D) and captions (T, W, D) of a split, on the scorer's device.

        Raises:
            CannotEncode, InvalidDataset, InvalidFragments: see `harness.scoring.encode_split`.
        """
        return encode_split(self.scorer, split, BATCH)

    @torch.no_grad()
    def similarity(self, split: Split) -> Tensor:
        """(I, T) scores of all pairs of a split, on the CPU.

        Raises:
            InvalidSimilarity: scores that are not finite; and as `encode`.
        """
        return similarity_matrix(self.scorer, *self.encode(split)).cpu()
