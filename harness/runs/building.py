"""From a cell's settings to its dataset and its untrained scorer, and from a finished run to its trained one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from harness import backbones, datasets, registry
from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.base import Dataset, Split
from harness.errors import InvalidDataset
from harness.features.splits import Source, stored_splits
from harness.records.store import RunStore
from harness.runs.saved_models import load_model
from harness.scorer import Scorer
from harness.spec import Component, RunSpec

TEST_SPLIT = "test"


def build_scorer(spec: RunSpec, dataset: Dataset) -> Scorer:
    """The untrained scorer of a cell with its backbones; its initial weights depend on the seed alone."""
    if spec.weights:
        return load_model(spec.weights)
    width = dataset.split(dataset.splits[0]).images.region_width  # one in all splits
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        image = backbones.build_image(spec.image, region_width=width)
        text = backbones.build_text(spec.text, captions=dataset.training_captions, vocabulary=dataset.vocabulary_path)
        return registry.scorer_class(spec.scorer)(registry.resolve_config(spec.scorer, spec.config), image, text)


def splits_for(
    scorer: Scorer, spec: RunSpec, dataset: Dataset, names: Sequence[str]
) -> tuple[dict[str, Split], dict[str, Any]]:
    """Splits as a scorer reads them, where the run asks for it from the feature store.

    Args:
        scorer: with its pretrained towers, on its device.
        spec: of the run.
        dataset: its data.
        names: of the splits.

    Returns:
        The splits by name, and what was used of the store, for the record; see `harness.features.splits.stored_splits`.
    """
    splits = {name: dataset.split(name) for name in names}
    if spec.features is None or spec.features == "live":
        return splits, {}
    source = Source(dataset.title, splits, dataset.image_digests)
    return stored_splits(source, scorer.encoders, spec.training, spec.features)


def open_checked(component: Component) -> Dataset:
    """The dataset of a resolved component, read anew, after everything that would fail a run later was refused.

    Raises:
        InvalidDataset: see `Dataset.check`; also a vocabulary that cannot be used.
    """
    open_dataset.cache_clear()  # files may have changed since an earlier plan of this process
    dataset = open_dataset(component)
    dataset.check()
    if dataset.vocabulary_path is not None:
        Vocabulary.load(dataset.vocabulary_path)
    return dataset


@functools.lru_cache(maxsize=4)
def open_dataset(component: Component) -> Dataset:
    """The dataset of a resolved component; opened once per plan."""
    return datasets.open_dataset(component)


def require_training_data(dataset: Dataset) -> None:
    """Refuse a dataset without a train or validation split, and a train split of one image: it has nothing to be told
    apart from.

    Raises:
        InvalidDataset: says which splits there are, and what can be done with them.
    """
    purposes = {"train": "nothing can be trained on it", "val": "no epoch of a training can be chosen on it"}
    for split, purpose in purposes.items():
        if split not in dataset.splits:
            raise InvalidDataset(
                f"dataset {dataset.title} has no {split} split, so {purpose}; it has {', '.join(dataset.splits)}; evaluate "
                "pretrained towers (training.epochs=0) or saved models (weights) on it"
            )
    if len(dataset.split("train").image_ids) < 2:
        raise InvalidDataset(
            f"split 'train' of {dataset.title} has 1 image; training compares images with each other and needs at least 2"
        )


def load_scorer(store: RunStore, run_id: str) -> Scorer:
    """The trained scorer of a finished run, from its own files alone, on the CPU.

    Raises:
        InvalidRecord: the run is missing or did not finish.
        InvalidCheckpoint: the weights do not fit.
    """
    return load_model(store.folder(store.require(run_id).run_id) / "model.safetensors")
