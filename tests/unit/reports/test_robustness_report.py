"""The robustness report: its numbers are those of the outcomes, unequal questions are never compared, and it says why."""

from __future__ import annotations

import json
import math
from itertools import combinations

import made_outcomes
import numpy as np
import pytest

from harness.errors import InvalidRecord, UnknownName
from harness.records.store import RunStore
from harness.reports.document import render
from harness.reports.robustness.report import build
from harness.reports.robustness.testing import pairs_of
from harness.reports.statistics.chance import random_scorer

SKILLS = {"grm": 0.8, "scan": 0.65, "chan": 0.62, "clip": 0.4}


def made(folder, write) -> RunStore:
    """Runs of four methods, three seeds each, and their outcomes."""
    store = RunStore(folder)
    for scorer, skill in SKILLS.items():
        for seed in range(3):
            run = made_outcomes.record(store, scorer, seed)
            write(store, run.run_id, scorer, seed, skill)
    return store


def report(store: RunStore, **options):
    return build(store, store.records(), title="Robustness: made", **options)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Outcomes of all families, not to be changed, and their report."""
    store = made(tmp_path_factory.mktemp("everything"), made_outcomes.fill)
    return store, report(store)


@pytest.fixture
def asked(tmp_path) -> RunStore:
    """Outcomes of composition alone, for a test to change."""
    return made(
        tmp_path, lambda store, run_id, scorer, *of: made_outcomes.confuse(store, run_id, (scorer, of[0]), of[1])
    )


def run_of(store: RunStore, scorer: str, seed: int) -> str:
    return next(r.run_id for r in store.records() if (r.scorer, r.seed) == (scorer, seed))


def rsum_of(table, level: int) -> float:
    """rSum of a table at a level, query by query."""
    sides = [table.measure(f"{direction}_rank").values[level] for direction in ("i2t", "t2i")]
    return 100 * sum(float(np.mean([rank < k for rank in ranks])) for ranks in sides for k in (1, 5, 10))


def value(frame, key: str, method: str) -> float:
    (row,) = frame[(frame["key"] == key) & (frame["method"] == method)].to_dict("records")
    return row["value"]


def test_numbers_are_those_of_the_outcomes_query_by_query(everything):
    store, page = everything
    tables = [store.outcomes(run_of(store, "scan", seed), "images", "noise") for seed in range(3)]
    for level in (0, 3):
        by_hand = np.mean([rsum_of(table, level) for table in tables])
        assert value(page.main, f"images/noise/{level}", "scan") == pytest.approx(by_hand)
    curves = [[rsum_of(table, level) for level in range(6)] for table in tables]
    kept = np.mean([100 * np.trapezoid(curve) / 5 / curve[0] for curve in curves])
    assert value(page.main, "images/noise/kept", "scan") == pytest.approx(kept)


def test_the_mean_over_kinds_has_every_kind_once_and_no_false_caption(everything):
    frame = everything[1].main
    for family, kinds in (("images", ("noise", "blur", "jpeg")), ("captions", ("typos", "swapped_words"))):
        own = [value(frame, f"{family}/{kind}/kept", "chan") for kind in kinds]
        assert value(frame, f"{family}/kept", "chan") == pytest.approx(np.mean(own))


def test_above_chance_a_random_order_is_taken_off_what_is_left_and_off_the_whole(everything):
    """Kind by kind and seed by seed, with the expected rSum of an order of 60 pictures and 180 captions."""
    store, page = everything
    floor = sum(100 * (1 - math.comb(177, k) / math.comb(180, k)) + 100 * k / 60 for k in (1, 5, 10))
    shares = []
    for kind in ("noise", "blur", "jpeg"):
        tables = [store.outcomes(run_of(store, "scan", seed), "images", kind) for seed in range(3)]
        curves = [[rsum_of(table, level) for level in range(6)] for table in tables]
        shares.append(np.mean([100 * (np.trapezoid(c) / 5 - floor) / (c[0] - floor) for c in curves]))
    found = value(page.main, "images/kept_above_chance", "scan")
    assert found == pytest.approx(np.mean(shares))
    assert found < value(page.main, "images/kept", "scan")


def test_the_clutter_slope_is_the_least_squares_line(everything):
    store, page = everything
    slopes = []
    for seed in range(3):
        table = store.outcomes(run_of(store, "grm", seed), "clutter", "objects")
        slopes.append(np.polyfit(table.about.values, [rsum_of(table, level) for level in range(6)], 1)[0])
    assert value(page.main, "clutter/objects/slope", "grm") == pytest.approx(np.mean(slopes))


def test_a_stratum_has_its_own_queries_alone(everything):
    store, page = everything
    recalls = []
    for seed in range(3):
        table = store.outcomes(run_of(store, "grm", seed), "strata", "objects")
        sides = [table.measure(f"{direction}_rank").values[2] for direction in ("i2t", "t2i")]
        recalls.append(100 * sum(np.nanmean(np.where(np.isnan(r), np.nan, r < k)) for r in sides for k in (1, 5, 10)))
    assert value(page.main, "strata/objects/2", "grm") == pytest.approx(np.mean(recalls))


def test_the_gain_over_a_uniform_map_is_a_difference_word_by_word(everything):
    store, page = everything
    gains = []
    for seed in range(3):
        table = store.outcomes(run_of(store, "scan", seed), "grounding", "scenes")
        gains.append(100 * np.mean(table.measure("pointing").values - table.measure("pointing_uniform").values))
    assert value(page.main, "grounding/scenes/pointing_gain", "scan") == pytest.approx(np.mean(gains))


def test_the_worst_case_is_the_least_of_all_kinds_and_severities(everything):
    store, page = everything
    summary = next(table for table in page.tables if table.key == "summary").frame.set_index("method")
    kept = {}
    for family, kinds in (
        ("images", ("noise", "blur", "jpeg")),
        ("captions", ("typos", "swapped_words")),
        ("regions", ("dropped",)),
    ):
        for kind in kinds:
            tables = [store.outcomes(run_of(store, "clip", seed), family, kind) for seed in range(3)]
            for level in range(1, 6):
                kept[kind, level] = np.mean([100 * rsum_of(t, level) / rsum_of(t, 0) for t in tables])
    (kind, level), least = min(kept.items(), key=lambda item: item[1])
    assert summary["worst"]["clip"] == pytest.approx(least)
    assert summary["worst_kind"]["clip"] == f"{kind}, {level}"


def test_every_format_is_written_and_names_every_family(everything, tmp_path):
    store, page = everything
    files = {path.name for path in render.write(page, tmp_path)}
    assert {f"robustness.{format}" for format in ("html", "md", "csv", "json", "tex")} < files
    assert "robustness-pairs.csv" in files
    titles = [section.title for section in page.sections]
    assert titles[0] == "Summary"
    assert {"Perturbed pictures", "Clutter", "Composition", "Grounding", "Strata of the test split"} < set(titles)
    named = json.loads((tmp_path / "robustness.json").read_text())["data"]["run_ids"]
    assert sorted(named) == sorted(record.run_id for record in store.records())
    assert "Clean rSum" in (tmp_path / "robustness.tex").read_text()


def test_a_refusal_is_a_dash_with_its_reason(everything):
    page = everything[1]
    assert "clip aligns nothing" in render.render(page, "md")
    summary = next(table for table in page.tables if table.key == "summary")
    (row,) = [cells for cells in summary.rows() if cells[0].main == "clip"]
    assert row[-1].main == "—"


def test_what_contains_chance_is_not_told_from_it_and_not_called_chance(everything):
    section = next(s for s in everything[1].sections if s.title == "Composition")
    at_chance = [sentence for sentence in section.sentences if sentence.startswith("Not told from chance (50.0 %)")]
    assert any("scenes-count" in sentence for sentence in at_chance)
    assert not any("grm" in sentence for sentence in at_chance if "swap_object" in sentence)


def test_what_could_be_detected_is_said_of_the_hardest_pair_too(asked):
    """A difference as large as the easiest pair's limit need not be found of another pair."""
    for record in asked.records():
        for kind in ("scenes-count", "scenes-swap_object"):
            correct = made_outcomes.hits(
                "correct", 0.6, record.scorer if record.scorer == "scan" else "same", record.seed
            )
            stated = {"chance": {"correct": 0.5}}
            made_outcomes.write(asked, record.run_id, f"composition/{kind}", [correct], inputs=stated)
    page = report(asked)
    said = next(sentence for sentence in page.sentences if "No pair is told apart" in sentence)
    limits = [row["detectable"] for row in page.data["pairs"] if row["key"] == "composition/scenes/mean"]
    assert f"detects {min(limits):.1f} to {max(limits):.1f}" in said


