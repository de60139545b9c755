"""Datasets by name, imported only when used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.settings.components import Component, Parts

if TYPE_CHECKING:
    from harness.datasets.base import Dataset

DATASETS: Parts[Dataset] = Parts(
    "dataset",
    {
        "scenes": "harness.datasets.scenes.dataset:Scenes",
        "karpathy": "harness.datasets.karpathy.dataset:Karpathy",
        "precomp": "harness.datasets.precomp.dataset:Precomp",
    },
)


def open_dataset(component: Component | Mapping[str, Any] | str) -> Dataset:
    """Open a dataset; no pixels are read.

    Args:
        component: name and options, such as `{"name": "karpathy", "root": "flickr8k"}`.

    Raises:
        UnknownName: no such dataset.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
        InvalidDataset: files missing, unreadable, or contradicting each other.

    >>> open_dataset({"name": "scenes", "clutter": "high"}).title
    'scenes-high'
    """
    dataset, config = DATASETS.part_and_config(component)
    return dataset(config)
