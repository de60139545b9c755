"""Whole datasets: what repeats within and between splits, and what other data have too, each where a test put it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import DATASETS, open_dataset
from harness.description.contamination import read_other
from harness.description.describe import Request, describe
from harness.description.duplicates import MOST_PAIRS, Gallery, duplicates
from harness.description.views import views
from harness.errors import InvalidDataset
from harness.records.description import Description
from harness.spec import Component


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ITM_CACHE", str(folder))
    return folder


def picture(path: Path, seed: int, quality: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC).save(path, quality=quality)


def karpathy(root: Path, seeds: dict[str, list[int]], names: str = "{split}{row}.jpg") -> Path:
    """A folder in Karpathy's layout whose images are drawn from seeds; equal seeds are saved at other qualities."""
    images, seen = [], []
    for split, wanted in seeds.items():
        for row, seed in enumerate(wanted):
            name = names.format(split=split, row=row, seed=seed)
            picture(root / "images" / name, seed, 90 - 20 * seen.count(seed))
            seen.append(seed)
            sentences = [{"raw": f"caption {k} of picture {seed}"} for k in range(2)]
            images.append({"filename": name, "split": split, "sentences": sentences})
    (root / "dataset_tiny.json").write_text(json.dumps({"dataset": "tiny", "images": images}))
    return root


def component(root: Path | str, **options: object) -> Component:
    return DATASETS.resolve({"root": str(root), **options})


def described(root: Path, others=(), **request: object) -> Description:
    part = component(root)
    return describe(open_dataset(part), part, list(others), Request(**request)).facts


def counts(facts: Description) -> dict[tuple[str, str], tuple[int, int | None]]:
    return {(pair.first, pair.second): (pair.equal, pair.near) for pair in facts.duplicates}


def test_copies_within_and_between_splits_are_counted(tmp_path):
    root = karpathy(tmp_path, {"train": [0, 1, 2, 3, 3], "val": [4, 5], "test": [6, 0, 7]})
    (root / "images" / "val1.jpg").write_bytes((root / "images" / "test0.jpg").read_bytes())
    facts = described(root)
    found = counts(facts)
    expected = {
        ("train", "train"): (0, 2),  # 3 and its copy at another quality
        ("train", "test"): (0, 1),
        ("test", "train"): (0, 1),
        ("test", "val"): (1, 0),
        ("val", "test"): (1, 0),
    }
    assert {key: value for key, value in found.items() if value != (0, 0)} == expected
    shown = [(pair.first.image_id, pair.second.image_id, pair.kind) for pair in facts.pairs]
    assert shown == [
        ("val1.jpg", "test0.jpg", "equal"),
        ("train0.jpg", "test1.jpg", "near"),
        ("train3.jpg", "train4.jpg", "near"),
    ]


def test_many_equal_images_are_groups_and_not_pairs(tmp_path):
    root = karpathy(tmp_path, {"train": list(range(3)), "test": list(range(10, 40))})
    for row in range(30):
        (root / "images" / f"test{row}.jpg").write_bytes((root / "images" / "train1.jpg").read_bytes())
    facts = described(root)
    assert counts(facts)["test", "test"] == (30, 0)
    assert counts(facts)["train", "test"] == (1, 0)
    assert [pair.kind for pair in facts.pairs] == ["equal"]
    assert len(facts.pairs) <= MOST_PAIRS
    # 60 captions for 30 equal images: of each 30 equal captions, one image at most is right
    assert facts.split("test").captions.exact.bound.t2i_pessimistic_percent == 0


def test_missing_and_broken_files_are_findings(tmp_path):
    root = karpathy(tmp_path, {"train": [0, 1, 2], "test": [3, 4]})
    (root / "images" / "train1.jpg").unlink()
    content = (root / "images" / "test0.jpg").read_bytes()
    (root / "images" / "test0.jpg").write_bytes(content[:400])
    facts = described(root)
    assert (facts.split("train").files.missing, facts.split("test").files.unreadable) == (1, 1)
    assert facts.split("train").captions.number == 6
    assert counts(facts)["train", "test"] == (0, 0)


def test_quick_looks_at_captions_names_and_headers(tmp_path, monkeypatch):
    root = karpathy(tmp_path, {"train": [0, 1, 2], "test": [3, 0]})
    monkeypatch.setattr("harness.description.pictures.fingerprint", None)
    facts = described(root, quick=True)
    assert facts.quick
    assert counts(facts)["test", "train"] == (0, None)
    assert facts.split("train").files.sizes == {"96 x 72": 3}


def test_other_data_are_compared_by_name_content_and_hash(tmp_path):
    root = karpathy(tmp_path / "ours", {"train": [0, 1], "test": [10, 11, 12, 13]})
    other = karpathy(tmp_path / "theirs", {"train": [20, 10, 21], "val": [11]}, "x{seed}.jpg")
    picture(other / "images" / "x10.jpg", 10, quality=40)
    facts = described(root, read_other(other))
    found = {(row.split, row.other_split): row for row in facts.contamination}
    assert (found["test", "train"].equal, found["test", "train"].near, found["test", "train"].any) == (0, 1, 1)
    assert (found["test", "val"].equal, found["test", "val"].near) == (1, 0)
    assert found["test", "val"].captions == 2
    assert found["test", "val"].names == 0
    assert found["test", "val"].examples == ["test1.jpg"]
    assert found["train", "train"].any == 0


