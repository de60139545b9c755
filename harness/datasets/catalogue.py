"""Datasets by name or by what lies in their folder, imported only when used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidDataset
from harness.settings.components import Component, Parts
from harness.settings.experiment import INFERRED, with_inferred_name

if TYPE_CHECKING:
    from harness.datasets.base import Dataset

logger = logging.getLogger(__name__)


class Layouts(Parts["Dataset"]):
    """Datasets by name; without one, the folder says which layout it has."""

    def resolve(self, component: Component | Mapping[str, Any] | str) -> Component:
        """As `Parts.resolve`; the name `auto`, or a folder in place of a name, gives way to the layout that is found there.

        Raises:
            UnknownName, InvalidSpec: as `Parts.resolve`.
            InvalidDataset: the folder is of no layout, or of several.
        """
        component = Component.model_validate(with_inferred_name(component))
        options = component.plain
        if component.name not in self and Path(component.name).expanduser().is_dir():
            options = {"root": component.name, **options}
        elif component.name != INFERRED:
            return super().resolve(component)
        root = options.get("root")
        if not isinstance(root, str) or not root:
            raise InvalidDataset(
                f"dataset {INFERRED} needs the key root: name the folder with --set dataset.root=FOLDER, and its layout is found"
            )
        return super().resolve(Component(name=identify(root), options=options))


DATASETS = Layouts(
    "dataset",
    {
        "scenes": "harness.datasets.scenes.dataset:Scenes",
        "karpathy": "harness.datasets.karpathy:Karpathy",
        "blip": "harness.datasets.blip:Blip",
        "clip_benchmark": "harness.datasets.clip_benchmark:ClipBenchmark",
        "laps": "harness.datasets.laps:Laps",
        "precomp": "harness.datasets.precomp.dataset:Precomp",
        "webdataset": "harness.datasets.webdataset.dataset:Webdataset",
        "table": "harness.datasets.table.dataset:Table",
        "coco_captions": "harness.datasets.coco_captions:CocoCaptions",
        "flickr_tokens": "harness.datasets.flickr_tokens:FlickrTokens",
        "docci": "harness.datasets.docci:Docci",
        "flair": "harness.datasets.flair:Flair",
        "urban1k": "harness.datasets.urban1k:Urban1k",
    },
)


def recognised(root: str | Path) -> dict[str, str]:
    """The layouts that a folder has by its names and first bytes, each with the evidence.

    Raises:
        InvalidDataset: it is no folder.
    """
    from harness.datasets.files import dataset_root

    folder = dataset_root(str(root))
    found = ((name, DATASETS.get(name).recognise(folder)) for name in DATASETS)
    return {name: evidence for name, evidence in found if evidence is not None}


def identify(root: str | Path) -> str:
    """The name of the layout that a folder has; one line says which, and why.

    Raises:
        InvalidDataset: it is no folder, or of no layout, or of several.
    """
    found = recognised(root)
    if len(found) == 1:
        ((name, evidence),) = found.items()
        logger.info("dataset %s: layout %s, recognised by %s", root, name, evidence)
        return name
    if not found:
        layouts = ", ".join(name for name in DATASETS if name != "scenes")
        raise InvalidDataset(
            f"{root} is of no known layout ({layouts}): it lacks the files that each is recognised by, see docs/datasets.md; "
            "set dataset.root to the folder that holds them, or dataset.name to the layout"
        )
    several = ", ".join(f"{name} ({evidence})" for name, evidence in found.items())
    raise InvalidDataset(f"{root} has several layouts: {several}; set dataset.name to one of them")


def open_dataset(component: Component | Mapping[str, Any] | str) -> Dataset:
    """Open a dataset; no pixels are read.

    Args:
        component: name and options, such as `{"name": "karpathy", "root": "flickr8k"}`; without a name, or with a folder in
            its place, the folder says which layout it has.

    Raises:
        UnknownName: no such dataset.
        InvalidSpec: an unknown option (with the nearest valid one) or an impossible value.
        InvalidDataset: files missing, unreadable, or contradicting each other; a folder of no layout, or of several.

    >>> open_dataset({"name": "scenes", "clutter": "high"}).title
    'scenes-high'
    """
    dataset, config = DATASETS.part_and_config(component)
    try:
        return dataset(config)
    except InvalidDataset as error:
        raise InvalidDataset(f"{error}{_other_layout(DATASETS.resolve(component))}") from None


def _other_layout(component: Component) -> str:
    """What to add to an error where the folder has another layout than the named one; "" where it has not."""
    root = component.plain.get("root")
    if not isinstance(root, str) or not Path(root).expanduser().is_dir():
        return ""
    found = recognised(root)
    if component.name in found or len(found) != 1:
        return ""
    ((name, evidence),) = found.items()
    return f" (the folder looks like layout {name}, by {evidence}: dataset.name={name} reads it)"
