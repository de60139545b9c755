"""Whether a suite's pictures are training pictures of a run: by file name or number, by content, by perceptual hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.composition.pictures import Place
from harness.datasets.base import Dataset
from harness.datasets.photographs.dataset import PhotographDataset
from harness.datasets.scenes.dataset import Scenes
from harness.description.hashes import NEAR_BITS, near_blocks
from harness.description.names import Known, name_of, same_name, same_number
from harness.description.pictures import look, prints_of
from harness.errors import ItmError, counted
from harness.probes.model import Model

#: Training pictures that are decoded for their perceptual hash: some 5 ms each, once.
MOST_HASHED = 10_000


@dataclass(frozen=True, eq=False)
class TrainingPictures:
    """What is known of the training pictures of the runs on a dataset.

    Args:
        title: of the dataset.
        by_name, by_content, by_hash: (U,) which pictures of the suite are among them; None = not to be told.
        unknown: what could not be compared, in words.
    """

    title: str
    by_name: np.ndarray | None
    by_content: np.ndarray | None
    by_hash: np.ndarray | None
    unknown: str

    def of(self, model: Model, rows: np.ndarray) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Counts and remarks for a model and some pictures of the suite."""
        if model.record.training.epochs == 0:
            return {}, (*_pretraining(model),)
        ways = {"by name or number": self.by_name, "by content": self.by_content, "by perceptual hash": self.by_hash}
        told = {way: int(found[rows].sum()) for way, found in ways.items() if found is not None}
        if not told:
            said = (
                f"it is not known whether any of {counted(len(rows), 'picture')} is a training picture of {self.title}"
            )
            return {}, (f"{said}: {self.unknown}", *_pretraining(model))
        every = np.logical_or.reduce([found[rows] for found in ways.values() if found is not None])
        how = ", ".join(f"{count:,} {way}" for way, count in told.items())
        verb = "is a training picture" if int(every.sum()) == 1 else "are training pictures"
        remark = f"{int(every.sum()):,} of {counted(len(rows), 'picture')} {verb} of this run ({self.title}; {how})"
        remark += f"; {self.unknown}" if self.unknown else ""
        return {"training_pictures": int(every.sum())}, (remark, *_pretraining(model))


def training_pictures(dataset: Dataset, place: Place) -> TrainingPictures | None:
    """The pictures of a suite that a dataset trains on; None where it has no photographs.

    Names and numbers are compared where both sides have them, contents where files lie on both sides, and perceptual hashes
    where that is so and the training pictures are no more than `MOST_HASHED`.

    Args:
        dataset: of the runs.
        place: the suite's pictures.
    """
    if isinstance(dataset, Scenes) or "train" not in dataset.splits:
        return None
    try:
        photographs = dataset if isinstance(dataset, PhotographDataset) else None
        entries = photographs.entries("train") if photographs else ()
        told = [name_of(entry.file) for entry in entries] or [name_of(i) for i in dataset.split("train").image_ids]
        known = Known.of(told)
        by_name = np.array([same_name(name, known) or same_number(name, known) for name in place.names])
        digests = dataset.image_digests("train") if photographs else None
    except ItmError as error:
        return TrainingPictures(dataset.title, None, None, None, str(error))
    by_content, by_hash, unknown = None, None, ""
    if photographs is not None and digests is not None:
        there = {digest.hex() for digest in digests}
        by_content = np.array([picture.sha256 in there for picture in place.facts])
        if len(entries) <= MOST_HASHED:
            train = prints_of(look(photographs.image_source(entries), photographs.images_root))
            by_hash = np.zeros(len(place.shown), dtype=bool)
            for pairs, _ in near_blocks(prints_of(place.facts), train, NEAR_BITS):
                by_hash[pairs[:, 0]] = True
            by_hash &= ~by_content
        else:
            unknown = f"near-duplicates among {len(entries):,} training pictures were not looked for"
    else:
        unknown = "its training pictures are not at hand, so nothing but names was compared"
    named = any(name.stem or name.bare is not None for name in told) and any(
        name.stem or name.bare for name in place.names
    )
    return TrainingPictures(dataset.title, by_name if named else None, by_content, by_hash, unknown)


def _pretraining(model: Model) -> tuple[str, ...]:
    """What no file here can tell."""
    towers = [encoder for encoder in model.scorer.encoders if encoder.tower_module() is not None]
    if not any(encoder.comes_trained(encoder.config) for encoder in towers):
        return ()
    return ("whether its pretrained towers were trained on any of the pictures is not known here",)