COCO = ["COCO_val2014_000000000007.jpg", "COCO_train2014_000000000123.jpg", "COCO_val2014_000000999999.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "splits"),
    [
        ("train_ids.txt", "7\n7\n123\n5\n", {"all": 2}),
        ("names.txt", "val2014/COCO_val2014_000000000007.jpg\n", {"all": 1}),
        ("results.token", "COCO_val2014_000000000007.jpg#0\ta dog\n", {"all": 1}),
        ("results.csv", "image,caption\nCOCO_val2014_000000000007.jpg,a dog\n", {"all": 1}),
        ("ids.json", "[7, 123, 8]", {"all": 2}),
        ("id_mapping.json", '{"7": "val2014/COCO_val2014_000000000007.jpg"}', {"all": 1}),
        ("captions.json", json.dumps({"images": [{"id": 7, "file_name": COCO[0]}], "annotations": []}), {"all": 1}),
        ("blip.json", json.dumps([{"image": f"val2014/{COCO[0]}", "caption": ["a"]}]), {"all": 1}),
        ("lines.jsonl", '{"image": "x.jpg"}\n{"image": "COCO_val2014_000000000007.jpg"}\n', {"all": 1}),
        (
            "dataset_coco.json",
            json.dumps(
                {"images": [{"filename": n, "split": s} for n, s in zip(COCO, ("train", "val", "test"), strict=True)]}
            ),
            {"train": 1, "val": 1, "test": 1},
        ),
    ],
)
def test_lists_of_ids_are_read_in_every_usual_form(tmp_path, name, content, splits):
    root = tmp_path / "ours"
    root.mkdir()
    images = [{"filename": file, "split": "test", "sentences": [{"raw": f"a {file}"}]} for file in COCO]
    (root / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    path = tmp_path / name
    path.write_text(content)
    facts = described(root, read_other(path), quick=True)
    assert {row.other_split: row.any for row in facts.contamination} == splits
    assert all((row.names or 0) + (row.numbers or 0) == row.any for row in facts.contamination)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{not json", "as JSON"), ("{}", "no image ids"), ('{"a": {"b": 1}}', "no image ids"), ("[1.5]", "no image ids")],
)
def test_a_list_without_ids_is_refused(tmp_path, content, message):
    path = tmp_path / "ids.json"
    path.write_text(content)
    with pytest.raises(InvalidDataset, match=message):
        read_other(path)


def test_other_data_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(InvalidDataset, match="does not exist"):
        read_other(tmp_path / "nowhere")
    with pytest.raises(InvalidDataset, match="no known layout"):
        read_other(tmp_path)


def test_generated_images_are_described_by_their_pixels():
    part = DATASETS.resolve({"name": "scenes", "train_images": 20, "val_images": 6, "test_images": 8, "image_size": 32})
    result = describe(open_dataset(part), part)
    assert [split.images for split in result.facts.splits] == [20, 6, 8]
    assert result.facts.split("test").features.regions > 1
    assert result.facts.split("test").captions.per_image == {5: 8}
    assert counts(result.facts)["train", "test"][1] is not None
    assert {split for split, _ in result.thumbnails} == {"train", "val", "test"}


def precomp(root: Path, rows: dict[str, np.ndarray]) -> Path:
    root.mkdir()
    for split, features in rows.items():
        np.save(root / f"{split}_ims.npy", features)
        lines = [f"{split} caption {n}\n" for n in range(5 * len(features))]
        (root / f"{split}_caps.txt").write_text("".join(lines))
    return root


def test_equal_features_between_splits_are_found(tmp_path):
    random = np.random.default_rng(0)
    rows = {
        split: random.normal(size=(n, 3, 4)).astype(np.float32) for split, n in (("train", 4), ("dev", 2), ("test", 6))
    }
    rows["test"][[1, 5]] = rows["train"][2]
    facts = described(precomp(tmp_path / "precomp", rows))
    assert counts(facts)["test", "train"] == (2, None)
    assert counts(facts)["test", "test"] == (2, None)
    assert counts(facts)["train", "test"] == (1, None)
    assert facts.split("test").features.dtype == "float32"
    assert [pair.kind for pair in facts.pairs] == ["equal"]


def test_the_groups_of_a_gallery_are_numbered_by_first_occurrence(tmp_path):
    root = karpathy(tmp_path, {"train": [0, 1], "test": [2]})
    (root / "images" / "test0.jpg").write_bytes((root / "images" / "train1.jpg").read_bytes())
    parts = views(open_dataset(component(root)))
    gallery = Gallery.of(parts)
    assert gallery.group.tolist() == [0, 1, 1]
    assert gallery.members.tolist() == [[True, False], [True, True]]
    assert duplicates(parts, 10)[0][0].equal == 0


def test_a_description_survives_json(tmp_path):
    facts = described(karpathy(tmp_path, {"train": [0, 1], "test": [2]}))
    assert Description.model_validate_json(facts.model_dump_json()) == facts
