"""A dataset without a name: its folder says which layout it has, in one line, or one line says why it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.datasets.base import SPLITS
from harness.errors import InvalidDataset, InvalidSpec
from harness.runs.planning import check
from harness.spec import load_experiment


def karpathy(root: Path) -> Path:
    (root / "dataset_small.json").write_text(json.dumps({"dataset": "small", "images": []}))
    return root


def precomp(root: Path) -> Path:
    for prefix in ("train", "dev", "test"):
        np.save(root / f"{prefix}_ims.npy", np.random.default_rng(0).random((2, 3, 4)))
        (root / f"{prefix}_caps.txt").write_text("a dog\n" * 10)
    return root


@pytest.mark.parametrize(
    ("make", "name", "evidence"),
    [
        (karpathy, "karpathy", "dataset_small.json"),
        (precomp, "precomp", "dev_ims.npy beside dev_caps.txt"),
    ],
)
def test_a_folder_says_its_layout_in_one_line(tmp_path, caplog, make, name, evidence):
    caplog.set_level("INFO")
    assert datasets.identify(make(tmp_path)) == name
    assert [record.getMessage() for record in caplog.records] == [
        f"dataset {tmp_path}: layout {name}, recognised by {evidence}"
    ]


@pytest.mark.parametrize(
    "given",
    [
        lambda root: {"root": str(root)},
        lambda root: {"options": {"root": str(root)}},
        lambda root: {"name": "auto", "root": str(root)},
        lambda root: {"root": str(root), "max_val_images": 3},
        lambda root: {"name": str(root), "max_val_images": 3},
    ],
)
def test_every_way_to_leave_out_the_name_resolves_to_the_layout(tmp_path, tiny, given):
    dataset = given(precomp(tmp_path))
    more = {key: value for key, value in dataset.items() if key != "name"}
    expected = datasets.DATASETS.resolve({"name": "precomp", "root": str(tmp_path), **more})
    assert datasets.DATASETS.resolve(dataset) == expected
    (draft,) = check(load_experiment({**tiny, "scorers": ["scan"], "dataset": dataset})).values()
    assert draft.dataset == expected  # what a record and a run's id are made of names the layout


def test_the_root_may_come_from_the_command_line_alone(tmp_path, tiny):
    experiment = load_experiment(
        {**tiny, "dataset": {"max_val_images": 3}}, [f"dataset.root={precomp(tmp_path)}", "scorers=[scan]"]
    )
    (draft,) = check(experiment).values()
    assert draft.dataset.name == "precomp"


def both(root: Path) -> Path:
    return karpathy(precomp(root))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root, "is of no known layout"),
        (lambda root: root / "gone", "gone does not exist; set dataset.root"),
        (
            both,
            r"has several layouts: karpathy \(dataset_small.json\), precomp \(dev_ims.npy beside dev_caps.txt\); set",
        ),
    ],
)
def test_a_folder_of_no_layout_or_of_several_is_refused(tmp_path, make, message):
    with pytest.raises(InvalidDataset, match=message) as caught:
        datasets.open_dataset({"root": str(make(tmp_path))})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", [{"name": "auto"}, {"name": "auto", "root": 3}, {"name": "auto", "root": ""}])
def test_a_layout_is_found_out_in_a_folder(dataset):
    with pytest.raises(InvalidDataset, match="dataset auto needs the key root"):
        datasets.DATASETS.resolve(dataset)


def test_options_are_those_of_the_layout_that_is_found(tmp_path):
    with pytest.raises(InvalidSpec, match="dataset precomp: unknown key 'restval'"):
        datasets.DATASETS.resolve({"root": str(precomp(tmp_path)), "restval": True})


def test_a_folder_of_another_layout_than_the_named_one_says_so(tmp_path):
    with pytest.raises(
        InvalidDataset, match=r"looks like layout precomp, by dev_ims.npy .*: dataset.name=precomp reads"
    ):
        datasets.open_dataset({"name": "karpathy", "root": str(precomp(tmp_path))})


def test_generated_data_are_never_found_in_a_folder(tmp_path):
    assert datasets.recognised(tmp_path) == {}
    assert datasets.DATASETS.get("scenes").recognise(precomp(tmp_path)) is None


def test_the_splits_that_exist_are_known(tmp_path):
    dataset = datasets.open_dataset({"root": str(precomp(tmp_path))})
    assert dataset.splits == SPLITS
    (tmp_path / "dev_ims.npy").unlink()
    assert dataset.splits == ("train", "test")
    assert datasets.open_dataset("scenes").splits == SPLITS
