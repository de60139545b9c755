"""What a trial can see of a dataset: the train and the validation split. There is no way from here to the test split."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.datasets.base import Dataset, Split
from harness.errors import InvalidDataset
from harness.runs.building import open_dataset
from harness.spec import Component
from harness.sweeps.plan import VALIDATION_SPLIT


class TuningSplits(Dataset):
    """A dataset of two splits. It holds those two and nothing else, above all not the dataset they come from."""

    def __init__(
        self,
        train: Split,
        validation: Split,
        title: str = "",
        digests: Mapping[str, tuple[bytes, ...] | None] = MappingProxyType({}),
    ):
        self._splits = {"train": train, VALIDATION_SPLIT: validation}
        self._title, self._digests = title, digests

    @property
    def title(self) -> str:
        """Of the dataset that the splits come from."""
        return self._title

    def image_digests(self, split: str) -> tuple[bytes, ...] | None:
        """See `Dataset.image_digests`."""
        return self._digests.get(split)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._splits)

    def split(self, name: str) -> Split:
        """The split `train` or `val`.

        Raises:
            InvalidDataset: any other: a sweep that sees test data is a defect.
        """
        if name not in self._splits:
            raise InvalidDataset(
                f"split '{name}' is out of reach of a sweep's trial, which learns from train and is judged by val alone"
            )
        return self._splits[name]


def open_tuning_splits(component: Component) -> TuningSplits:
    """The two splits of a resolved dataset."""
    dataset = open_dataset(component)
    names = "train", VALIDATION_SPLIT
    digests = {name: dataset.image_digests(name) for name in names}
    train, validation = (dataset.split(name) for name in names)
    return TuningSplits(train, validation, title=dataset.title, digests=digests)
