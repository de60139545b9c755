"""How much of a dataset's captions a text backbone loses, and where a vocabulary that comes with the data is unused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from harness.backbones.build import TEXT_BACKBONES
from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset
from harness.settings.components import Component

logger = logging.getLogger(__name__)


def report(text: Component, dataset: Dataset, saved: str = "", state: Mapping[str, Any] | None = None) -> None:
    """Log how many captions a text backbone loses, in one line where it loses any, and which settings are unused.

    Args:
        text: the backbone.
        dataset: with its splits.
        saved, state: the file of a saved model, and its tokenizer's state; without one the tokenizer is made anew.

    Raises:
        CannotEncode: a saved model came without its words.
        InvalidDataset: the backbone counts words, and there are no training captions and no vocabulary.
    """
    backbone, config = TEXT_BACKBONES.part_and_config(text)
    path = dataset.vocabulary_path
    if state is not None:
        tokenizer = backbone.restored_tokenizer(config, state)
    else:
        vocabulary = Vocabulary.load(path) if path is not None else None
        captions = dataset.training_captions
        if captions is None and vocabulary is None and backbone.reads_vocabulary(config):
            raise InvalidDataset(_no_words(text, dataset))
        tokenizer = backbone.fresh_tokenizer(config, captions, vocabulary)
    counts: dict[str, list[str]] = {
        "captions without a known word": [],
        f"captions cut at {tokenizer.longest} tokens": [],
    }
    for name in dataset.splits:
        captions = dataset.split(name).captions
        lost = tokenizer.losses(captions)
        for parts, count in zip(counts.values(), (lost.unknown, lost.cut), strict=True):
            if count:
                parts.append(f"{name} {count:,} of {len(captions):,}")
    losses = [f"{what}: {', '.join(parts)}" for what, parts in counts.items() if parts]
    if losses:
        logger.warning("%s: text backbone %s: %s", dataset.title, text.name, "; ".join(losses))
    if path is None:
        return
    if saved or not backbone.reads_vocabulary(config):
        whose = f"the saved model {saved}" if saved else f"text backbone {text.name}"
        logger.warning("the vocabulary %s is not used: %s has its own", path, whose)
    elif config.min_count != 1:
        logger.warning("text.min_count = %s has no effect beside the vocabulary", config.min_count)


def _no_words(text: Component, dataset: Dataset) -> str:
    return (
        f"text backbone {text.name} counts its words in training captions, but dataset {dataset.title} has no train split; "
        f"it has {', '.join(dataset.splits)}; choose a pretrained text backbone or a saved model (weights)"
    )