def test_probes_that_nobody_answered_are_not_counted(asked):
    before = report(asked).sentences[0]
    assert before.endswith("all answered the same.")
    for record in asked.records():
        made_outcomes.write(asked, record.run_id, "regions/dropped", [], refused="no regions")
    assert report(asked).sentences[0] == before
    other = made_outcomes.hits("correct", 0.9, "x")
    made_outcomes.write(asked, run_of(asked, "chan", 1), "composition/scenes-count", [other], inputs={"data": "c" * 64})
    assert "only those that answered the same are compared" in report(asked).sentences[0]


def test_what_a_random_order_keeps_is_beside_the_worst_case(everything):
    page = everything[1]
    draw = np.random.default_rng(0)
    images, captions = made_outcomes.PICTURES, made_outcomes.PICTURES * made_outcomes.CAPTIONS
    own = made_outcomes.CAPTIONS
    firsts = np.array([draw.permutation(captions)[:own].min() for _ in range(20_000)])
    by_draws = sum(100 * (firsts < k).mean() + 100 * k / images for k in (1, 5, 10))
    found = random_scorer(np.repeat(np.arange(images), own), images).scores["rsum"]
    assert found == pytest.approx(by_draws, abs=1.0)
    reading = next(section for section in page.sections if section.title == "Summary").reading
    assert any(f"A random order has an rSum of {found:.1f} here" in said for said in reading)


