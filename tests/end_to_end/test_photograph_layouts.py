"""Layouts of published files through the command line: the numbers of the karpathy layout of the same data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import open_clip
import pytest
import shapes
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from harness.records.run import RunRecord
from harness.records.store import RunStore

Make = Callable[[Path], Path]

TRAINED: tuple[Make, ...] = (shapes.flickr_csv, shapes.flickr8k_text, shapes.webdataset, shapes.docci)
EVALUATED: tuple[Make, ...] = (shapes.webdataset, shapes.hub_with_pictures, shapes.coco_captions, shapes.urban1k)
ONE_CAPTION = (shapes.docci, shapes.urban1k)
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, open_clip.CLIP]:
    """A small CLIP in open_clip's folder layout, and the model that wrote it."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**CLIP).eval()
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    shapes.write_json(folder / "open_clip_config.json", {"model_cfg": CLIP, "preprocess_cfg": preprocess})
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder, model


@pytest.fixture
def leaderboard(itm, tiny, tmp_path):
    """Run an experiment on a folder, whose layout its files tell: the record, and what was logged."""

    def run(root: Path, settings: dict[str, Any], name: str) -> tuple[RunRecord, str]:
        path, results = tmp_path / f"{name}.yaml", tmp_path / name / "results"
        dataset = {"root": str(root), **settings.pop("dataset", {})}
        path.write_text(yaml.safe_dump({**tiny, "name": name, **settings, "dataset": dataset}))
        code, out, err = itm("leaderboard", path, "--no-mlflow", "--results", results)
        assert code == 0, err
        assert "written:" in out
        (record,) = RunStore(results).records()
        return record, err

    return run


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, int], RunRecord]:
    """Records of runs on the karpathy layout, by what was run and the captions per image: each is made once."""
    return {}


@pytest.fixture
def on_karpathy(leaderboard, known, tmp_path):
    """The record of a run on the karpathy layout of the same data."""

    def run(kind: str, settings: dict[str, Any], make: Make) -> RunRecord:
        each = 1 if make in ONE_CAPTION else 5
        if (kind, each) not in known:
            root = shapes.karpathy(tmp_path / "karpathy")
            known[kind, each] = leaderboard(root, {**settings, "dataset": {"captions_per_image": each}}, "known")[0]
        return known[kind, each]

    return run


def trained(tiny: dict[str, Any]) -> dict[str, Any]:
    training = {**tiny["training"], "epochs": 1, "batch_size": 8}
    return {"image": layouts.PIXEL_TOWER, "training": training, "scorers": ["scan"]}


def zero_shot(folder: Path) -> dict[str, Any]:
    tower = {"name": "open_clip", "model": f"local-dir:{folder}"}
    return {"training": {"epochs": 0}, "scorers": [{"name": "clip", "image": tower, "text": tower}]}


@pytest.mark.parametrize("make", TRAINED, ids=lambda make: make.__name__)
def test_a_scorer_that_is_trained_on_a_layout_has_the_numbers_of_the_karpathy_layout(
    leaderboard, on_karpathy, tiny, tmp_path, make
):
    known = on_karpathy("trained", trained(tiny), make)
    found, err = leaderboard(make(tmp_path / "data"), trained(tiny), "found")
    assert found.metrics == known.metrics
    assert found.validation == known.validation
    assert err.count(": layout ") == 1


@pytest.mark.parametrize("make", EVALUATED, ids=lambda make: make.__name__)
def test_clip_zero_shot_on_a_test_split_has_the_numbers_of_the_karpathy_layout(
    leaderboard, on_karpathy, clip, tmp_path, make
):
    known = on_karpathy("zero-shot", zero_shot(clip[0]), make)
    root = make(tmp_path / "data")
    for folder in ("train", "val"):  # of the webdataset: most are published without
        for path in sorted((root / folder).glob("*")):
            path.unlink()
    found, err = leaderboard(root, zero_shot(clip[0]), "found")
    assert found.metrics == known.metrics
    assert found.training.epochs == 0
    assert "text backbone open_clip: captions cut at 8 tokens: " in err


def test_the_documented_experiment_evaluates_a_test_split_alone(itm, clip, tmp_path, monkeypatch):
    document = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", document, flags=re.DOTALL) if "zero_shot" in text]
    monkeypatch.chdir(tmp_path)
    Path("clip.yaml").write_text(block, encoding="utf-8")
    shapes.webdataset(tmp_path)
    shutil.copytree(clip[0], tmp_path / "ViT-B-32")
    code, out, err = itm("leaderboard", "clip.yaml", "--no-mlflow")
    assert code == 0, err
    assert "flickr30k test, full" in out


def test_clip_zero_shot_on_a_webdataset_equals_open_clip_itself(leaderboard, clip, tmp_path):
    folder, model = clip
    record, _ = leaderboard(shapes.webdataset(tmp_path), zero_shot(folder), "found")
    pictures = shapes.of("test")
    preprocess = open_clip.image_transform(32, is_train=False, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = [Image.open(shapes.images(tmp_path / "pictures") / picture.file) for picture in pictures]
    assert any(image.width != image.height for image in images)
    with torch.no_grad():
        image = model.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True)
        tokens = open_clip.get_tokenizer("ViT-B-32", context_length=8)([text for p in pictures for text in p.captions])
        scores = (image @ model.encode_text(tokens, normalize=True).T).double().numpy()
    hits = {"i2t": [], "t2i": []}
    for row in range(len(pictures)):
        best = scores[row, 5 * row : 5 * row + 5].max()
        others = [scores[row, column] for column in range(scores.shape[1]) if column // 5 != row]
        hits["i2t"].append(sum(other >= best for other in others))
    for column in range(scores.shape[1]):
        own = scores[column // 5, column]
        hits["t2i"].append(sum(scores[row, column] >= own for row in range(len(pictures)) if row != column // 5))
    for direction, above in hits.items():
        for k in (1, 5, 10):
            expected = 100 * np.mean([rank < k for rank in above])
            assert record.metrics["full"][f"{direction}_r{k}"] == pytest.approx(expected), (direction, k)


def test_sentences_of_any_number_are_evaluated(leaderboard, clip, tmp_path):
    """FLAIR's form has no counterpart of equal captions per image: Karpathy's JSON with the same sentences gives the numbers."""
    root = shapes.karpathy(tmp_path / "k")
    path = root / "dataset_flickr30k.json"
    value = json.loads(path.read_text())
    tests = [image for image in value["images"] if image["split"] == "test"]
    for row, image in enumerate(tests):
        image["sentences"] = image["sentences"][: 1 + row % 5]
    shapes.write_json(path, value)
    known, _ = leaderboard(root, zero_shot(clip[0]), "known")
    found, _ = leaderboard(shapes.flair_sentences(tmp_path / "data"), zero_shot(clip[0]), "found")
    assert found.metrics == known.metrics


def test_training_on_a_test_split_alone_is_refused(itm, tiny, tmp_path):
    path = tmp_path / "small.yaml"
    root = shapes.urban1k(tmp_path)
    path.write_text(yaml.safe_dump({**tiny, **trained(tiny), "name": "small", "dataset": {"root": str(root)}}))
    code, _, err = itm("leaderboard", path, "--no-mlflow")
    assert code == 2
    assert "dataset urban1k has no train split, so nothing can be trained on it; it has test" in err
