"""Datasets by name, imported only when used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from harness.errors import UnknownName
from harness.spec import Component, build

if TYPE_CHECKING:
    from harness.datasets.base import Dataset

DATASETS = {
    "scenes": "harness.datasets.scenes.dataset:Scenes",
    "karpathy": "harness.datasets.karpathy:Karpathy",
    "precomp": "harness.datasets.precomp:Precomp",
}


def names() -> list[str]:
    """All dataset names, sorted; nothing is imported."""
    return sorted(DATASETS)


def dataset_class(name: str) -> type[Dataset]:
    """The class behind a name; imports its module.

    Raises:
        UnknownName: with near matches and the list of valid names.
    """
    if name not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
    module, _, attribute = DATASETS[name].partition(":")
    return getattr(import_module(module), attribute)


def resolve(component: Component) -> Component:
    """The component with every option validated and every default filled in; no data are touched.

    Raises:
        UnknownName: no such dataset.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
    """
    config = build(dataset_class(component.name).Config, component.options, f"dataset {component.name}")
    return Component(name=component.name, options=config.model_dump(mode="json"))


def open_dataset(component: Component) -> Dataset:
    """Open a dataset; no pixels are read.

    Args:
        component: its name and options, such as `Component(name="karpathy", options={"root": "flickr8k"})`.

    Raises:
        UnknownName: no such dataset.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
        InvalidDataset: files missing, unreadable, or contradicting each other.
    """
    cls = dataset_class(component.name)
    return cls(build(cls.Config, component.options, f"dataset {component.name}"))
