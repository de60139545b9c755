"""Some steps of a training of each kind of scorer, in one piece, in chunks or on several ranks: what they leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.runs.building import build_scorer, open_dataset
from harness.runs.planning import plan
from harness.spec import load_experiment
from harness.training import loop as training
from harness.training.ranks import ALONE, Ranks, joined
from harness.training.steps import Steps
from harness.training.towers import training_towers

REGIONS = {"name": "regions", "width": 16}
GRU = {"name": "bigru", "width": 16}
VIT = {
    "name": "patches",
    "architecture": "small_vit",
    "image_size": 32,
    "channels": 16,
    "depth": 2,
    "heads": 2,
    "width": 16,
}
BERT = {"name": "transformer", "width": 16}
CLIPS = {
    "image": {"name": "open_clip", "model": "small", "image_size": 32},
    "text": {"name": "open_clip", "model": "small"},
}

#: Every registered scorer, and what of their options computes gradients in another way.
CASES: dict[str, dict[str, Any]] = {
    "scan": {"scorers": ["scan"]},
    "scan, image to text": {"scorers": ["scan.i2t_lse"]},
    "chan": {"scorers": ["chan"]},
    "chan, softmax": {"scorers": ["chan.vha_softmax"]},
    "vsepp": {"scorers": ["vsepp"]},
    "vse_infinity": {"scorers": ["vse_infinity.no_image_mlp"]},  # the MLP has a batch normalisation
    "sgraf": {"scorers": ["sgraf"], "fixed_statistics": True},  # of its batch normalisations
    "sgraf, filtration": {"scorers": ["sgraf.filtration"], "fixed_statistics": True},
    "pcmepp": {"scorers": ["pcmepp"]},
    "flair": {"scorers": ["flair"], "image": VIT, "text": BERT},
    "hrem": {"scorers": ["hrem"]},
    "blip_itm": {"scorers": ["blip_itm"], "image": VIT, "text": BERT},
    "laps": {"scorers": ["laps"], "image": VIT, "text": BERT},
    "late_interaction": {"scorers": ["late_interaction"], "image": VIT, "text": BERT},
    "clip": {"scorers": ["clip"], **CLIPS},
    "grm": {"scorers": ["grm"], "image": VIT, "text": BERT},
    "grm, noise per pair": {"scorers": ["grm.per_pair_noise"], "image": VIT},
    "scan, small batches": {"scorers": ["scan"], "batch": 2, "training": {"objective": "infonce"}},
    "one image": {"scorers": ["scan"], "images": 1},  # nothing is left for the second of two ranks
    "layers computed again": {
        "scorers": ["late_interaction"],
        "image": VIT,
        "text": BERT,
        "training": {"gradient_checkpointing": True},
    },
    "frozen towers": {"scorers": ["scan"], "image": VIT, "text": BERT, "frozen": True},
}
STEPS = 2
#: What two processes train: every scorer in chunks, and some in one piece each.
TOGETHER = [(name, 2) for name in CASES if "," not in name]
TOGETHER += [(name, None) for name in ("scan", "grm", "scan, small batches", "one image")]


@contextmanager
def no_chance():
    """Noise that is the same however a batch is cut."""
    rand, randn = torch.rand, torch.randn
    torch.rand = lambda *shape, generator=None, **options: torch.full(_sizes(shape), 0.4, **options)
    torch.randn = lambda *shape, generator=None, **options: torch.full(_sizes(shape), 0.3, **options)
    try:
        yield
    finally:
        torch.rand, torch.randn = rand, randn


def _sizes(shape):
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


def steps(case: Mapping[str, Any], micro_batch: int | None = None, ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """Losses, gradients of the last step and weights after it, of a few steps.

    The batches hold 9 pairs (or as the case says) of 8 images, the first of which has captions at both ends of the batch.
    """
    settings = {key: value for key, value in case.items() if key in ("scorers", "image", "text", "training")}
    experiment = {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 20, "val_images": 8, "test_images": 8, "image_size": 32},
        "seeds": 1,
        "image": REGIONS,
        "text": GRU,
        **settings,
        "training": {
            "batch_size": 9,
            "learning_rate": 1e-4,  # Adam makes much of the last bits of a gradient that is nearly zero
            "optimizer": "adam",
            "micro_batch": micro_batch,
            **settings.get("training", {}),
        },
    }
    cell = plan(load_experiment(experiment))[0]
    dataset = open_dataset(cell.dataset)
    scorer = build_scorer(cell, dataset)
    for module in scorer.modules():
        for name in [name for name, value in vars(module).items() if "dropout" in name and isinstance(value, float)]:
            setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if case.get("frozen"):
        for encoder in scorer.encoders:
            encoder.comes_trained = lambda config: True
            encoder.freeze()
    train = dataset.split("train")
    loop = Steps(scorer, train, cell.training, 0, ranks)
    scorer.train()
    if case.get("fixed_statistics"):
        for module in scorer.modules():
            module.train(not isinstance(module, nn.BatchNorm1d))
    scorer.objective = training.objective_of_epoch(1, cell.training)
    found: dict[str, Tensor] = {}
    update = loop.update

    def keep(total: Tensor) -> None:
        if loop.step == STEPS - 1:
            found.update(
                {f"gradient {name}": p.grad.clone() for name, p in scorer.named_parameters() if p.grad is not None}
            )
        update(total)

    loop.update = keep
    if case.get("images") == 1:  # without negatives the usual losses are zero
        scorer.losses = lambda images, texts, _: {"sum": scorer.score(images, texts).square().sum()}
    with training_towers(scorer, cell.training), no_chance():
        for number in range(STEPS):
            rows = _captions(number, case)
            losses = loop.run_step(loop.reader.read(rows, 0), torch.Generator().manual_seed(0))
            found |= {f"loss {number} {name}": value for name, value in losses.items()}
    return found | {f"weight {name}": value.detach().clone() for name, value in scorer.named_parameters()}


def _captions(number: int, case: Mapping[str, Any]) -> np.ndarray:
    """The captions of a batch; an image has five in a row."""
    if case.get("images") == 1:
        return 5 * number + np.arange(3)
    size = case.get("batch", 9)
    rows = 5 * number + 7 * np.arange(size)
    if size > 2:
        rows[-1] = rows[0] + 1  # another caption of the first image
    return rows


def rank(number: int, count: int, folder: Path) -> None:
    """A process that trains every case together with others, in one piece and in chunks, and leaves what it found."""
    torch.set_num_threads(1)
    with joined(number, count, torch.device("cpu"), str(folder / "meeting")) as group:
        for name, micro_batch in TOGETHER:
            torch.save(steps(CASES[name], micro_batch, group), folder / f"{name}-{micro_batch}-{number}.pt")


def distances(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative L2 distance of losses, of all gradients together and of all weights together."""
    assert found.keys() == expected.keys()
    kinds: dict[str, list[str]] = {}
    for name in expected:
        kinds.setdefault(name.split()[0], []).append(name)
    return {
        kind: float(
            torch.cat([(found[name] - expected[name]).double().flatten() for name in names]).norm()
            / torch.cat([expected[name].double().flatten() for name in names]).norm()
        )
        for kind, names in kinds.items()
    }
