"""The grounding probes that fit a dataset."""

from __future__ import annotations

from collections.abc import Sequence

from harness.datasets.base import Dataset
from harness.datasets.scenes.dataset import Scenes
from harness.grounding.scenes import SceneGrounding
from harness.probes.base import Probe

#: Pictures of scenes that are asked about.
PICTURES = 200


def scenes_probes(dataset: Dataset, split_name: str, count: int = PICTURES) -> Sequence[Probe]:
    """Words of generated scenes on their objects; none for other datasets.

    Args:
        dataset: of the runs.
        split_name: train, val or test.
        count: pictures at most.
    """
    return (SceneGrounding(dataset, split_name, count),) if isinstance(dataset, Scenes) else ()
