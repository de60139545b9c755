"""Diagnostics of runs: recorded with a run, made later from its weights, shown on its page, never at a run's cost."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from harness import registry
from harness.errors import InvalidDataset
from harness.metrics import retrieval_metrics
from harness.records.parts import Diagnostics
from harness.records.store import RunStore
from harness.reports.document import render
from harness.reports.leaderboard import report as leaderboard
from harness.runs.building import load_scorer, open_dataset
from harness.runs.completion import complete_diagnostics
from harness.runs.diagnostics import FEWEST_OCCURRENCES
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.scoring.inputs import encode_split
from harness.spec import load_experiment

CPU = torch.device("cpu")


def run(tiny, store, *overrides, scorers=("grm",)):
    spec = load_experiment({**tiny, "scorers": list(scorers)}, overrides)
    return run_cells(plan(spec), store, device=CPU).records


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """GRM, SCAN and late interaction of one tiny experiment, GRM with two seeds."""
    store = RunStore(tmp_path_factory.mktemp("diagnosed"))
    tiny = {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
        "image": {"name": "regions", "width": 16},
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
        "evaluation": {"cost_repeats": 3},
        "protocols": ["full", "scenes_relevance"],
        "seeds": 2,
    }
    return store, run(tiny, store, scorers=("grm", "scan", "late_interaction"))


def of(records, scorer):
    return next(record for record in records if record.scorer == scorer)


def test_the_recorded_levels_rank_as_the_levels_of_the_saved_model_do(trained):
    store, records = trained
    record = of(records, "grm")
    split = open_dataset_of(record).split("test")
    scorer = load_scorer(store, record.run_id)
    images, texts = encode_split(scorer, split)
    with torch.no_grad():
        naive = scorer.levels(images, texts)
    assert list(record.diagnostics.levels) == ["original", "salient", "uncertain"]
    for name, level in record.diagnostics.levels.items():
        expected = retrieval_metrics(naive[name], split.caption_image)
        assert level.metrics["full"]["rsum"] == pytest.approx(expected["rsum"], abs=1.0)
        assert "scenes_relevance" in level.metrics
    total = sum(level.weight * naive[name] for name, level in record.diagnostics.levels.items())
    assert retrieval_metrics(total, split.caption_image)["rsum"] == pytest.approx(
        record.metrics["full"]["rsum"], abs=1.0
    )
    tables = store.level_ranks(record.run_id)
    assert {name.split("/")[0] for name in tables} == set(record.diagnostics.levels)
    r1 = 100 * float(np.mean(tables["original/full"].t2i_rank < 1))
    assert r1 == pytest.approx(record.diagnostics.levels["original"].metrics["full"]["t2i_r1"])


def open_dataset_of(record):
    from harness.spec import RunSpec

    return open_dataset(RunSpec.model_validate(record.spec).dataset)


def test_words_are_means_over_their_occurrences(trained):
    store, records = trained
    record = of(records, "grm")
    scorer = load_scorer(store, record.run_id)
    split = open_dataset_of(record).split("test")
    by_word: dict[str, list[float]] = {}
    for caption in split.captions:  # one by one, so without padding
        tokens = scorer.text_encoder.tokenizer([caption])
        with torch.no_grad():
            gates = scorer.encode_texts(tokens).extras["gates"][0].tolist()
        words = [scorer.text_encoder.tokenizer.vocabulary.entries[i] for i in tokens.ids[0].tolist()]
        for word, gate in zip(words, gates, strict=True):
            by_word.setdefault(word, []).append(gate)
    means = sorted((sum(g) / len(g), word) for word, g in by_word.items() if len(g) >= FEWEST_OCCURRENCES)
    found = record.diagnostics.readings["word_gate"]
    assert found.count == sum(map(len, by_word.values()))
    assert len(found.lowest_words) == min(12, len(means) // 2) > 0
    assert found.lowest_words[0].mean == pytest.approx(means[0][0], abs=1e-5)
    assert found.highest_words[0].mean == pytest.approx(means[-1][0], abs=1e-5)
    assert found.lowest_words[0].count == len(by_word[found.lowest_words[0].word])


def test_other_scorers_have_what_they_offer(trained):
    _, records = trained
    assert of(records, "scan").diagnostics == Diagnostics()
    assert list(of(records, "late_interaction").diagnostics.levels) == ["i2t", "t2i"]
    assert not of(records, "late_interaction").diagnostics.readings


def test_a_record_without_diagnostics_gets_them_from_its_weights(trained):
    store, records = trained
    record = of(records, "grm")
    ranks = store.level_ranks(record.run_id)
    assert not complete_diagnostics(store, record.run_id, CPU, {})  # it has them
    path = store.folder(record.run_id) / "record.json"
    before = path.read_text()
    earlier = {key: value for key, value in json.loads(before).items() if key != "diagnostics"}
    path.write_text(json.dumps(earlier))  # as an earlier version wrote it
    (path.parent / "level_ranks.npz").unlink()
    with pytest.raises(InvalidDataset, match="data of 'scenes' are not those of run"):
        complete_diagnostics(store, record.run_id, CPU, {"test_images": 13})
    assert complete_diagnostics(store, record.run_id, CPU, {})
    assert store.require(record.run_id) == record
    assert store.level_ranks(record.run_id).keys() == ranks.keys()


def test_the_page_shows_each_level_with_its_interval(trained):
    store, records = trained
    report = leaderboard.build(store, [record.run_id for record in records], title="test")
    (section,) = [s for s in report.sections if s.title == "What each level ranks alone: scenes test, full"]
    levels, readings = section.tables
    rows = levels.frame[levels.frame["label"] == "grm"]
    assert rows["level"].tolist() == ["all, weighted", "original", "salient", "uncertain"]
    seeds = [r for r in records if r.scorer == "grm"]
    for name in ("original", "salient", "uncertain"):
        row = rows[rows["level"] == name].iloc[0]
        values = [r.diagnostics.levels[name].metrics["full"]["rsum"] for r in seeds]
        assert row["rsum"] == pytest.approx(np.mean(values))
        assert row["rsum_sd"] == pytest.approx(np.std(values, ddof=1))
        assert row["rsum_low"] < row["rsum"] < row["rsum_high"]
    assert set(readings.frame["label"]) == {"grm"}
    board = report.data["boards"][0]
    assert [row["level"] for row in board["levels"] if row["label"] == "grm"] == rows["level"].tolist()
    json.dumps(report.data)


def test_words_on_the_page_are_text(trained, tmp_path):
    """Words come from captions, which may hold markup."""
    store, records = trained
    record = of(records, "grm")
    readings = dict(record.diagnostics.readings)
    evil = readings["word_gate"].lowest_words[0].model_copy(update={"word": "<script>alert(1)</script>"})
    readings["word_gate"] = readings["word_gate"].model_copy(update={"lowest_words": (evil,)})
    other = RunStore(tmp_path)
    changed = record.model_copy(update={"diagnostics": record.diagnostics.model_copy(update={"readings": readings})})
    other.write_ranks(record.run_id, store.ranks(record.run_id))
    other.write(changed)
    report = leaderboard.build(other, [record.run_id], title="test")  # the ranks of its levels are gone, too
    page = render.render(report, "html")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


BROKEN = """
from harness.baselines.scan import Scan

class Broken(Scan):
    def score_levels(self):
        raise RuntimeError("no such level")
"""


def test_a_scorer_whose_levels_fail_keeps_its_run(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    (tmp_path / "broken_levels.py").write_text(BROKEN)
    registry.add_plugin(tmp_path / "broken_levels.py")
    with caplog.at_level(logging.WARNING):
        (record,) = run(tiny, RunStore(tmp_path), "training.epochs=0", scorers=("broken_levels",))
    assert record.status == "finished"
    assert record.diagnostics == Diagnostics()
    assert "has no diagnostics: RuntimeError: no such level" in caplog.text


def test_diagnostics_can_be_left_out_and_are_no_part_of_the_run(tiny, tmp_path):
    store = RunStore(tmp_path)
    (without,) = run(tiny, store, "training.epochs=0", "evaluation.diagnostics=false")
    assert without.diagnostics == Diagnostics()
    assert not store.level_ranks(without.run_id)
    (same,) = run(tiny, store, "training.epochs=0")
    assert same.run_id == without.run_id
