"""The table of docs/howto/own_data.md is read as the page says, and a method is trained on it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from test_documents import blocks

from harness.cli.main import main
from harness.datasets import open_dataset
from harness.records.store import RunStore


@pytest.fixture
def folder(tmp_path):
    (table,) = blocks("docs/howto/own_data.md", "csv")
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    (root / "captions.csv").write_text(table, encoding="utf-8")
    for number, row in enumerate(csv.DictReader(table.splitlines())):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / row["filename"])
    return root


def itm(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_the_layout_is_found_and_every_caption_has_its_photograph(folder):
    dataset = open_dataset({"root": str(folder)})
    found = {name: dataset.split(name) for name in dataset.splits}
    assert {name: (len(split.image_ids), len(split.captions)) for name, split in found.items()} == {
        "train": (2, 3),
        "val": (1, 2),
        "test": (2, 3),
    }
    assert found["test"].caption_image.tolist() == [0, 0, 1]
    assert found["test"].captions[2] == "A boat on a lake ."


def test_it_is_described_and_trained_on(folder, tmp_path):
    assert itm("describe", folder, "--results", tmp_path / "results") == 0
    settings = ["seeds=1", "training.epochs=1", "training.batch_size=2", "evaluation.cost_repeats=3", "scorers=[clip]"]
    more = [part for setting in (f"dataset={{root: {folder}}}", *settings) for part in ("--set", setting)]
    assert itm("leaderboard", "quickstart", "--results", tmp_path / "results", *more) == 0
    (record,) = RunStore(tmp_path / "results").records()
    assert (record.status, record.spec["dataset"]["name"]) == ("finished", "table")
