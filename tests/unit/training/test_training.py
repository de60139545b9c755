"""Training: schedules, batches and selection against hand-made cases, and resuming against never having stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.backbones.words.tokenizers import WordTokenizer
from harness.errors import CannotEncode, TrainingDiverged
from harness.losses import InfoNCE, TripletLoss
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.spec import RunSpec, TrainingSpec, load_experiment
from harness.training import loop as training
from harness.training import schedule
from harness.training import state as training_state
from harness.training import steps as training_steps
from harness.training.checkpoint import Checkpoint
from harness.training.loop import fit
from harness.training.optimizer import parameter_groups
from harness.training.schedule import learning_rate_factor, objective_of_epoch, pair_batches
from harness.training.steps import Steps


@pytest.fixture
def cell(tiny) -> RunSpec:
    return plan(load_experiment(tiny))[0]


def _fit(cell: RunSpec, spec: TrainingSpec, **options):
    dataset = open_dataset(cell.dataset)
    scorer = build_scorer(cell, dataset)
    result = fit(scorer, dataset.split("train"), dataset.split("val"), spec, seed=cell.seed, **options)
    return scorer, result


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        ({"decay_epochs": (2, 3), "decay_factor": 0.1}, [0, 19, 20, 29, 30], [1, 1, 0.1, 0.1, 0.01]),
        ({"schedule": "constant"}, [0, 1000], [1, 1]),
        ({"schedule": "cosine", "epochs": 2}, [0, 10, 20], [1, 0.5, 0]),
        ({"schedule": "constant", "warmup_steps": 4}, [0, 1, 3, 4], [0.25, 0.5, 1, 1]),
    ],
)
def test_learning_rate(settings, steps, expected):
    spec = TrainingSpec(**settings)
    assert [learning_rate_factor(step, 10, spec) for step in steps] == pytest.approx(expected)


def test_objective_starts_with_all_negatives():
    spec = TrainingSpec(margin=0.1, all_negatives_epochs=1)
    assert objective_of_epoch(0, spec) == TripletLoss(0.1, "all")
    assert objective_of_epoch(1, spec) == TripletLoss(0.1, "hardest")
    assert objective_of_epoch(0, TrainingSpec(objective="infonce", temperature=0.2)) == InfoNCE(0.2)


def test_an_epoch_is_every_caption_once_or_one_an_image(cell):
    split = open_dataset(cell.dataset).split("train")
    captions = len(split.captions)
    order = np.concatenate(list(pair_batches(split, TrainingSpec(batch_size=32), np.random.default_rng(0))))
    assert sorted(order) == list(range(captions))
    one = [
        np.concatenate(list(pair_batches(split, TrainingSpec(batch_size=32, pairs="one_per_image"), rng)))
        for rng in (np.random.default_rng(0), np.random.default_rng(1))
    ]
    for rows in one:
        assert sorted(split.caption_image[rows]) == list(range(len(split.image_ids)))
    assert sorted(one[0]) != sorted(one[1])


@pytest.mark.parametrize("pairs", ["all", "one_per_image"])
def test_row_b_of_the_images_belongs_to_row_b_of_the_captions(cell, pairs):
    split = open_dataset(cell.dataset).split("train")
    scorer = build_scorer(cell, open_dataset(cell.dataset))
    loop = Steps(scorer, split, TrainingSpec(batch_size=8, pairs=pairs), seed=0)
    seen = {}

    def losses(images, texts, image_ids):
        seen.update(images=images.detach(), ids=image_ids)
        return {"matching": scorer.score(images, texts).sum()}

    scorer.losses = losses
    captions = next(pair_batches(split, loop.spec, np.random.default_rng(0)))
    each = [scorer.encode_images(split.images.regions([split.caption_image[c]])).features[0] for c in captions]
    loop.run_step(loop.reader.read(captions, 0), torch.Generator())
    assert seen["ids"].tolist() == split.caption_image[captions].tolist()
    for row, alone in zip(seen["images"].features, each, strict=True):
        torch.testing.assert_close(row[: len(alone)], alone.detach(), atol=1e-5, rtol=1e-5)


def test_a_last_batch_of_one_pair_is_left_out(cell):
    split = open_dataset(cell.dataset).split("train")
    size = len(split.captions) - 1
    batches = list(pair_batches(split, TrainingSpec(batch_size=size), np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [size]


def test_the_best_epoch_is_kept_and_its_weights_restored(cell):
    spec = cell.training.model_copy(update={"epochs": 4})
    dataset = open_dataset(cell.dataset)
    scorer, result = _fit(cell, spec)
    sums = [epoch.validation["rsum"] for epoch in result.history]
    assert result.best_epoch == int(np.argmax(sums))
    assert training.validate(scorer, dataset.split("val"))["rsum"] == pytest.approx(max(sums))
    assert result.steps == 4 * 7  # 200 captions in batches of 32, the last one of 8
    assert set(result.step_ms) >= {"train_step_ms_p50"}
    assert result.history[-1].losses["matching"] < result.history[1].losses["matching"]


def test_the_captions_of_the_validation_split_are_tokenised_once(cell, monkeypatch):
    validation = open_dataset(cell.dataset).split("val")
    asked, call = [], WordTokenizer.__call__
    monkeypatch.setattr(WordTokenizer, "__call__", lambda self, texts: asked.append(tuple(texts)) or call(self, texts))
    _fit(cell, cell.training.model_copy(update={"epochs": 3}))
    assert asked.count(validation.captions) == 1


@pytest.mark.parametrize("noise", [{}, {"region_drop": 0.3, "word_masking": 0.3}])
def test_resumed_training_ends_in_the_same_weights(cell, tmp_path, noise):
    spec = cell.training.model_copy(update={"epochs": 3, **noise})
    straight, whole = _fit(cell, spec)

    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        _fit(cell, spec, checkpoint=checkpoint, on_epoch=kill)
    resumed, rest = _fit(cell, spec, checkpoint=checkpoint)
    assert [e.validation for e in rest.history] == [e.validation for e in whole.history]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


SMALL = {
    "name": "small",
    "dataset": {"name": "scenes", "train_images": 20, "val_images": 8, "test_images": 8, "image_size": 32},
    "seeds": 1,
    "image": {"name": "regions", "width": 16},
    "text": {"name": "bigru", "width": 16},
    "training": {"batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
    "scorers": ["scan"],
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, _cache_of_their_own):
    """A training of three epochs whose last one was cut off: its checkpoint's bytes, what it must agree with, itself."""
    cell = plan(load_experiment(SMALL))[0]
    cell = cell.model_copy(update={"training": cell.training.model_copy(update={"epochs": 3})})
    checkpoint, seen = tmp_path_factory.mktemp("stopped") / "checkpoint.pt", []
    dataset = open_dataset(cell.dataset)
    _, whole = _fit(cell, cell.training, checkpoint=checkpoint, on_epoch=lambda _: seen.append(checkpoint.read_bytes()))
    expected = Checkpoint(
        None, Steps(build_scorer(cell, dataset), dataset.split("train"), cell.training, cell.seed)
    ).expected
    return seen[1], expected, cell, whole


