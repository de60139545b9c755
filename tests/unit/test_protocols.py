"""Protocols: folds in file order, each a gallery of its own."""

from __future__ import annotations

import numpy as np
import pytest

from harness import protocols
from harness.errors import InvalidProtocol, UnknownName
from harness.metrics import retrieval_metrics


def _problem(images: int, captions: int = 2) -> dict:
    owner = np.repeat(np.arange(images), captions)
    similarity = np.random.default_rng(0).normal(size=(images, len(owner))).astype(np.float32)
    similarity[owner, np.arange(len(owner))] += 2
    return {
        "similarity": similarity,
        "caption_image": owner,
        "image_ids": [f"i{i}" for i in range(images)],
        "caption_ids": [f"c{c}" for c in range(len(owner))],
    }


@pytest.fixture(scope="module")
def coco():
    return _problem(5000, captions=1)


def test_full_is_the_metrics_of_the_whole_matrix():
    problem = _problem(30)
    got = protocols.evaluate("full", **problem)
    assert got.metrics == retrieval_metrics(problem["similarity"], problem["caption_image"])
    assert got.ranks.i2t_image_id.tolist() == problem["image_ids"]
    np.testing.assert_array_equal(got.ranks.caption_image, problem["caption_image"])


def test_coco_1k_is_the_mean_of_five_blocks_of_a_thousand(coco):
    got = protocols.evaluate("coco_1k", **coco)
    folds = [
        retrieval_metrics(coco["similarity"][s : s + 1000, s : s + 1000], np.arange(1000)) for s in range(0, 5000, 1000)
    ]
    for key, value in got.metrics.items():
        assert value == pytest.approx(np.mean([fold[key] for fold in folds]), abs=1e-9)
    assert np.bincount(got.ranks.i2t_fold).tolist() == [1000] * 5
    assert got.metrics["rsum"] > protocols.evaluate("coco_5k", **coco).metrics["rsum"]


def test_folds_take_captions_of_any_order():
    problem = _problem(5000, captions=1)
    order = np.random.default_rng(1).permutation(5000)
    shuffled = {
        **problem,
        "similarity": problem["similarity"][:, order],
        "caption_image": problem["caption_image"][order],
        "caption_ids": [problem["caption_ids"][c] for c in order],
    }
    assert protocols.evaluate("coco_1k", **shuffled).metrics == protocols.evaluate("coco_1k", **problem).metrics


@pytest.mark.parametrize("name", ["coco_1k", "coco_5k"])
def test_a_dataset_that_does_not_fit_is_refused(name):
    with pytest.raises(InvalidProtocol, match=r"5,000 test images, this dataset has 30"):
        protocols.evaluate(name, **_problem(30))


def test_unknown_protocol():
    with pytest.raises(UnknownName, match=r"did you mean .*coco_1k"):
        protocols.get("coco_k1")
