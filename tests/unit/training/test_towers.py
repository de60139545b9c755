"""Towers that are trained with less memory, or compiled: the same gradients, and the same model afterwards."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from steps_of_scorers import BERT, CASES, CLIPS, GRU, REGIONS, VIT, distances, steps
from torch import nn

from harness.backbones import build_image, build_text
from harness.backbones.recomputing import can_recompute
from harness.errors import InvalidSpec
from harness.estimates.bench import ModelBench
from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.spec import TrainingSpec, load_experiment
from harness.training import towers
from harness.training.towers import training_towers

TIMM = {"name": "patches", "architecture": "vit_tiny_patch16_224", "image_size": 32, "width": 16}
CONV = {"name": "patches", "architecture": "conv_stem", "image_size": 32, "channels": 16, "width": 16}
MICRO = {"micro_batch": 4}


@pytest.mark.parametrize("name", ["late_interaction", "clip"])
@pytest.mark.parametrize("training", [{}, MICRO], ids=["one pass", "chunks"])
def test_layers_that_are_computed_again_give_the_same_gradients(name, training):
    case = CASES[name]
    again = {**case, "training": {**training, "gradient_checkpointing": True}}
    assert max(distances(steps(again), steps(case)).values()) < 1e-5


def _bench(tiny, **training):
    settings = {**tiny["training"], **training}
    cell = plan(load_experiment({**tiny, "image": {**VIT, "depth": 6}, "text": BERT, "training": settings}))[0]
    dataset = open_dataset(cell.dataset)
    return ModelBench(build_scorer(cell, dataset), dataset.split("train"), cell.training)


def test_less_is_kept_for_the_backward_pass(tiny):
    plain, again = (_bench(tiny, gradient_checkpointing=on) for on in (False, True))
    kept = [bench.saved(lambda bench=bench: bench.step(16)) for bench in (plain, again)]
    assert kept[1] < 0.5 * kept[0]


def test_chunks_keep_their_layers_in_turn(tiny):
    plain, chunks = (_bench(tiny, batch_size=16, micro_batch=size) for size in (None, 4))
    kept = [bench.saved(lambda bench=bench: bench.step(16)) for bench in (plain, chunks)]
    assert kept[1] < 0.4 * kept[0]
    # A stopwatch that tries a smaller batch cuts it into as many chunks, so that its time grows as that of the whole.
    assert chunks.saved(lambda: chunks.step(8)) < 0.7 * kept[1]


@pytest.mark.parametrize(
    ("image", "text", "line"),
    [
        (CONV, BERT, "image backbone 'patches' with 'conv_stem' cannot compute its layers again; set it to false"),
        (REGIONS, GRU, "is for towers (a ViT, a BERT), and neither 'regions' nor 'bigru' has one; set it to false"),
    ],
)
def test_towers_that_cannot_are_refused_when_a_run_is_planned(tiny, image, text, line):
    with pytest.raises(InvalidSpec) as caught:
        plan(load_experiment({**tiny, "image": image, "text": text, "training": {"gradient_checkpointing": True}}))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image", [VIT, TIMM, CLIPS["image"]])
def test_one_side_without_a_tower_is_fine(tiny, image):
    (cell,) = plan(load_experiment({**tiny, "image": image, "training": {"gradient_checkpointing": True}}))
    assert cell.training.gradient_checkpointing


def test_a_model_that_takes_the_switch_and_ignores_it_cannot():
    class Ignores(nn.Module):
        def set_grad_checkpointing(self, on):
            pass

    assert not can_recompute(Ignores())


def test_afterwards_the_towers_are_as_before(tiny):
    cell = plan(load_experiment({**tiny, "image": VIT, "text": BERT}))[0]
    scorer = build_scorer(cell, open_dataset(cell.dataset))
    names, printed = list(scorer.state_dict()), str(scorer)
    with training_towers(scorer, TrainingSpec(gradient_checkpointing=True, compile=True)):
        assert scorer.image_encoder.tower.model.grad_checkpointing
        assert list(scorer.state_dict()) == names
    assert not scorer.image_encoder.tower.model.grad_checkpointing
    assert not any("forward" in vars(module) for module in scorer.modules())
    assert str(scorer) == printed
    copy.deepcopy(scorer)


def test_compile_wraps_the_call_that_encoding_makes(tiny, monkeypatch):
    """Whatever is compiled must be what runs: a tower that is called past its `forward` would stay as it was."""
    calls = []
    monkeypatch.setattr(
        torch, "compile", lambda forward: lambda *args, **kwargs: (calls.append(1), forward(*args, **kwargs))[1]
    )
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for image, text in (
        (VIT, BERT),
        (CLIPS["image"], CLIPS["text"]),
        (CLIPS["image"], {**CLIPS["text"], "output": "tokens"}),
    ):
        encoders = build_image(image), build_text(text, captions=["a dog runs"])
        for encoder, batch in zip(encoders, (images, encoders[1].tokenizer(["a dog runs"])), strict=True):
            calls.clear()
            with towers._compiled(encoder):
                encoder(batch)
            assert calls == [1], type(encoder)


def test_compile_without_a_compiler_or_a_tower_is_refused(tiny, monkeypatch):
    with pytest.raises(InvalidSpec, match=r"training\.compile is for towers"):
        plan(load_experiment({**tiny, "training": {"compile": True}}))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InvalidSpec, match=r"training\.compile needs a C\+\+ compiler"):
        towers.require_compiler()
