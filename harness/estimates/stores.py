"""The feature store in an estimate: what a frozen tower costs once, and a stand-in for what it stores."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import Encoder, ImageEncoder, TextEncoder
from harness.datasets.base import Split
from harness.estimates.measure import Clock
from harness.features.splits import RANDOM, is_frozen
from harness.features.towers import tower_title
from harness.fragments import Fragments
from harness.measure.timing import synchronize
from harness.records.plan import StoredTower
from harness.scorer import Scorer
from harness.scoring.inputs import image_batch
from harness.spec import RunSpec

#: Items that the tower is run on; the others of a split repeat their outputs.
FEW = 4
_BYTES = {"float16": 2, "float32": 4}


class RepeatedOutputs:
    """Stands for one side of a split in the store: the outputs for a few items, over and over.

    Args:
        outputs: of the few.
        count: items of the split.
    """

    def __init__(self, outputs: Fragments, count: int):
        self._outputs, self.rows = outputs, np.arange(count)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: np.ndarray) -> Fragments:
        """The tower's outputs (n, F, C)."""
        return self._outputs[torch.from_numpy(np.asarray(places) % len(self._outputs)).to(self._outputs.device)]

    def lengths(self, places: np.ndarray) -> Tensor:
        """(n,) int64, the number of fragments of each."""
        return self.read(places).lengths


def with_stores(
    scorer: Scorer, split: Split, draft: RunSpec, clock: Clock
) -> tuple[Split, Split, tuple[StoredTower, ...]]:
    """Pairs as training and as evaluation read them, where frozen towers have their outputs stored.

    Args:
        scorer: with its encoders, on the device.
        split: the pairs.
        draft: decides which towers are frozen, and whether there is a store.
        clock: seconds.

    Returns:
        For training, for evaluation, and what each store costs.
    """
    learnt = evaluated = split
    towers = []
    if draft.features not in _BYTES:
        return split, split, ()
    for side, encoder in zip(("images", "texts"), scorer.encoders, strict=True):
        if not is_frozen(encoder, draft.training):
            continue
        outputs, seconds = _outputs(encoder, split, scorer.device, clock)
        count = len(split.image_ids) if side == "images" else len(split.captions)
        stored: Any = {f"stored_{side}": RepeatedOutputs(outputs, count)}
        setting, harmless = RANDOM[_side(side)]
        whole = getattr(draft.training, setting) == harmless
        evaluated = dataclasses.replace(evaluated, **stored)
        learnt = dataclasses.replace(learnt, **stored) if whole else learnt
        fragments = float(outputs.lengths.float().mean())
        towers.append(
            StoredTower(
                tower=f"{tower_title(encoder)}, {side}, {draft.features}",
                side=_side(side),
                items_per_second=len(outputs) / seconds,
                item_bytes=fragments * outputs.width * _BYTES[str(draft.features)],
                training=whole,
            )
        )
    return learnt, evaluated, tuple(towers)


def _outputs(encoder: Encoder, split: Split, device: torch.device, clock: Clock) -> tuple[Fragments, float]:
    """The tower's outputs for a few items, and the seconds that they take."""
    few = min(FEW, len(split.image_ids))
    if isinstance(encoder, ImageEncoder):
        batch: Any = image_batch(split, encoder, list(range(few)))
    else:
        batch = cast(TextEncoder, encoder).tokenizer(split.captions[:few])
    encoder.eval()
    with torch.no_grad():
        encoder.raw(batch.to(device))
        start = clock()
        outputs = encoder.raw(batch.to(device))
        synchronize(device)
    return outputs, max(clock() - start, 1e-9)


def _side(side: str) -> Literal["images", "texts"]:
    return "images" if side == "images" else "texts"
