"""Subjects: trained scorers with the test split encoded, from which every point of a profile is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.datasets.base import Split
from harness.fragments import Fragments, Tokens
from harness.profiles.stored import prune
from harness.records.run import RunRecord, RunStore
from harness.runs.experiment import load_scorer
from harness.runs.planning import TEST_SPLIT, open_dataset
from harness.scorer import Scorer
from harness.scoring import evaluating
from harness.scoring.inputs import image_batch
from harness.spec import RunSpec


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained scorer and what it is fed with.

    Args:
        key: unique in the profile, as tables name it.
        record: of its run.
        spec: of its run.
        scorer: on the device, in evaluation mode.
        split: the test split.
        pixels_or_regions: what the image encoder takes, one row an image, on the CPU (large sets: the first ones only).
        tokens: of all captions, on the CPU.
        raw_images, raw_texts: as the encoders return them.
        images, texts: as the scorer prepares them.
    """

    key: str
    record: RunRecord
    spec: RunSpec
    scorer: Scorer
    split: Split
    pixels_or_regions: Tensor | Fragments
    tokens: Tokens
    raw_images: Fragments
    raw_texts: Fragments
    images: Fragments
    texts: Fragments

    @property
    def protocol(self) -> str:
        """The first protocol of the run, by which points are judged."""
        return self.spec.protocols[0]

    def pruned(self, side: str, keep: float) -> tuple[Fragments, Fragments]:
        """Images and captions with fewer `patches` or `words` going into the method."""
        with evaluating(self.scorer):
            if side == "patches":
                images = _in_batches(prune(self.raw_images, keep), self.scorer.prepare_images, self._batch)
                return images, self.texts
            return self.images, _in_batches(prune(self.raw_texts, keep), self.scorer.prepare_texts, self._batch)

    @property
    def _batch(self) -> int:
        return self.spec.evaluation.batch_size


#: Raw images kept in memory for timing the encoders.
MOST_RAW_IMAGES = 512


def load_subject(key: str, record: RunRecord, store: RunStore, device: torch.device) -> Subject:
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
    size = spec.evaluation.batch_size
    with evaluating(scorer):
        raw = Fragments.cat(
            [
                image_encoder(
                    image_batch(split, image_encoder, range(start, min(start + size, len(split.images)))).to(device)
                )
                for start in range(0, len(split.images), size)
            ]
        )
        tokens = text_encoder.tokenizer(split.captions)
        order = torch.argsort(tokens.lengths, stable=True)
        raw_texts = Fragments.cat(
            [text_encoder(tokens[order[s : s + size]].to(device)) for s in range(0, len(tokens), size)]
        )[torch.argsort(order).to(device)]
        images = _in_batches(raw, scorer.prepare_images, size)
        texts = _in_batches(raw_texts, scorer.prepare_texts, size)
    some = image_batch(split, image_encoder, range(min(len(split.images), MOST_RAW_IMAGES)))
    return Subject(key, record, spec, scorer, split, some, tokens, raw, raw_texts, images, texts)


def _in_batches(items: Fragments, prepare: Callable[[Fragments], Any], size: int) -> Fragments:
    return Fragments.cat([prepare(items[start : start + size]) for start in range(0, len(items), size)])
