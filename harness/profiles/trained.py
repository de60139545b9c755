"""Trained scorers with the test split encoded, from which every point of a profile is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments, Tokens
from harness.profiles.galleries import Direction, prune
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.building import TEST_SPLIT, load_scorer, open_dataset
from harness.scorer import Scorer
from harness.scoring import evaluating, image_batch
from harness.spec import RunSpec

Side = Literal["patches", "words"]
#: Raw images kept in memory for timing the encoders.
MOST_RAW_IMAGES = 512


@dataclass(frozen=True, eq=False)
class TrainedScorer:
    """A trained scorer and what it is fed with."""

    key: str  #: unique in the profile, as tables name it
    record: RunRecord
    spec: RunSpec
    scorer: Scorer  #: on the device, in evaluation mode
    split: Split  #: the test split
    image_inputs: Tensor | Fragments  #: what the image encoder takes, on the CPU; at most `MOST_RAW_IMAGES`
    tokens: Tokens  #: of all captions, on the CPU
    raw_images: Fragments  #: as the encoder returns them
    raw_texts: Fragments
    images: Fragments  #: as the scorer prepares them
    texts: Fragments

    @property
    def protocol(self) -> str:
        """The first protocol of the run, by which points are judged."""
        return self.spec.protocols[0]

    def gallery(self, direction: Direction) -> Fragments:
        """The side that is searched."""
        return self.images if direction == "t2i" else self.texts

    def pruned(self, side: Side, keep: float) -> tuple[Fragments, Fragments]:
        """Images and captions with fewer `patches` or `words` going into the method."""
        size = self.spec.evaluation.batch_size
        with evaluating(self.scorer):
            if side == "patches":
                return _prepared(prune(self.raw_images, keep), self.scorer.prepare_images, size), self.texts
            return self.images, _prepared(prune(self.raw_texts, keep), self.scorer.prepare_texts, size)


def load_trained(key: str, record: RunRecord, store: RunStore, device: torch.device) -> TrainedScorer:
    """Load a finished run's scorer and encode its test split.

    Raises:
        InvalidRecord: the run did not finish.
        InvalidCheckpoint: its weights do not fit.
        InvalidDataset: its data is gone.
    """
    spec = RunSpec.model_validate(record.spec)
    split = open_dataset(spec.dataset).split(TEST_SPLIT)
    scorer = load_scorer(store, record.run_id).to(device)
    scorer.eval()
    image_encoder, text_encoder = scorer.encoders
    size, count = spec.evaluation.batch_size, len(split.images)

    def image_inputs(start: int, stop: int) -> Tensor | Fragments:
        return image_batch(split, image_encoder, range(start, min(stop, count)))

    with evaluating(scorer):
        raw_images = Fragments.cat(
            [image_encoder(image_inputs(start, start + size).to(device)) for start in range(0, count, size)]
        )
        tokens = text_encoder.tokenizer(split.captions)
        order = torch.argsort(tokens.lengths, stable=True)
        raw_texts = Fragments.cat(
            [text_encoder(tokens[order[s : s + size]].to(device)) for s in range(0, len(tokens), size)]
        )[torch.argsort(order).to(device)]
        images = _prepared(raw_images, scorer.prepare_images, size)
        texts = _prepared(raw_texts, scorer.prepare_texts, size)
    some = image_inputs(0, MOST_RAW_IMAGES)
    return TrainedScorer(key, record, spec, scorer, split, some, tokens, raw_images, raw_texts, images, texts)


def _prepared(items: Fragments, prepare: Callable[[Fragments], Any], size: int) -> Fragments:
    return Fragments.cat([prepare(items[start : start + size]) for start in range(0, len(items), size)])
