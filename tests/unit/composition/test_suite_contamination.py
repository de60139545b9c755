"""Pictures of a suite that a run was trained on: by number, by content, by perceptual hash; and what cannot be told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import suites_on_disk
from colours import COLOURS, Knowing, model_of
from PIL import Image
from suites_on_disk import COUNT, coco

from harness.composition import contamination
from harness.composition.plan import suite_probes
from harness.datasets import open_dataset


def structured(path, seed, **options):
    """A picture with structure, which has a perceptual hash."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC).save(path, **options)


@pytest.fixture
def suite(tmp_path):
    root = suites_on_disk.sugarcrepe(tmp_path / "suite")
    for number in range(COUNT):
        structured(root / "val2017" / coco(number), number, format="JPEG", quality=95)
    (root / "data" / "swap_obj.json").unlink()
    return root


def trained_on(tmp_path, files):
    """A dataset of Karpathy's layout: training pictures by their name and how each is made, and one of each other split."""
    root = tmp_path / "train"
    images = []
    for split, names in {"train": files, "val": {"v.jpg": None}, "test": {"t.jpg": None}}.items():
        for name, make in names.items():
            path = root / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if make is None:
                structured(path, 1000 + len(images), format="JPEG")
            else:
                make(path)
            images.append(
                {
                    "filename": name,
                    "split": split,
                    "imgid": len(images),
                    "sentids": [len(images)],
                    "sentences": [
                        {"raw": f"a {next(iter(COLOURS))} thing", "sentid": len(images), "imgid": len(images)}
                    ],
                }
            )
    (root / "dataset_made.json").write_text(json.dumps({"dataset": "made", "images": images}))
    return open_dataset({"root": str(root)})


def test_training_pictures_are_named_by_number_content_and_hash(suite, tmp_path):
    held = suite / "val2017"
    dataset = trained_on(
        tmp_path,
        {
            f"COCO_val2014_{coco(0)}": None,  # the number alone
            "mine.jpg": lambda path: shutil.copy(held / coco(1), path),  # the bytes alone
            "again.jpg": lambda path: structured(path, 2, format="JPEG", quality=40),  # the look alone
            "else.jpg": None,
        },
    )
    (probe,) = suite_probes("sugarcrepe", suite, dataset)
    answers = probe.answers(model_of(Knowing))
    assert answers.counts["training_pictures"] == 3
    assert any(
        "3 of 12 pictures are training pictures of this run (made; 1 by name or number, 1 by content, 1 by perceptual hash)"
        in remark
        for remark in answers.remarks
    )


def test_each_kind_is_told_of_its_own_pictures(suite, tmp_path):
    """Two kinds that show different pictures, of which only one of the second is a training picture."""
    path = suite / "data" / "add_att.json"
    rows = list(json.loads(path.read_text()).items())
    suites_on_disk.write(path, dict(rows[:5]))
    suites_on_disk.write(suite / "data" / "swap_att.json", dict(rows[5:]))
    dataset = trained_on(tmp_path, {f"COCO_val2014_{coco(COUNT - 1)}": None, "else.jpg": None})
    found = {
        probe.questions.kind: probe.answers(model_of(Knowing)) for probe in suite_probes("sugarcrepe", suite, dataset)
    }
    assert {kind: answers.counts["training_pictures"] for kind, answers in found.items()} == {
        "add_att": 0,
        "swap_att": 1,
    }


def test_none_is_said_too(suite, tmp_path):
    (probe,) = suite_probes("sugarcrepe", suite, trained_on(tmp_path, {"a.jpg": None, "b.jpg": None}))
    answers = probe.answers(model_of(Knowing))
    assert answers.counts["training_pictures"] == 0
    assert any("0 of 12 pictures are training pictures" in remark for remark in answers.remarks)


def test_what_was_not_compared_is_said(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(contamination, "MOST_HASHED", 1)
    (probe,) = suite_probes("sugarcrepe", suite, trained_on(tmp_path, {"a.jpg": None, "b.jpg": None}))
    remarks = probe.answers(model_of(Knowing)).remarks
    assert any("near-duplicates among 2 training pictures were not looked for" in remark for remark in remarks)


def test_a_run_that_was_not_trained_has_no_training_pictures(suite, tmp_path):
    dataset = trained_on(tmp_path, {f"COCO_val2014_{coco(0)}": None, "b.jpg": None})
    (probe,) = suite_probes("sugarcrepe", suite, dataset)
    answers = probe.answers(model_of(Knowing, epochs=0))
    assert "training_pictures" not in answers.counts
    assert not answers.remarks


def test_generated_scenes_share_no_photographs(suite):
    scenes = open_dataset({"name": "scenes", "train_images": 2, "val_images": 2, "test_images": 2, "image_size": 24})
    (probe,) = suite_probes("sugarcrepe", suite, scenes)
    assert not probe.answers(model_of(Knowing)).remarks
