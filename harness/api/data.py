"""Datasets for scripts and notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.datasets import DATASETS, open_dataset
from harness.errors import InvalidDataset
from harness.settings.components import Component

if TYPE_CHECKING:
    from harness.datasets.base import Dataset


def load_dataset(source: str | Path, **options: Any) -> Dataset:
    """A dataset by its name, or the one in a folder, whose layout is found. No picture is read yet.

    Args:
        source: a name of `list_datasets()`, or a folder.
        options: settings of the dataset, as `dataset.KEY` of an experiment has them; for a folder also `name`, its layout.

    Returns:
        The dataset: `title`, `splits`, and `split("test")` with `image_ids`, `captions` and `caption_image`.

    Raises:
        UnknownName: neither a name nor a folder.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
        InvalidDataset: files missing, unreadable, or contradicting each other; a folder of no layout, or of several.

    >>> data = load_dataset("scenes", test_images=20)
    >>> data.title, data.splits, len(data.split("test").image_ids)
    ('scenes', ('train', 'val', 'test'), 20)
    """
    if isinstance(source, str) and source in DATASETS:
        given: dict[str, Any] = {"name": source, **options}
    elif isinstance(source, Path) or "/" in source or Path(source).expanduser().is_dir():
        given = {"root": str(source), **options}
    else:
        given = {**options, "name": source}
    return open_dataset(DATASETS.resolve(Component.model_validate(given) if "name" in given else given))


def opened(dataset: Dataset | str | Path) -> Dataset:
    """The dataset itself, or the one that a name or a folder means; errors as `load_dataset`."""
    return load_dataset(dataset) if isinstance(dataset, str | Path) else dataset


def component_of(dataset: Dataset) -> Component:
    """How a dataset is opened again, for specs and records.

    Raises:
        InvalidDataset: it is no dataset that has a name.

    >>> component_of(load_dataset("scenes", clutter="high")).name
    'scenes'
    """
    target = f"{type(dataset).__module__}:{type(dataset).__qualname__}"
    for name, source in DATASETS.sources.items():
        if source.target == target:
            return Component(name=name, options=dataset.config)
    raise InvalidDataset(
        f"{type(dataset).__name__} is no dataset of the harness; give what load_dataset returns, a name or a folder"
    )
