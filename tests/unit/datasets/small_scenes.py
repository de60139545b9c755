"""Scenes that are small enough for tests."""

from __future__ import annotations

from harness.datasets import open_dataset
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.grammar import Form
from harness.spec import Component

SMALL = {"train_images": 12, "val_images": 4, "test_images": 60, "image_size": 32}


def scenes(**options: object) -> Scenes:
    dataset = open_dataset(Component(name="scenes", options={**SMALL, **options}))
    assert isinstance(dataset, Scenes)
    return dataset


def forms_of_test(dataset: Scenes) -> list[Form]:
    """The logical form of each caption of the test split."""
    return list(dataset.forms("test"))