def test_what_is_left_is_the_same_number_in_the_sentence_and_in_the_table(everything):
    page = everything[1]
    said = next(sentence for sentence in page.sentences if sentence.startswith("rSum from "))
    for method in SKILLS:
        assert f"({value(page.main, 'clutter/objects/left', method):.0f} % left)" in said.partition(f"{method} ")[2]


def test_no_verdict_calls_an_open_difference_none(everything):
    said = " ".join(sentence for section in everything[1].sections for sentence in section.sentences)
    assert "not told apart does not mean equal" in said
    assert "no difference" not in said.replace("never means no difference", "")


def test_captions_that_were_made_false_are_read_the_other_way_round(everything):
    table = next(table for table in everything[1].tables if table.key == "captions")
    assert {c.key: c.better for c in table.columns if c.key != "method"} == {
        "captions/kept": "higher", "captions/kept_above_chance": "higher",
        "captions/swapped_words/kept": "higher", "captions/typos/kept": "higher",
        "captions/wrong_attribute/kept": "lower",
    }  # fmt: skip


def test_other_questions_are_set_apart_with_the_reason(asked):
    other = made_outcomes.hits("correct", 0.9, "x")
    run_id = run_of(asked, "chan", 1)
    made_outcomes.write(asked, run_id, "composition/scenes-count", [other], inputs={"data": "c" * 64})
    page = report(asked)
    having = {key: set(own["method"]) for key, own in page.main.groupby("key")}
    assert "chan" not in having["composition/scenes-count/correct"]
    assert "chan" not in having["composition/scenes/mean"]
    assert "chan" in having["composition/scenes-swap_object/correct"]
    assert "seed 1 was asked other questions, which are not compared" in render.render(page, "md")