def _first(values):
    return values[next(iter(values))]


CHECKPOINTS = {
    "empty": lambda path: path.write_bytes(b""),
    "no checkpoint": lambda path: path.write_bytes(b"half a file"),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a list": lambda path: torch.save([1, 2], path),
    "no optimizer": lambda state: state.pop("optimizer"),
    "an earlier version": lambda state: state.pop("training"),
    "another seed": lambda state: state.update(training=state["training"].replace('"seed":0', '"seed":1')),
    "a text as model": lambda state: state.update(scorer="weights"),
    "another parameter": lambda state: state["scorer"].update(extra=torch.zeros(1)),
    "another shape": lambda state: state["best"].update({k: torch.zeros(1, 1, 1) for k in list(state["best"])[:1]}),
    "weights that are not finite": lambda state: _first(state["scorer"]).fill_(torch.nan),
    "another optimizer": lambda state: state["optimizer"]["param_groups"][0].update(weight_decay=0.5),
    "one group too many": lambda state: state["optimizer"]["param_groups"].append({}),
    "moments of another shape": lambda state: _first(state["optimizer"]["state"]).update(exp_avg=torch.zeros(3)),
    "moments of nothing": lambda state: state["optimizer"]["state"].update({999: {}}),
    "moments of the last but none": lambda state: state["optimizer"]["state"].update(
        {-1: _first(state["optimizer"]["state"])}
    ),
    "moments without a step": lambda state: _first(state["optimizer"]["state"]).pop("step"),
    "an epoch too few": lambda state: state["history"].pop(),
    "more epochs than asked for": lambda state: state["history"].extend(state["history"]),
    "a history without rSum": lambda state: state["history"][0]["validation"].pop("rsum"),
    "a history of texts": lambda state: state["history"][1].update(seconds="many"),
    "a best epoch that was not": lambda state: state.update(best_epoch=7),
    "steps that were not": lambda state: state.update(step=3),
    "step times of texts": lambda state: state.update(step_samples=["soon"]),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_is_not_of_this_training_is_said_and_not_used(stopped, tmp_path, caplog, damage):
    content, expected, _, _ = stopped
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(content)
    assert training_state.read_state(checkpoint, expected, torch.device("cpu")) is not None, "the whole one is used"
    if damage.__code__.co_varnames[0] == "path":
        damage(checkpoint)
    else:
        state = torch.load(checkpoint, weights_only=True)
        damage(state)
        torch.save(state, checkpoint)
    assert training_state.read_state(checkpoint, expected, torch.device("cpu")) is None
    lines = [log.getMessage() for log in caplog.records if "starts anew" in log.getMessage()]
    assert len(lines) == 1
    assert str(checkpoint) in lines[0]


@pytest.mark.parametrize("name", ["a folder", "moments of another shape"])
def test_a_training_whose_checkpoint_is_damaged_is_that_without_one(stopped, tmp_path, name):
    content, _, cell, whole = stopped
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(content)
    if name == "a folder":
        CHECKPOINTS[name](checkpoint)
    else:
        state = torch.load(checkpoint, weights_only=True)
        CHECKPOINTS[name](state)
        torch.save(state, checkpoint)
    _, result = _fit(cell, cell.training, checkpoint=checkpoint)
    assert [e.validation for e in result.history] == [e.validation for e in whole.history]


def test_divergence_is_named(cell, monkeypatch):
    monkeypatch.setattr(
        training_steps, "objective_of_epoch", lambda *_: lambda similarity, _: similarity.sum() * torch.inf
    )
    with pytest.raises(TrainingDiverged, match=r"step 1 of the training has loss .*inf.*lower training\.learning_rate"):
        _fit(cell, cell.training)


def test_no_epochs_is_no_training(cell):
    dataset = open_dataset(cell.dataset)
    before = build_scorer(cell, dataset).state_dict()
    scorer, result = _fit(cell, cell.training.model_copy(update={"epochs": 0}))
    assert (result.history, result.best_epoch, result.best) == ([], -1, {})
    assert all(torch.equal(before[name], value) for name, value in scorer.state_dict().items())


def test_a_scorer_without_backbones_cannot_be_trained(cell):
    from harness import registry

    dataset = open_dataset(cell.dataset)
    with pytest.raises(CannotEncode, match="without backbones"):
        fit(registry.create("scan"), dataset.split("train"), dataset.split("val"), cell.training, seed=0)


def test_pretrained_parameters_learn_slower_or_not_at_all(cell, monkeypatch):
    scorer = build_scorer(cell, open_dataset(cell.dataset))
    old = list(scorer.image_encoder.parameters())
    monkeypatch.setattr(scorer.image_encoder, "pretrained_parameters", lambda: old)
    new_group, old_group = parameter_groups(scorer, TrainingSpec(learning_rate=1.0, backbone_learning_rate_scale=0.1))
    assert (new_group["lr"], old_group["lr"]) == (1.0, 0.1)
    assert {id(p) for p in old_group["params"]} == {id(p) for p in old}
    (only,) = parameter_groups(scorer, TrainingSpec(backbone_learning_rate_scale=0))
    assert not {id(p) for p in only["params"]} & {id(p) for p in old}
    assert not any(p.requires_grad for p in old)


def test_the_loss_is_ramped_up_in_the_first_epochs():
    spec = TrainingSpec(loss_ramp_epochs=1)
    assert [schedule.loss_factor(step, 4, spec) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert {schedule.loss_factor(step, 4, TrainingSpec()) for step in range(6)} == {1.0}
    assert schedule.loss_factor(5, 4, TrainingSpec(loss_ramp_epochs=2)) == 0.25


def test_gradients_of_a_step_are_ramped(cell, monkeypatch):
    split = open_dataset(cell.dataset).split("train")
    norms = {}
    clip = torch.nn.utils.clip_grad_norm_

    def note(parameters, largest):
        norms[name].append(float(clip(parameters, largest)))
        return torch.tensor(norms[name][-1])

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", note)
    # A rate of next to nothing keeps the weights, so that each step has the gradient of the same weights.
    still = {"batch_size": 20, "learning_rate": 1e-12, "optimizer": "adam", "weight_decay": 0.0, "schedule": "constant"}
    for name, ramp in (("plain", 0), ("ramped", 1)):
        norms[name] = []
        loop = Steps(
            build_scorer(cell, open_dataset(cell.dataset)), split, TrainingSpec(loss_ramp_epochs=ramp, **still), seed=0
        )
        loop.run_epoch(0)
        loop.run_epoch(1)
    steps = loop.steps_per_epoch
    factors = [*(step / steps for step in range(steps)), *[1] * steps]
    expected = [norm * factor for norm, factor in zip(norms["plain"], factors, strict=True)]
    assert norms["ramped"] == pytest.approx(expected, rel=1e-4)


#: What METHODS of the field print of each recipe beside the defaults: our name, value.
RECIPES = {
    "scan": {"epochs": 30, "batch_size": 128, "optimizer": "adam", "learning_rate": 2e-4, "decay_epochs": (15,),
             "weight_decay": 0.0, "margin": 0.2, "all_negatives_epochs": 0, "gradient_clip": 2.0, "loss_ramp_epochs": 0},
    "scan.i2t_lse_coco": {"epochs": 20, "learning_rate": 5e-4, "decay_epochs": (10,), "batch_size": 128},
    "chan": {"epochs": 25, "batch_size": 384, "optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 0.01,
             "decay_epochs": (15,), "margin": 0.05, "all_negatives_epochs": 1, "region_drop": 0.2, "word_masking": 0.2,
             "loss_ramp_epochs": 0},
    "chan.bert": {"epochs": 25, "batch_size": 128, "weight_decay": 1e-4, "backbone_learning_rate_scale": 0.1,
                  "learning_rate": 5e-4, "margin": 0.05},
    "laps": {"epochs": 30, "batch_size": 64, "learning_rate": 2e-4, "weight_decay": 1e-4, "loss_ramp_epochs": 1,
             "decay_epochs": (9, 15, 20, 25), "decay_factor": 0.3, "backbone_learning_rate_scale": 0.1,
             "all_negatives_epochs": 1, "word_masking": 0.2, "image_augmentation": "crop_flip", "margin": 0.2},
    "grm": {"epochs": 30, "batch_size": 64, "learning_rate": 2e-4, "weight_decay": 1e-4, "loss_ramp_epochs": 1,
            "decay_epochs": (9, 15, 20, 25), "decay_factor": 0.3, "all_negatives_epochs": 1, "margin": 0.2},
    "vse_infinity": {"epochs": 25, "batch_size": 128, "learning_rate": 5e-4, "weight_decay": 1e-4, "decay_epochs": (15,),
                     "margin": 0.2, "all_negatives_epochs": 1, "region_drop": 0.2, "word_masking": 0.2,
                     "loss_ramp_epochs": 0},
    "vsepp": {"batch_size": 128, "learning_rate": 2e-4, "optimizer": "adam", "weight_decay": 0.0, "margin": 0.2,
              "all_negatives_epochs": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_planned_run_has_the_published_recipe(name, tiny):
    (run,) = plan(load_experiment({**tiny, "scorers": [name], "training": {}}))
    got = run.training.model_dump()
    assert {key: got[key] for key in RECIPES[name]} == RECIPES[name]


def test_an_experiment_and_an_entry_override_a_variants_recipe(tiny):
    entry = {"name": "chan.bert", "training": {"weight_decay": 0.5}}
    (run,) = plan(load_experiment({**tiny, "scorers": [entry], "training": {"batch_size": 16}}))
    assert (run.training.batch_size, run.training.weight_decay) == (16, 0.5)


def test_variants_that_are_combined_bring_their_recipe(tiny):
    from harness.runs.ablation import plan_ablation

    planned = plan_ablation(load_experiment({**tiny, "training": {}}), "chan", "grid", ["bert", "vha_mean"])
    both = next(entry for entry in planned.experiment.scorers if "bert" in entry.key and "vha_mean" in entry.key)
    assert both.training["batch_size"] == 128
