"""Probes of retrieval under perturbed pictures and perturbed region features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from harness.datasets.base import Images, Split
from harness.probes.base import Answers
from harness.probes.model import Model
from harness.probes.retrieval import RetrievalProbe
from harness.robustness.perturbations import images, regions
from harness.robustness.perturbations.images import IMAGE_PERTURBATIONS, LARGEST_SIDE
from harness.robustness.perturbations.regions import REGION_PERTURBATIONS
from harness.robustness.perturbations.severities import AXIS, SEVERITIES, severity_levels
from harness.robustness.perturbations.views import Damage, DamagedImages, DamagedRegions, Pictures
from harness.spec import sha256_json

#: What an image encoder takes, as messages say it.
_INPUT = {"pixels": "pixels", "regions": "region features"}


class _PerturbedImages(RetrievalProbe):
    """One perturbation of the images of a split; its captions stay.

    Args:
        kind: name of the perturbation.
        split: I images, T captions.
        data_sha256: hash of the dataset.
        severities: distinct, 1 to 5.
        seed: of all draws.
    """

    axis = AXIS
    input: ClassVar[str]  #: of the image encoder that the probe asks for

    def __init__(self, kind: str, split: Split, data_sha256: str, severities: Sequence[int], seed: int):
        self.name = kind
        self.levels = severity_levels(severities)
        self._splits = {0: split}
        self._data_sha256, self._seed = data_sha256, seed
        self._items = sha256_json([split.name, split.image_ids, split.caption_ids])

    @property
    def identity(self) -> dict[str, Any]:
        """Hashes of the data and of the sample, the seed, the generator's version and its amounts."""
        return {"data_sha256": self._data_sha256, "items_sha256": self._items, "seed": self._seed, **self._settings()}

    def split(self, level: int) -> Split:
        """Level 0 is the split itself."""
        if level not in self._splits:
            damaged = self._damaged(int(self.levels[level].value))
            # What the frozen towers made of the undamaged images does not stand for these.
            self._splits[level] = dataclasses.replace(self._splits[0], images=damaged, stored_images=None)
        return self._splits[level]

    def refusal(self, model: Model) -> str:
        takes = model.scorer.encoders[0].input
        if takes == self.input:
            return ""
        return f"its image encoder takes {_INPUT[takes]}, this probe perturbs {_INPUT[self.input]}"

    def _settings(self) -> dict[str, Any]:
        raise NotImplementedError

    def _damaged(self, severity: int) -> Images:
        raise NotImplementedError


class ImageProbe(_PerturbedImages):
    """Retrieval with perturbed pictures; `kind` is a name of `IMAGE_PERTURBATIONS`.

    Args:
        kind, split, data_sha256, severities, seed: as of every perturbation of images.
        pictures: of the split, decoded once for several probes; None = this probe decodes its own.
    """

    family = "images"
    input = "pixels"

    def __init__(
        self,
        kind: str,
        split: Split,
        data_sha256: str,
        severities: Sequence[int] = SEVERITIES,
        seed: int = 0,
        pictures: Pictures | None = None,
    ):
        super().__init__(kind, split, data_sha256, severities, seed)
        self.title = IMAGE_PERTURBATIONS[kind].title
        self._pictures = pictures or Pictures(split.images, split.image_ids)
        self._damage = Damage(kind, self._pictures, [int(level.value) for level in self.levels[1:]], seed)

    def answers(self, model: Model) -> Answers:
        """As every retrieval probe; a remark where the encoder takes more pixels than perturbed pictures have."""
        found = super().answers(model)
        size = model.scorer.encoders[0].image_size
        if size <= LARGEST_SIDE or not self._pictures.any_reduced:
            return found
        remark = (
            f"its encoder takes {size} px, and perturbed pictures have {LARGEST_SIDE} px on their shorter side: part of the "
            "loss at every severity is resolution"
        )
        return dataclasses.replace(found, remarks=(*found.remarks, remark))

    def forget(self) -> None:
        self._damage.forget()

    def _settings(self) -> dict[str, Any]:
        perturbation = IMAGE_PERTURBATIONS[self.name]
        amounts = {
            str(side): list(row)
            for side, row in zip(images.SIDES, (perturbation.small, perturbation.large), strict=True)
        }
        return {
            "generator": images.GENERATOR,
            "largest_side": LARGEST_SIDE,
            "unit": perturbation.unit,
            "amounts": amounts,
        }

    def _damaged(self, severity: int) -> Images:
        return DamagedImages(self._damage, severity)


class RegionProbe(_PerturbedImages):
    """Retrieval with perturbed region features; `kind` is a name of `REGION_PERTURBATIONS`.

    Args:
        kind, split, data_sha256, severities, seed: as of every perturbation of images.
    """

    family = "regions"
    input = "regions"

    def __init__(
        self, kind: str, split: Split, data_sha256: str, severities: Sequence[int] = SEVERITIES, seed: int = 0
    ):
        super().__init__(kind, split, data_sha256, severities, seed)
        self.title = REGION_PERTURBATIONS[kind].title

    def _settings(self) -> dict[str, Any]:
        perturbation = REGION_PERTURBATIONS[self.name]
        return {"generator": regions.GENERATOR, "unit": perturbation.unit, "amounts": list(perturbation.amounts)}

    def _damaged(self, severity: int) -> Images:
        whole = self._splits[0]
        return DamagedRegions(self.name, whole.images, whole.image_ids, severity, self._seed)


def image_probes(split: Split, data_sha256: str, severities: Sequence[int] = SEVERITIES) -> tuple[ImageProbe, ...]:
    """A probe per perturbation of pictures, which decode each picture once; none where the images have no pixels."""
    if "pixels" not in split.images.inputs:
        return ()
    pictures = Pictures(split.images, split.image_ids)
    return tuple(ImageProbe(kind, split, data_sha256, severities, pictures=pictures) for kind in IMAGE_PERTURBATIONS)


def region_probes(split: Split, data_sha256: str, severities: Sequence[int] = SEVERITIES) -> tuple[RegionProbe, ...]:
    """A probe per perturbation of region features; none where the images have none."""
    if "regions" not in split.images.inputs:
        return ()
    return tuple(RegionProbe(kind, split, data_sha256, severities) for kind in REGION_PERTURBATIONS)