def test_other_items_are_set_apart_with_the_reason(asked):
    for seed in range(3):
        fewer = made_outcomes.hits("correct", 0.9, "x", seed, pictures=40)
        stated = {"chance": {"correct": 0.5}}
        made_outcomes.write(asked, run_of(asked, "chan", seed), "composition/scenes-count", [fewer], inputs=stated)
    page = report(asked)
    assert "chan" not in set(page.main[page.main["key"] == "composition/scenes-count/correct"]["method"])
    assert "its items of 'correct' are not those of the other methods" in render.render(page, "md")


def test_a_run_without_answers_is_left_out_and_named(asked):
    for path in (asked.folder(run_of(asked, "scan", 2)) / "outcomes").rglob("*.npz"):
        path.unlink()
    page = report(asked)
    assert "scan: no answers of seed 2" in render.render(page, "md")
    assert page.data["claims"]["composition"] == "checkpoint"


def test_damaged_answers_are_named_and_leave_the_others(asked, caplog):
    path = asked.outcomes_path(run_of(asked, "scan", 0), "composition", "scenes-count")
    path.write_bytes(b"nothing")
    page = report(asked)
    assert "scenes-count" in caplog.text
    assert "scan" not in set(page.main[page.main["key"] == "composition/scenes-count/correct"]["method"])


def test_only_what_was_asked_for_is_reported(asked):
    assert set(report(asked, families=["composition"]).main["family"]) == {"composition"}
    with pytest.raises(InvalidRecord, match="has answers to probes about truth"):
        report(asked, families=["truth"])


def test_all_methods_against_one(asked):
    pairs = report(asked, against="scan").data["pairs"]
    assert {pair["b"] for pair in pairs} == {"scan"}
    with pytest.raises(UnknownName, match="scan"):
        report(asked, against="scam")


def test_many_methods_are_compared_with_the_best():
    methods = list("abcdefg")
    assert pairs_of(methods[:6], None) == list(combinations("abcdef", 2))
    assert pairs_of(methods, None) == [("a", other) for other in "bcdefg"]


def test_runs_on_two_splits_are_refused(asked):
    made_outcomes.record(asked, "scan", 0, dataset="other")
    with pytest.raises(InvalidRecord, match="on 2 splits"):
        report(asked)


def test_remarks_and_partial_answers_reach_the_page(asked):
    for record in asked.records():
        correct = made_outcomes.hits("correct", 0.6, record.scorer)
        made_outcomes.write(
            asked, record.run_id, "composition/sugarcrepe-swap_obj", [correct], inputs={"chance": {"correct": 0.5}},
            partial="30 of 90 pictures are missing", remarks=("1,200 pictures are training pictures of COCO",),
        )  # fmt: skip
    page = render.render(report(asked), "md")
    assert "partial: 30 of 90 pictures are missing" in page
    assert "1,200 pictures are training pictures of COCO" in page


def test_few_pictures_are_shown_and_not_tested(tmp_path):
    store = made(tmp_path, lambda s, run_id, scorer, *of: made_outcomes.confuse(s, run_id, (scorer, of[0]), of[1], 20))
    page = report(store)
    assert page.data["pairs"] == []
    assert "Not tested: 20 images are too few" in render.render(page, "md")


def test_one_method_alone_has_a_report_without_tests(tmp_path):
    store = RunStore(tmp_path)
    run = made_outcomes.record(store, "scan", 0)
    made_outcomes.fill(store, run.run_id, "scan", 0, 0.6)
    page = report(store)
    assert page.data["pairs"] == []
    assert "no two methods answered the same" in render.render(page, "md")


def test_the_same_runs_give_the_same_bytes(asked):
    assert render.render(report(asked), "json") == render.render(report(asked), "json")
