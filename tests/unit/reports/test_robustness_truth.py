"""Margins and uncertainties in the robustness report: the numbers of others' code on the same outcomes."""

from __future__ import annotations

import made_outcomes
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from harness.records.outcomes import Measure
from harness.records.store import RunStore
from harness.reports.robustness.report import build

PICTURES = 60


def measures(scorer: str, seed: int):
    """One level of truth: correct answers, margins that tell of them, true captions, and what one method is unsure of."""
    draw = made_outcomes.draw_of("truth", scorer, seed)
    ids = np.array([f"p{n:03}" for n in range(PICTURES)])
    correct = (draw.random(PICTURES) < 0.5).astype(float)
    margin = np.abs(draw.normal(0, 1, PICTURES) + (2.0 if scorer == "grm" else 0.3) * correct)
    truths = np.random.default_rng(5).integers(1, 30, PICTURES).astype(float)
    values = {"i2t_correct": ("hit", correct), "i2t_margin": ("value", margin), "i2t_truths": ("value", truths)}
    if scorer == "grm":
        values["uncertainty"] = ("value", truths + draw.normal(0, 9, PICTURES))
    return [
        Measure(name, unit, ids[::-1] if name == "uncertainty" else ids, ids[::-1] if name == "uncertainty" else ids,
                (row[::-1] if name == "uncertainty" else row)[None])
        for name, (unit, row) in values.items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("truth"))
    for scorer in ("grm", "clip"):
        for seed in range(3):
            run = made_outcomes.record(store, scorer, seed)
            made_outcomes.write(store, run.run_id, "truth/pairs", measures(scorer, seed), levels=["scenes_relevance"])
    return build(store, store.records(), title="x")


def value(report, key: str, method: str) -> dict:
    return next(row for row in report.data["scores"] if (row["key"], row["method"]) == (f"truth/pairs/{key}", method))


@pytest.mark.parametrize("method", ["grm", "clip"])
def test_margins_have_the_auroc_of_scikit_learn(report, method):
    own = [{one.name: one.values[0] for one in measures(method, seed)} for seed in range(3)]
    wanted = np.mean([100 * roc_auc_score(one["i2t_correct"], one["i2t_margin"]) for one in own])
    found = value(report, "scenes_relevance/i2t_auroc", method)
    assert found["value"] == pytest.approx(wanted)
    assert found["value_low"] < wanted < found["value_high"]
    assert found["chance"] == 50.0


def test_whose_margins_tell_more_is_tested(report):
    row = next(row for row in report.data["pairs"] if row["key"].endswith("i2t_auroc"))
    wanted = value(report, "scenes_relevance/i2t_auroc", row["a"])["value"]
    assert row["difference"] == pytest.approx(
        wanted - value(report, "scenes_relevance/i2t_auroc", row["b"])["value"], abs=1e-6
    )
    assert row["significant"]


def test_uncertainty_is_set_against_the_number_of_true_captions_by_picture(report):
    wanted = []
    for seed in range(3):
        own = {one.name: dict(zip(one.item, one.values[0], strict=True)) for one in measures("grm", seed)}
        ids = sorted(own["uncertainty"])
        wanted.append(spearmanr([own["uncertainty"][i] for i in ids], [own["i2t_truths"][i] for i in ids]).statistic)
    found = value(report, "uncertainty", "grm")
    assert found["value"] == pytest.approx(np.mean(wanted))
    assert 0 < found["value_low"] < found["value"] < found["value_high"] < 1
    assert not any(row["key"].endswith("uncertainty") and row["method"] == "clip" for row in report.data["scores"])


def uncertain(tmp_path, levels: list[str], truths: np.ndarray, uncertainty: np.ndarray | None = None):
    """The report of two methods of which one is unsure: truths (L, pictures) of its levels."""
    store = RunStore(tmp_path)
    own = np.random.default_rng(3).random(PICTURES) if uncertainty is None else uncertainty
    for scorer in ("grm", "clip"):
        made = measures(scorer, 0)
        ids = np.array([f"p{n:03}" for n in range(PICTURES)])
        several = [
            Measure(one.name, one.unit, one.item, one.image, np.tile(one.values, (len(levels), 1)))
            for one in made
            if one.name in ("i2t_correct", "i2t_margin")
        ]
        several.append(Measure("i2t_truths", "value", ids, ids, truths))
        if scorer == "grm":
            several.append(Measure("uncertainty", "value", ids, ids, np.tile(own, (len(levels), 1))))
        run = made_outcomes.record(store, scorer, 0)
        made_outcomes.write(store, run.run_id, "truth/pairs", several, levels=levels)
    return build(store, store.records(), title="x"), own


def correlations(report) -> list[float]:
    return [row["value"] for row in report.data["scores"] if row["key"] == "truth/pairs/uncertainty"]


def test_the_number_of_own_captions_is_no_number_of_true_ones(tmp_path):
    report, _ = uncertain(tmp_path, ["own"], np.full((1, PICTURES), 5.0))  # as in Flickr30k, of which no more is known
    assert correlations(report) == []
    assert any(row["key"] == "truth/pairs/own/i2t_auroc" for row in report.data["scores"])


def test_a_constant_uncertainty_has_no_correlation(tmp_path):
    truths = np.stack([np.full(PICTURES, 5.0), np.arange(PICTURES) + 1.0])
    report, _ = uncertain(tmp_path, ["own", "scenes_relevance"], truths, np.ones(PICTURES))
    assert correlations(report) == []


def test_pictures_that_a_protocol_does_not_ask_have_no_part_in_the_correlation(tmp_path):
    known = np.random.default_rng(5).integers(1, 30, PICTURES).astype(float)
    known[::3] = np.nan  # as ECCV Caption asks some of COCO's pictures; of human, which comes last, no number is known
    truths = np.stack([np.full(PICTURES, 5.0), known, np.full(PICTURES, np.nan)])
    report, own = uncertain(tmp_path, ["own", "eccv_caption", "human"], truths)
    asked = ~np.isnan(known)
    assert correlations(report) == [pytest.approx(spearmanr(own[asked], known[asked]).statistic)]
