"""Feeding: the same numbers for any number of loader processes, and batches that are what was asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from photograph_folder import experiment, photographs

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.settings.experiment import TrainingSpec
from harness.spec import FeedingSpec, RunSpec, load_experiment
from harness.training.feeding.batches import WHOLE, Batch, Reader, size_of
from harness.training.loop import fit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return photographs(tmp_path_factory.mktemp("photographs"))


def train(cell: RunSpec, workers: int, **options):
    dataset = open_dataset(cell.dataset)
    scorer = build_scorer(cell, dataset)
    feeding = FeedingSpec(workers=workers)
    result = fit(
        scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=3, feeding=feeding, **options
    )
    return scorer, result


def same(one, other) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


#: How the images are had, and what the experiment says.
KINDS = {
    "cropped at their own size": {"image_augmentation": "crop_flip", "word_masking": 0.3},
    "mirrored squares of the cache": {"image_augmentation": "flip"},
}


@pytest.mark.parametrize("training", KINDS.values(), ids=KINDS)
def test_photographs_give_the_same_weights_for_any_number_of_loaders(root, training):
    cell = plan(load_experiment(experiment(root, **training)))[0]
    alone, course = train(cell, 0)
    for workers in (1, 2):
        fed, result = train(cell, workers)
        same(alone, fed)
        assert [e.losses for e in result.history] == [e.losses for e in course.history]


def test_region_features_give_the_same_weights_with_loaders(tiny):
    noise = {"region_drop": 0.3, "word_masking": 0.3}
    cell = plan(load_experiment({**tiny, "training": {**tiny["training"], **noise}}))[0]
    same(train(cell, 0)[0], train(cell, 2)[0])


def test_a_training_resumes_at_an_epoch_whatever_the_loaders(root, tmp_path):
    cell = plan(load_experiment(experiment(root, image_augmentation="crop_flip", epochs=3)))[0]
    straight, whole = train(cell, 0)

    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train(cell, 2, checkpoint=checkpoint, on_epoch=kill)
    resumed, rest = train(cell, 1, checkpoint=checkpoint)
    same(straight, resumed)
    assert [e.validation for e in rest.history] == [e.validation for e in whole.history]
    state = torch.load(checkpoint, weights_only=True)
    # Three epochs of three steps in two processes, of which each leaves out its first three.
    assert len(state["wait_samples"]) == len(state["step_samples"]) == 3


def test_views_differ_from_epoch_to_epoch_and_are_the_same_in_every_training(root):
    cell = plan(load_experiment(experiment(root, image_augmentation="crop_flip")))[0]
    dataset = open_dataset(cell.dataset)
    encoder = build_scorer(cell, dataset).encoders[0]
    readers = [Reader(dataset.split("train"), encoder, "crop_flip", seed) for seed in (0, 0, 1)]
    rows = np.array([4, 0, 5])
    first, again, other = (reader.read(rows, 1).images for reader in readers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, readers[0].read(rows, 2).images)
    batch = readers[0].read(rows, 1)
    assert batch.image_rows.tolist() == [2, 0, 2]
    assert len(batch.images) == 2  # an image that two captions share is read once
    assert batch.places.tolist() == [1, 0, 1]


def test_a_batch_in_page_locked_memory_is_the_same_batch(root, monkeypatch):
    """There is no GPU here to lock pages for: which tensors are asked to is what can be seen."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    images, texts = (Fragments(torch.rand(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), {"gate": torch.rand(2)}),
                     Fragments(torch.rand(2, 1, 4), torch.ones(2, 1, dtype=torch.bool)))  # fmt: skip
    rows = np.array([0, 1])
    batch = Batch(rows, rows, rows, 2, WHOLE, images, texts)
    copy = batch.pin_memory()
    assert len(pinned) == 5
    assert torch.equal(copy.images.features, images.features)
    assert torch.equal(copy.images.extras["gate"], images.extras["gate"])
    assert torch.equal(copy.texts.mask, texts.mask)
    assert size_of(batch) == 4 * (24 + 2 + 8) + 6 + 2
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    pinned.clear()
    alone = Batch(rows, rows, rows, 2, WHOLE, pixels, None)
    assert alone.pin_memory().texts is None
    assert pinned == [pixels]
    assert size_of(alone) == 2 * 3 * 64


def test_how_batches_are_read_is_set_like_everything_else_and_is_no_part_of_a_run(tiny):
    plain, fed = (plan(load_experiment(tiny, given))[0] for given in ([], ["feeding.workers=2", "feeding.prefetch=4"]))
    assert (fed.feeding.workers, fed.feeding.prefetch) == (2, 4)
    assert fed.run_id == plain.run_id
    assert "feeding" not in plain.model_dump(mode="json")
    assert pickle.loads(pickle.dumps(fed)).feeding == fed.feeding
    assert load_experiment(tiny, ["feeding.workers=auto"]).feeding == FeedingSpec()


@pytest.mark.parametrize("value", ["-1", "many", "1.5", "1000", "null"])
def test_a_number_of_loaders_that_is_none_is_refused(tiny, value):
    with pytest.raises(
        InvalidSpec, match=r"feeding\.workers.*a number of processes from 0 to 256, or auto, got .*"
    ) as caught:
        load_experiment(tiny, [f"feeding.workers={value}"])
    assert "\n" not in str(caught.value)


def test_only_trainings_with_views_are_told_apart_from_those_of_earlier_versions():
    assert TrainingSpec().identity == TrainingSpec().model_dump(mode="json")
    assert TrainingSpec(image_augmentation="flip").identity["views"] == 2
