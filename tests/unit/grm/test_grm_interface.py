"""GRM among the scorers: names, widths, states, variants, recipe, explanations, and what it says of bad input."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import grm_naive as naive
import numpy as np
import pytest
import torch

from harness.errors import CannotEncode, InvalidFragments, InvalidSpec, UnknownName
from harness.fragments import Fragments
from harness.registry import create, names, resolve_config, scorer_class, variants
from harness.spec import TrainingSpec

WIDTH = 6
IMAGES = naive.ragged(4, 5, WIDTH, seed=1, shortest=2, holes=True)
TEXTS = naive.ragged(4, 4, WIDTH, seed=2, holes=True)
IDS = torch.arange(4)
PUBLISHED = Path(__file__).parents[3] / "reports" / "published" / "data" / "published.csv"


class Encoder(torch.nn.Module):
    """Hands on the fragments that it is given; has the attributes that GRM reads of a backbone."""

    def __init__(self, width: int, class_tokens: int = 0):
        super().__init__()
        self.width, self.class_tokens = width, class_tokens

    def forward(self, batch: Fragments) -> Fragments:
        return batch


def test_grm_is_registered_and_says_what_it_is():
    assert "grm" in names()
    cls = scorer_class("grm")
    assert cls.origin == "re-implementation"
    assert "AAAI 2026" in cls.citation


def test_the_width_comes_from_the_first_fragments():
    scorer = create("grm")
    assert not list(scorer.parameters())
    with torch.inference_mode():
        assert scorer.score(IMAGES, TEXTS).shape == (4, 4)
    sum(scorer.losses(IMAGES, TEXTS, IDS).values()).backward()  # also when first used where nothing is trained
    assert scorer.parts.significance.hidden.in_features == WIDTH


def test_fragments_of_another_width_are_refused():
    scorer = create("grm", width=WIDTH)
    other = Fragments(torch.randn(2, 3, WIDTH + 1), torch.ones(2, 3, dtype=torch.bool))
    prepared = Fragments(other.features, other.mask, {"gates": torch.ones(2, 3)})
    for texts in (other, prepared):
        with pytest.raises(InvalidFragments, match="captions have width 7, but this Grm was built for width 6"):
            scorer.score(IMAGES, texts)
    with pytest.raises(InvalidFragments, match="images have width 7"):
        scorer.score(other, TEXTS)


def test_the_width_and_the_class_token_come_from_the_encoders():
    scorer = create("grm", image_encoder=Encoder(WIDTH, class_tokens=1), text_encoder=Encoder(WIDTH)).eval()
    assert scorer.parts.significance.hidden.in_features == WIDTH
    images = naive.ragged(4, 5, WIDTH, seed=1, shortest=5)
    plain = create("grm", width=WIDTH).eval()
    plain.load_state_dict(scorer.state_dict())
    rest = Fragments(images.features[:, 1:], images.mask[:, 1:])
    torch.testing.assert_close(
        scorer.encode_images(images).extras["regions"], plain.prepare_images(rest).extras["regions"]
    )
    absent = create("grm", image_encoder=Encoder(WIDTH, 1), text_encoder=Encoder(WIDTH), class_token="absent").eval()
    absent.load_state_dict(scorer.state_dict())
    torch.testing.assert_close(
        absent.encode_images(images).extras["regions"], plain.prepare_images(images).extras["regions"]
    )


def test_widths_that_disagree_are_refused():
    with pytest.raises(InvalidSpec, match="6 from the image backbone, 7 from the text backbone"):
        create("grm", image_encoder=Encoder(6), text_encoder=Encoder(7))
    with pytest.raises(InvalidSpec, match="5 from the config"):
        create("grm", image_encoder=Encoder(6), text_encoder=Encoder(6), width=5)


def test_without_encoders_it_cannot_encode():
    with pytest.raises(CannotEncode):
        create("grm").encode_images(IMAGES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weight_original": 0, "weight_salient": 0, "weight_uncertain": 0}, "at least one level"),
        ({"weight_salient": 0, "ranking": ("salient",)}, "rank by a level with a positive weight"),
        ({"gate_temperature": 0}, "gate_temperature"),
        ({"regions": -1}, "regions"),
        ({"granularity": "medium"}, "granularity"),
        ({"logvar_min": 5.0}, "logvar_min"),
        ({"region": 5}, "regions"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(config, message):
    with pytest.raises(InvalidSpec, match=message):
        create("grm", **config)


def test_an_unknown_variant_is_answered_with_near_ones():
    with pytest.raises(UnknownName, match="no_uncertainty"):
        create("grm.no_uncertainity")


@pytest.mark.parametrize("variant", ["", "no_significance", "no_gates", "no_prompting", "no_uncertainty"])
def test_a_state_goes_into_a_fresh_scorer_that_has_seen_no_fragments(variant):
    name = f"grm.{variant}" if variant else "grm"
    trained = create(name).eval()
    scores = trained.score(IMAGES, TEXTS)
    fresh = create(name).eval()
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.score(IMAGES, TEXTS), scores)
    assert fresh.state_dict().keys() == trained.state_dict().keys()
    assert torch.equal(copy.deepcopy(trained).score(IMAGES, TEXTS), scores)


def test_training_draws_anew_and_can_be_seeded_by_torch_or_by_a_generator():
    scorer = create("grm", width=WIDTH)

    def seeded_by_torch(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return scorer.score(IMAGES, TEXTS)

    def seeded_by_generator(seed: int) -> torch.Tensor:
        scorer.generator = torch.Generator().manual_seed(seed)
        return scorer.score(IMAGES, TEXTS)

    for scores in (seeded_by_torch, seeded_by_generator):
        assert torch.equal(scores(1), scores(1))
        assert not torch.equal(scores(1), scores(2))


def test_every_variant_changes_the_config_unless_it_repeats_the_best_published_value():
    default = resolve_config("grm", {})
    same = {name for name in variants("grm") if resolve_config(f"grm.{name}", {}) == default}
    assert same == {"regions_5", "weights_40_40_20"}


def test_the_variants_hold_the_published_sweeps():
    config = {name: resolve_config(f"grm.{name}", {}) for name in variants("grm")}
    assert {config[f"regions_{k}"].regions for k in (5, 15, 25, 35, 45, 50, 55)} == {5, 15, 25, 35, 45, 50, 55}
    weights = [c for name, c in config.items() if name.startswith("weights_")]
    assert len(weights) == 6
    for c in weights:
        assert c.weight_original + c.weight_salient + c.weight_uncertain == pytest.approx(1.0)
    assert config["no_prompting"].regions == 0
    assert config["no_uncertainty"].uncertainty == "off"
    assert (config["no_significance"].significance, config["no_granularity"].granularity) == ("off", "off")


def test_the_recipe_is_a_training_spec():
    spec = TrainingSpec(**scorer_class("grm").recipe)
    assert (spec.epochs, spec.batch_size, spec.learning_rate, spec.decay_epochs) == (30, 64, 2e-4, (9, 15, 20, 25))


def test_the_published_ablation_is_that_of_the_published_table():
    with PUBLISHED.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] == "GRM" and "(AAAI 2026" in row[-1]]
    printed = {row[1]: float(row[-2]) for row in rows if row[1].startswith("ablation: w/o")}
    labels = {
        "no_significance": "SA (",
        "no_granularity": "GA (",
        "no_prompting": "RP (",
        "no_uncertainty": "UM (",
        "no_original_level": "L_con^ori",
        "no_salient_level": "L_con^key",
        "no_uncertain_level": "L_con^unc",
        "no_reconstruction": "L_recon",
        "no_regularisation": "L_reg",
    }
    expected = {
        v: next(r for name, r in printed.items() if name.startswith(f"ablation: w/o {label}"))
        for v, label in labels.items()
    }
    table = dict(scorer_class("grm").published_ablation)
    assert table.pop("") == 516.2
    assert table == expected
    assert set(expected) <= set(variants("grm"))


@pytest.mark.parametrize("config", [{}, {"regions": 0}, {"gate_order": "none"}, {"uncertainty": "off"}], ids=str)
def test_an_explanation_adds_up_to_the_score(config):
    scorer = create("grm", width=WIDTH, **config)
    told = scorer.explain(IMAGES, TEXTS)
    assert scorer.training
    model = naive.Model.of(scorer, order=config.get("gate_order", "norm_then_gate"))
    with torch.no_grad():
        scores = scorer.eval().score(IMAGES, TEXTS)
    np.testing.assert_allclose(told.score, scores.diagonal(), atol=1e-6)
    for n, (patches, words) in enumerate(zip(naive.real(IMAGES), naive.real(TEXTS), strict=True)):
        expected = naive.pair_levels(model, patches, words)
        salient = told.salient_similarity[n]
        by_word, by_patch = np.nanmax(salient, 1, initial=-9), np.nanmax(salient, 0, initial=-9)
        rebuilt = by_word[told.word_mask[n]].mean() + by_patch[told.patch_mask[n]].mean()
        assert rebuilt == pytest.approx(expected["salient"], abs=1e-5)
        for level, value in expected.items():
            assert told.levels[level][n] == pytest.approx(value, abs=1e-5)
        for w in np.flatnonzero(told.word_mask[n]):
            assert salient[w, told.best_patch[n, w]] == by_word[w]
        gates = naive.gates(model, "significance", patches)
        np.testing.assert_allclose(told.patch_gates[n][IMAGES.mask[n].numpy()], gates, atol=1e-6)
        regions = naive.regions(model, gates[:, None] * patches)
        cosines = [[float(naive.unit(t) @ naive.unit(u)) for u in regions] for t in words]
        found = told.region_similarity[n][told.word_mask[n]][:, told.region_mask[n]]
        np.testing.assert_allclose(found, cosines, atol=1e-5)


def test_an_explanation_marks_padding_and_has_the_documented_shapes():
    told = create("grm", width=WIDTH, regions=3).explain(IMAGES, TEXTS)
    real = TEXTS.mask.numpy()[:, :, None] & IMAGES.mask.numpy()[:, None]
    assert np.array_equal(np.isnan(told.similarity), ~real)
    assert np.array_equal(told.best_patch == -1, ~TEXTS.mask.numpy())
    assert np.array_equal(told.best_word == -1, ~IMAGES.mask.numpy())
    np.testing.assert_allclose(np.nansum(told.region_attention, 2), 1, atol=1e-5)
    assert told.region_attention.shape == (4, 3, 5)
    assert told.region_variance.shape == (4, 3, WIDTH)
    np.testing.assert_allclose(told.region_variance, 1, atol=0.02)  # as initialised
    without = create("grm", width=WIDTH, uncertainty="off").explain(IMAGES, TEXTS)
    assert not without.region_variance.any()


def test_one_image_is_explained_against_many_captions():
    scorer = create("grm", width=WIDTH).eval()
    told = scorer.explain(IMAGES[[1]], TEXTS)
    np.testing.assert_allclose(told.score, scorer.score(IMAGES, TEXTS)[1].detach(), atol=1e-6)
    with pytest.raises(InvalidFragments, match="3 images and 4 captions do not pair up"):
        scorer.explain(IMAGES[:3], TEXTS)


def test_a_scorer_without_regions_is_explained_without_them():
    off = {"weight_uncertain": 0, "weight_reconstruction": 0, "weight_kl": 0, "weight_entropy": 0}
    told = create("grm", width=WIDTH, **off).explain(IMAGES, TEXTS)
    assert told.region_attention.shape == (4, 0, 5)
    assert set(told.levels) == {"original", "salient"}
    assert (told.best_region == -1).all()


def test_extras_of_others_are_kept():
    boxes = torch.rand(4, 5, 4)
    prepared = create("grm", width=WIDTH).prepare_images(Fragments(IMAGES.features, IMAGES.mask, {"boxes": boxes}))
    assert prepared.extras["boxes"] is boxes
    assert prepared.extras["gates"].shape == (4, 5)
