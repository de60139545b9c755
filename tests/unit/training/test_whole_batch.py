"""Gradients of a batch that is encoded in chunks, against those of the whole batch in one pass."""

from __future__ import annotations

import pytest
import torch
from steps_of_scorers import CASES, REGIONS, distances, steps
from torch import nn

from harness import registry
from harness.fragments import Fragments
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.scorer import Scorer
from harness.spec import TrainingSpec, load_experiment
from harness.training import loop as training
from harness.training.gradients import Inputs, OnePass
from harness.training.ranks import ALONE
from harness.training.steps import Steps
from harness.training.whole_batch import WholeBatch, chunks, gradients_of


def test_every_registered_scorer_has_a_case():
    assert {case["scorers"][0].partition(".")[0] for case in CASES.values()} == set(registry.names())


@pytest.mark.parametrize("name", CASES)
def test_losses_gradients_and_weights_are_those_of_one_pass(name):
    whole = steps(CASES[name])
    for micro_batch in (1, 4):  # 9 captions of 8 images: the last chunk has one caption and no image
        assert max(distances(steps(CASES[name], micro_batch), whole).values()) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_mixed_precision_which_a_gpu_takes_by_default_gives_nearly_the_same_losses(name):
    training = {**CASES[name].get("training", {}), "precision": "bfloat16"}
    mixed = steps({**CASES[name], "training": training})
    assert all(value.isfinite().all() for value in mixed.values())
    assert distances(mixed, steps(CASES[name]))["loss"] < 0.05


def test_a_chunk_holds_no_more_images_and_captions_than_asked_for(tiny):
    seen = []
    cell = plan(load_experiment({**tiny, "training": {"batch_size": 16, "micro_batch": 5}}))[0]
    dataset = open_dataset(cell.dataset)
    scorer = build_scorer(cell, dataset)
    for side in ("image", "text"):
        getattr(scorer, f"{side}_encoder").register_forward_pre_hook(
            lambda _, args, side=side: seen.append((side, len(args[0]), torch.is_grad_enabled()))
        )
    training.training_step(scorer, dataset.split("train"), cell.training)(0)
    captions = [(count, graph) for side, count, graph in seen if side == "text"]
    assert captions == [(count, graph) for graph in (False, True) for count in (5, 5, 5, 1)]
    assert max(count for _, count, _ in seen) == 5


class Noisy(Scorer):
    """Both encoders draw, and the second time must draw what they drew the first time; a batch normalisation counts."""

    def setup(self):
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4, momentum=0.5)
        self.images, self.texts = [], []

    def encode_images(self, batch):
        return self._noted(self.images, self.norm(batch))

    def encode_texts(self, batch):
        return self._noted(self.texts, batch)

    def _noted(self, into, values):
        features = self.dropout(values)[:, None] * self.norm.weight
        into.append(features.detach())
        return Fragments(features, torch.ones(features.shape[:2], dtype=torch.bool))

    def score(self, images, texts):
        return images.features[:, 0] @ texts.features[:, 0].T


def _backward(scorer, images, size):
    way = WholeBatch(scorer, ALONE, size, lambda: torch.autocast("cpu", enabled=False))
    texts = images.flip(0)
    inputs = Inputs(images, texts, (range(len(images)), range(len(texts))))
    return way.backward(inputs, lambda left, right: {"sum": scorer.score(left, right).square().sum()}, 1.0, 0)


def test_a_chunk_is_encoded_with_the_same_noise_twice_and_counted_once():
    scorer, images = Noisy().train(), torch.arange(24.0).view(6, 4)
    before = scorer.norm.running_mean.clone()
    torch.manual_seed(3)
    _backward(scorer, images, 2)
    assert len(scorer.images) == len(scorer.texts) == 6
    for first, second in zip(scorer.images[:3], scorer.images[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(scorer.texts[0] == 0, scorer.texts[1] == 0), "each chunk has noise of its own"
    expected = before
    for chunk in images.split(2):
        expected = 0.5 * expected + 0.5 * chunk.mean(dim=0)
    torch.testing.assert_close(scorer.norm.running_mean, expected)
    assert scorer.norm.num_batches_tracked == 3


def test_noise_of_later_steps_does_not_depend_on_the_second_encoding():
    draws = []
    for size in (2, 6):
        scorer = Noisy().train()
        torch.manual_seed(3)
        _backward(scorer, torch.arange(24.0).view(6, 4), size)
        draws.append(torch.rand(2))
    assert torch.equal(*draws)


def test_a_batch_normalisation_is_warned_of_once(tiny, caplog):
    pixels = {"name": "patches", "image_size": 32, "channels": 16, "width": 16}
    cells = {
        image["name"]: plan(load_experiment({**tiny, "image": image, "training": {"micro_batch": 4}}))[0]
        for image in (REGIONS, pixels)
    }
    for name, cell in cells.items():
        dataset = open_dataset(cell.dataset)
        Steps(build_scorer(cell, dataset), dataset.split("train"), cell.training, 0)
        lines = [record.getMessage() for record in caplog.records if "batch normalisation" in record.getMessage()]
        assert len(lines) == (name == "patches"), lines


def test_a_step_in_one_piece_takes_one_pass():
    case = Noisy().train()
    options = (case, TrainingSpec(), 0, ALONE, lambda: torch.autocast("cpu", enabled=False))
    assert isinstance(gradients_of(*options), OnePass)


@pytest.mark.parametrize(("micro_batch", "told"), [(7, False), (8, True), (100, True)])
def test_chunks_as_large_as_the_batch_are_told_of(caplog, micro_batch, told):
    training = TrainingSpec(batch_size=8, micro_batch=micro_batch)
    gradients_of(Noisy().train(), training, 0, ALONE, lambda: torch.autocast("cpu", enabled=False))
    assert (f"training.micro_batch={micro_batch} is not smaller than training.batch_size=8" in caplog.text) == told


def test_the_smaller_side_runs_out_first():
    parts = chunks(torch.zeros(3, 1), torch.zeros(5, 1), 2)
    assert [(len(p.images) if p.images is not None else 0, len(p.texts)) for p in parts] == [(2, 2), (1, 2), (0, 1)]


def test_settings_of_how_a_step_is_computed_leave_earlier_identities_alone(tiny):
    plain = plan(load_experiment(tiny))[0]
    chunked = plan(load_experiment({**tiny, "training": {**tiny["training"], "micro_batch": 8}}))[0]
    assert "micro_batch" not in plain.identity["training"]
    assert chunked.identity["training"]["micro_batch"] == 8
    assert chunked.run_id != plain.run_id
