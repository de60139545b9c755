"""Building features ahead of the runs that read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch

from harness import backbones, datasets
from harness.backbones.base import Encoder
from harness.datasets.base import Dataset, Split
from harness.errors import InvalidSpec
from harness.features.export import write_precomp
from harness.features.folders import Dtype
from harness.features.splits import Source, tower_split
from harness.features.towers import tower_title
from harness.spec import Component


def build_ahead(
    dataset: Component,
    image: Any,
    text: Any,
    dtype: str,
    device: torch.device,
    precomp: Path | None = None,
) -> Iterator[str]:
    """Put the outputs of pretrained towers for all splits of a dataset into the store.

    Args:
        dataset: component.
        image, text: components of the backbones, resolved or not; None leaves a side out.
        dtype: of the values that are kept.
        device: where to compute.
        precomp: folder for the image features in SCAN's layout; None = none.

    Yields:
        What was done, one line for each folder of the store and each folder that was written.

    Raises:
        InvalidSpec: a backbone without pretrained weights.
        InvalidDataset: the dataset cannot be read, has no pixels, or does not fit SCAN's layout.
        As `harness.features.store.features_of`.
    """
    opened = datasets.open_dataset(dataset)
    opened.check()
    splits = {name: opened.split(name) for name in opened.splits}
    source = Source(opened.title, splits, opened.image_digests)
    encoders = _encoders(opened, splits, image, text)
    for encoder in encoders:
        for name, split in splits.items():
            stored, kept = tower_split(source, split, encoder.to(device), cast(Dtype, dtype))
            yield f"{tower_title(encoder)}, {name} {kept.about.side}: {kept.folder}"
            if precomp is not None and kept.about.side == "images":
                yield f"written: {', '.join(map(str, write_precomp(precomp, stored)))}"


def _encoders(dataset: Dataset, splits: dict[str, Split], image: Any, text: Any) -> list[Encoder]:
    found: list[Encoder] = []
    if image is not None:
        component = backbones.pinned(backbones.IMAGE_BACKBONES, image)
        width = next(iter(splits.values())).images.region_width
        found.append(backbones.build_image(component, region_width=width))
    if text is not None:
        component = backbones.pinned(backbones.TEXT_BACKBONES, text)
        found.append(
            backbones.build_text(component, captions=dataset.training_captions, vocabulary=dataset.vocabulary_path)
        )
    for encoder in found:
        if encoder.tower_module() is None or not encoder.comes_trained(encoder.config):
            name = backbones.component_of(encoder).name  # type: ignore[arg-type]
            raise InvalidSpec(
                f"backbone '{name}' has no pretrained tower here, so there is nothing to keep: its weights are learned in "
                "each run; name pretrained weights (pretrained: ..., model: ...)"
            )
    return found
