"""Datasets by name, and what every split refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness.datasets import DATASETS, open_dataset
from harness.datasets.base import Split
from harness.errors import InvalidDataset, InvalidSpec, UnknownName
from harness.spec import Component


def test_names_are_known_without_importing_anything_heavy():
    program = "import sys, harness.datasets as d; print(sorted(d.DATASETS), sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"{sorted(DATASETS)} []"


def test_every_name_leads_to_a_dataset_with_its_config():
    for name in DATASETS:
        cls = DATASETS.get(name)
        assert cls.__name__.lower() == name.replace("_", "")
        assert cls.Config is not DATASETS.get("scenes").Config or name == "scenes"


def test_resolving_fills_in_every_default_and_resolves_to_itself():
    resolved = DATASETS.resolve(Component(name="scenes", options={"seed": 3}))
    assert resolved.plain == {**DATASETS.get("scenes").Config().model_dump(), "seed": 3}
    assert DATASETS.resolve(resolved) is resolved


def test_resolving_touches_no_data():
    resolved = DATASETS.resolve(Component(name="karpathy", options={"root": "/no/such/folder"}))
    assert resolved.options.captions_per_image == 5


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("scene", {}, UnknownName, "unknown dataset 'scene'; did you mean 'scenes'?"),
        ("mnist", {}, UnknownName, "valid: blip, clip_benchmark, coco_captions, docci, flair,"),
        ("scenes", {"cluter": "low"}, InvalidSpec, "dataset scenes: unknown key 'cluter'; did you mean 'clutter'?"),
        ("karpathy", {}, InvalidSpec, "dataset karpathy: key 'root' is missing"),
        ("karpathy", {"root": "x", "anotation": "a"}, InvalidSpec, "did you mean 'annotation'?"),
        ("precomp", {"root": "x", "captions_per_image": 0}, InvalidSpec, "'captions_per_image'"),
        ("precomp", {"root": "x", "test_name": "../test"}, InvalidSpec, "'test_name'"),
    ],
)
@pytest.mark.parametrize("call", [DATASETS.resolve, open_dataset])
def test_unknown_names_and_options_are_refused_with_the_nearest(call, name, options, error, message):
    with pytest.raises(error) as caught:
        call(Component(name=name, options=options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class NoImages:
    inputs = frozenset()
    region_width = 0

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_ids": (), "images": NoImages(0)}, "empty: 0 images and 3 captions"),
        ({"captions": ()}, "empty: 2 images and 0 captions"),
        ({"images": NoImages(3)}, "3 images but 2 image ids"),
        ({"caption_ids": ("x",)}, "3 captions, 1 caption ids and 3 caption-to-image entries"),
        ({"caption_image": np.array([0, 1])}, "3 captions, 3 caption ids and 2 caption-to-image entries"),
        (
            {"caption_image": np.array([0, 1, 2])},
            r"1 captions belong to no image \(first: caption 'z' names image row 2 of 2",
        ),
        ({"caption_image": np.array([0, -1, 1])}, "caption 'y' names image row -1"),
        ({"caption_image": np.array([1, 1, 1])}, r"1 images have no caption \(first: 'a'\)"),
        ({"image_ids": ("a", "a")}, "1 image ids appear more than once"),
        ({"caption_ids": ("x", "y", "x")}, "1 caption ids appear more than once"),
        ({"relevance": np.ones((3, 2), dtype=bool)}, r"relevance must be bool of shape \(I, T\) = \(2, 3\)"),
        ({"relevance": np.ones((2, 3))}, "relevance must be bool"),
        ({"relevance": np.zeros((2, 3), dtype=bool)}, "caption 'x' is not relevant to its own image 'a'"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(change, message):
    whole = {
        "name": "val",
        "images": NoImages(2),
        "image_ids": ("a", "b"),
        "captions": ("one", "two", "three"),
        "caption_ids": ("x", "y", "z"),
        "caption_image": np.array([0, 1, 1]),
    }
    assert Split(**whole).relevance is None
    with pytest.raises(InvalidDataset, match=message):
        Split(**whole | change)
