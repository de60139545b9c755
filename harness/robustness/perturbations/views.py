"""Perturbed views of the images of a split: as `Images`, so that everything downstream takes them as it takes those.

What is damaged in a picture depends on the seed, the perturbation and the picture's id: not on the order of requests, and
not on which other pictures there are.

Shape letters: I images, L severities, S side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image

from harness.datasets.base import Images, Resize
from harness.datasets.images import to_pixels
from harness.datasets.parallel import each
from harness.errors import InvalidDataset
from harness.fragments import Fragments
from harness.robustness.perturbations.images import IMAGE_PERTURBATIONS, LARGEST_SIDE, reduced
from harness.robustness.perturbations.regions import REGION_PERTURBATIONS
from harness.robustness.perturbations.severities import draws_of

#: Bytes of pictures that are kept decoded, and of perturbed pixels that are kept for the next model.
LARGEST_DECODED, LARGEST_KEPT = 2**28, 2**29

Form = tuple[int, Resize]  #: side of the pixels, and how a picture gets it


class Pictures:
    """The pictures of a split as perturbations take them; decoded once, as far as they fit in memory.

    Args:
        images: with pixels.
        ids: of the images, I.
    """

    def __init__(self, images: Images, ids: Sequence[str]):
        self.ids = tuple(ids)
        self.any_reduced = False  #: whether a picture that was read so far is larger than `LARGEST_SIDE`
        self._images = images
        self._kept: dict[int, np.ndarray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.ids)

    def picture(self, row: int) -> np.ndarray:
        """(H, W, 3) uint8, RGB, see `reduced`; may be called in several threads.

        Raises:
            InvalidDataset: it cannot be read.
        """
        found = self._kept.get(row)
        if found is not None:
            return found
        image = self._images.original(row)
        self.any_reduced |= min(image.size) > LARGEST_SIDE
        pixels = reduced(image)
        if self._bytes + pixels.nbytes <= LARGEST_DECODED:
            self._kept[row] = pixels
            self._bytes += pixels.nbytes
        return pixels


class Damage:
    """One perturbation of some pictures at several severities; pixels of all of them are made together, once per form.

    Args:
        kind: a name of `IMAGE_PERTURBATIONS`.
        pictures: I of them.
        severities: L of them.
        seed: of the draws.
    """

    def __init__(self, kind: str, pictures: Pictures, severities: Sequence[int], seed: int = 0):
        self.pictures, self.severities = pictures, tuple(severities)
        self._kind, self._seed = kind, seed
        self._made: dict[Form, np.ndarray] = {}

    def picture(self, row: int, severity: int) -> np.ndarray:
        """(H, W, 3) uint8, RGB."""
        return self._changed(self.pictures.picture(row), row, severity)

    def pixels(self, severity: int, rows: np.ndarray, form: Form) -> np.ndarray:
        """(n, 3, S, S) uint8 of some pictures; of all of them where those have room in memory, for the next request."""
        if form not in self._made and not self._fits(form):
            return np.stack(each(lambda row: _square(self.picture(int(row), severity), form), rows))
        if form not in self._made:
            self._made[form] = self._make(form)
        return self._made[form][self.severities.index(severity)][rows]

    def forget(self) -> None:
        """Drop the pixels that were kept."""
        self._made.clear()

    def _fits(self, form: Form) -> bool:
        kept = sum(array.nbytes for array in self._made.values())
        return kept + len(self.severities) * len(self.pictures) * 3 * form[0] ** 2 <= LARGEST_KEPT

    def _make(self, form: Form) -> np.ndarray:
        """(L, I, 3, S, S)."""
        made = np.empty((len(self.severities), len(self.pictures), 3, form[0], form[0]), np.uint8)

        def make(row: int) -> None:
            pixels = self.pictures.picture(row)
            for place, severity in enumerate(self.severities):
                made[place, row] = _square(self._changed(pixels, row, severity), form)

        each(make, range(len(self.pictures)))
        return made

    def _changed(self, pixels: np.ndarray, row: int, severity: int) -> np.ndarray:
        draws = draws_of(self._seed, "images", self._kind, self.pictures.ids[row])
        return IMAGE_PERTURBATIONS[self._kind].apply(pixels, severity, draws)


def _square(pixels: np.ndarray, form: Form) -> np.ndarray:
    return to_pixels(Image.fromarray(pixels), *form)


class DamagedImages:
    """Images at one severity above 0. They have pixels only, whatever the undamaged ones have.

    Args:
        damage: which.
        severity: one of its severities.
    """

    inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("pixels",))
    region_width = 0

    def __init__(self, damage: Damage, severity: int):
        self._damage, self._severity = damage, severity

    def __len__(self) -> int:
        return len(self._damage.pictures)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB: perturbed, and then on the ordinary way to the encoder."""
        return self._damage.pixels(self._severity, np.asarray(indices, dtype=np.int64), (size, resize))

    def original(self, row: int) -> Image.Image:
        """One perturbed picture, RGB."""
        return Image.fromarray(self._damage.picture(row, self._severity))

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        raise InvalidDataset("perturbed pictures have no region features; perturb the region features themselves")


class DamagedRegions:
    """Region features at one severity above 0. They have regions only, whatever the undamaged images have.

    Args:
        kind: a name of `REGION_PERTURBATIONS`.
        images: with region features.
        ids: of the images, I.
        severity: 1 to 5.
        seed: of the draws.
    """

    inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("regions",))

    def __init__(self, kind: str, images: Images, ids: Sequence[str], severity: int, seed: int = 0):
        self.region_width: int = images.region_width
        self._kind, self._images, self._ids = kind, images, tuple(ids)
        self._severity, self._seed = severity, seed

    def __len__(self) -> int:
        return len(self._ids)

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Raw region features (n, R, region_width), real regions first, padded with zeros."""
        rows = np.asarray(indices, dtype=np.int64)
        fragments = self._images.regions(rows)
        assert not fragments.extras
        change = REGION_PERTURBATIONS[self._kind]
        changed = [
            change.apply(features[mask].numpy(), self._severity, self._draws(int(row)))
            for row, features, mask in zip(rows, fragments.features, fragments.mask, strict=True)
        ]
        counts = np.array([len(features) for features in changed], dtype=np.int64)
        padded = fragments.features.new_zeros((len(rows), int(counts.max(initial=1)), fragments.width))
        for place, features in enumerate(changed):
            padded[place, : len(features)] = torch.from_numpy(features)
        return Fragments(padded, torch.from_numpy(np.arange(padded.shape[1]) < counts[:, None]))

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        raise InvalidDataset("perturbed region features have no pixels; perturb the pictures themselves")

    def original(self, row: int) -> Image.Image:
        """The undamaged picture."""
        return self._images.original(row)

    def _draws(self, row: int) -> np.random.Generator:
        return draws_of(self._seed, "regions", self._kind, self._ids[row])
