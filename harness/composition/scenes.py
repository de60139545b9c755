"""Examples of generated scenes: exact negatives of one kind each, known to be false of their picture."""

from __future__ import annotations

import numpy as np

from harness.composition.examples import PAIR
from harness.composition.probes import CompositionProbe, Questions
from harness.datasets.base import Images
from harness.datasets.scenes.dataset import Scenes
from harness.datasets.scenes.negatives import KINDS, VERSION, Negatives, negatives
from harness.errors import counted
from harness.probes.sampling import SomeImages


def scenes_probes(dataset: Scenes, split_name: str, count: int) -> list[CompositionProbe]:
    """One probe per kind of negative; a kind that no picture of the split has is left out.

    Args:
        dataset: the scenes.
        split_name: train, val or test.
        count: pictures of the split whose examples are asked, drawn at random but for all models and kinds alike.
    """
    ids = dataset.split(split_name).image_ids
    drawn = np.arange(len(ids))
    if count < len(ids):
        drawn = np.sort(np.random.default_rng(int(dataset.sha256[:16], 16)).choice(len(ids), count, replace=False))
    chosen = {ids[row] for row in drawn}
    shared: dict[int, tuple[np.ndarray, Images]] = {}
    found = []
    for kind in KINDS:
        of_kind = negatives(dataset, split_name, kind)
        if any(item.cluster in chosen for item in of_kind.items):
            found.append(_probe(dataset, split_name, kind, of_kind, chosen, shared))
    return found


def _probe(
    dataset: Scenes,
    split_name: str,
    kind: str,
    found: Negatives,
    chosen: set[str],
    shared: dict[int, tuple[np.ndarray, Images]],
) -> CompositionProbe:
    items = [item for item in found.items if item.cluster in chosen]
    rows, images = _pictures(found, split_name, dataset, chosen, shared)
    without = len(chosen) - len({item.cluster for item in items})
    return CompositionProbe(
        Questions(
            suite="scenes",
            kind=kind,
            form=PAIR,
            ids=tuple(item.id for item in items),
            clusters=tuple(item.cluster for item in items),
            images=images,
            keys=[f"{dataset.sha256} {split_name} {found.image_ids[row]} {VERSION}" for row in rows],
            pictures=np.searchsorted(rows, [[item.image] for item in items]),
            captions=tuple((item.true, item.false) for item in items),
            counts={"without_example": without} if without else {},
            remarks=(f"{counted(without, 'picture')} without such a negative",) if without else (),
        )
    )


def _pictures(
    found: Negatives,
    split_name: str,
    dataset: Scenes,
    chosen: set[str],
    shared: dict[int, tuple[np.ndarray, Images]],
) -> tuple[np.ndarray, Images]:
    """Rows of the pictures that are shown, and these pictures: one object for all kinds of one set of pictures, so that
    models encode it once."""
    whole = dataset.split(split_name)
    if found.images is not whole.images:
        rows = np.unique([item.image for item in found.items if item.cluster in chosen])
        return rows, found.images if len(rows) == len(found.images) else SomeImages(found.images, rows)
    if id(found.images) not in shared:
        rows = np.flatnonzero([image in chosen for image in whole.image_ids])
        some = found.images if len(rows) == len(found.images) else SomeImages(found.images, rows)
        shared[id(found.images)] = rows, some
    return shared[id(found.images)]
