"""Splits as a scorer with frozen towers reads them: from the store, wherever nothing random stands before a tower."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.backbones.base import Encoder, ImageEncoder, TextEncoder
from harness.datasets.base import Split
from harness.features.folders import Dtype
from harness.features.items import ImageItems, Items, Side, TextItems
from harness.features.kept import Kept, KeptSide
from harness.features.store import Wanted, features_of
from harness.features.towers import tower_title
from harness.spec import TrainingSpec

logger = logging.getLogger(__name__)

TRAIN = "train"
#: What changes at random before a tower, by side: the setting, and the value at which it does nothing.
RANDOM: dict[Side, tuple[str, Any]] = {"images": ("image_augmentation", "none"), "texts": ("word_masking", 0)}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where splits come from.

    Args:
        title: of the dataset.
        splits: by name.
        digests: of the images of a split, by its name; see `Dataset.image_digests`.
    """

    title: str
    splits: Mapping[str, Split]
    digests: Callable[[str], Sequence[bytes] | None]


def stored_splits(
    source: Source, encoders: tuple[ImageEncoder, TextEncoder], training: TrainingSpec, dtype: Dtype
) -> tuple[dict[str, Split], dict[str, Any]]:
    """Splits whose images and captions are read from the store, where a tower of the encoders is frozen by the training.

    What is not there is computed now. Training images that are augmented, and training captions whose words are masked,
    are left as they are.

    Args:
        source: the splits.
        encoders: with their pretrained weights, on the device to compute on.
        training: decides which towers are frozen and what is random.
        dtype: of the values that are kept.

    Returns:
        The splits by name, and what was used of the store, by side, for the record.

    Raises:
        As `harness.features.store.features_of`.
    """
    splits, used = dict(source.splits), dict[str, Any]()
    sides: tuple[tuple[Side, Encoder], ...] = (("images", encoders[0]), ("texts", encoders[1]))
    for side, encoder in sides:
        if not is_frozen(encoder, training):
            continue
        setting, harmless = RANDOM[side]
        kept: dict[str, Kept] = {}
        for name in source.splits:
            if name == TRAIN and training.epochs and getattr(training, setting) != harmless:
                logger.info(
                    "tower %s runs in every step: training.%s=%s changes what it takes; %s makes it read from the store",
                    tower_title(encoder), setting, getattr(training, setting), f"{setting}={harmless}",
                )  # fmt: skip
                continue
            splits[name], kept[name] = tower_split(source, splits[name], encoder, dtype)
        if kept:
            count = sum(len(getattr(splits[name], f"stored_{side}")) for name in kept)
            what = "images" if side == "images" else "captions"
            logger.info(
                "features of tower %s: %s %s from the store (%s)", tower_title(encoder), f"{count:,}", what, dtype
            )
            used[side] = _told(encoder, dtype, kept)
    return splits, used


def tower_split(source: Source, split: Split, encoder: Encoder, dtype: Dtype) -> tuple[Split, Kept]:
    """A split with what the tower of one encoder makes of it, and the folder that this is read from.

    Raises:
        As `harness.features.store.features_of`.
    """
    items = items_of(split, encoder, source.digests)
    kept = features_of(Wanted(encoder, items, source.title, split.name, dtype))
    stored: Any = {f"stored_{items.side}": KeptSide(kept, kept.places(items.digests)[items.rows])}
    return dataclasses.replace(split, **stored), kept


def is_frozen(encoder: Encoder, training: TrainingSpec) -> bool:
    """Whether an encoder has a tower that came trained and that a training leaves as it came."""
    trained = encoder.tower_module() is not None and encoder.comes_trained(encoder.config)
    return trained and not training.backbone_learning_rate_scale


def items_of(split: Split, encoder: Encoder, digests: Callable[[str], Sequence[bytes] | None]) -> Items:
    """What an encoder's tower is run on in a split."""
    if isinstance(encoder, ImageEncoder):
        return ImageItems(split.images, (encoder.image_size, encoder.resize), digests(split.name))
    assert isinstance(encoder, TextEncoder)
    return TextItems(encoder.tokenizer(split.captions))


def _told(encoder: Encoder, dtype: Dtype, kept: Mapping[str, Kept]) -> dict[str, Any]:
    values = {name: one.about.sha256[f"{one.about.side}.npy"] for name, one in kept.items()}
    return {
        "tower": tower_title(encoder),
        "dtype": dtype,
        "keys": {name: one.name for name, one in kept.items()},
        "sha256": values,
    }
