"""The robustness report: its numbers are those of the outcomes, unequal questions are never compared, and it says why."""

from __future__ import annotations

import json

import made_outcomes
import numpy as np
import pytest

from harness.errors import InvalidRecord, UnknownName
from harness.reports.document import render
from harness.reports.robustness.report import build

SKILLS = {"grm": 0.8, "scan": 0.65, "chan": 0.62, "clip": 0.4}


@pytest.fixture
def asked(runs):
    """Four methods, three seeds each, that answered all families."""
    for scorer, skill in SKILLS.items():
        runs.add_drawn(skill, scorer=scorer, images=30)
    for record in runs.store.records():
        made_outcomes.fill(runs.store, record.run_id, record.scorer, record.seed, SKILLS[record.scorer])
    return runs


def report(runs, **options):
    return build(runs.store, runs.store.records(), title="Robustness: made", **options)


def rsum_of(table, level: int) -> float:
    """rSum of a table at a level, query by query."""
    sides = [table.measure(f"{direction}_rank").values[level] for direction in ("i2t", "t2i")]
    return 100 * sum(float(np.mean([rank < k for rank in ranks])) for ranks in sides for k in (1, 5, 10))


def value(frame, key: str, method: str) -> float:
    (row,) = frame[(frame["key"] == key) & (frame["method"] == method)].to_dict("records")
    return row["value"]


def test_numbers_are_those_of_the_outcomes_query_by_query(asked):
    frame = report(asked).main
    records = [record for record in asked.store.records() if record.scorer == "scan"]
    tables = [asked.store.outcomes(record.run_id, "images", "noise") for record in records]
    for level in (0, 3):
        by_hand = np.mean([rsum_of(table, level) for table in tables])
        assert value(frame, f"images/noise/{level}", "scan") == pytest.approx(by_hand)
    curves = [[rsum_of(table, level) for level in range(6)] for table in tables]
    kept = np.mean([100 * np.trapezoid(curve) / 5 / curve[0] for curve in curves])
    assert value(frame, "images/noise/kept", "scan") == pytest.approx(kept)


def test_the_clutter_slope_is_the_least_squares_line(asked):
    frame = report(asked).main
    records = [record for record in asked.store.records() if record.scorer == "grm"]
    slopes = []
    for record in records:
        table = asked.store.outcomes(record.run_id, "clutter", "objects")
        slopes.append(np.polyfit(table.about.values, [rsum_of(table, level) for level in range(6)], 1)[0])
    assert value(frame, "clutter/objects/slope", "grm") == pytest.approx(np.mean(slopes))


def test_every_format_is_written_and_names_every_family(asked, tmp_path):
    made = report(asked)
    files = {path.name for path in render.write(made, tmp_path)}
    assert {f"robustness.{format}" for format in ("html", "md", "csv", "json", "tex")} < files
    assert "robustness-pairs.csv" in files
    titles = [section.title for section in made.sections]
    assert titles[0] == "Summary"
    assert {"Perturbed pictures", "Clutter", "Composition", "Grounding", "Strata of the test split"} < set(titles)
    assert json.loads((tmp_path / "robustness.json").read_text())["data"]["run_ids"] == asked.ids


def test_other_questions_are_set_apart_with_the_reason(asked):
    record = next(r for r in asked.store.records() if r.scorer == "chan" and r.seed == 1)
    other = made_outcomes.ranks([0.9] * 6, "x")
    made_outcomes.write(
        asked.store, record.run_id, "images/noise", other, levels=["clean", *"12345"], inputs={"data": "c" * 64}
    )
    frame = report(asked).main
    assert "chan" not in set(frame[frame["key"] == "images/noise/0"]["method"])
    assert "chan" not in set(frame[frame["key"] == "images/kept"]["method"])
    assert "chan" in set(frame[frame["key"] == "images/blur/kept"]["method"])
    page = render.render(report(asked), "md")
    assert "seeds 1 were asked other questions, which are not compared" in page


def test_a_refusal_is_a_dash_with_its_reason(asked):
    made = report(asked)
    page = render.render(made, "md")
    assert "clip aligns nothing" in page
    summary = next(table for table in made.tables if table.key == "summary")
    (row,) = [cells for cells in summary.rows() if cells[0].main == "clip"]
    assert row[-1].main == "—"


def test_a_run_without_answers_is_left_out_and_named(asked):
    lost = next(r for r in asked.store.records() if r.scorer == "scan" and r.seed == 2)
    for path in (asked.store.folder(lost.run_id) / "outcomes").rglob("*.npz"):
        path.unlink()
    made = report(asked)
    assert "scan: no answers of seed 2" in render.render(made, "md")
    assert made.data["claims"]["images"] == "checkpoint"


def test_only_what_was_asked_for_is_reported(asked):
    assert set(report(asked, families=["clutter"]).main["family"]) == {"clutter"}
    with pytest.raises(InvalidRecord, match="has answers to probes about truth"):
        report(asked, families=["truth"])


def test_all_methods_against_one(asked):
    pairs = report(asked, against="scan").data["pairs"]
    assert {pair["b"] for pair in pairs} == {"scan"}
    with pytest.raises(UnknownName, match="scan"):
        report(asked, against="scam")


def test_runs_on_two_splits_are_refused(asked):
    asked.add_drawn(0.5, scorer="scan", seeds=1, dataset="other")
    with pytest.raises(InvalidRecord, match="on 2 splits"):
        report(asked)


def test_remarks_and_partial_answers_reach_the_page(asked):
    for record in asked.store.records():
        correct = made_outcomes.hits("correct", 0.6, record.scorer)
        made_outcomes.write(
            asked.store, record.run_id, "composition/sugarcrepe-swap_obj", [correct], inputs={"chance": {"correct": 0.5}},
            partial="30 of 90 pictures are missing", remarks=("1,200 pictures are training pictures of COCO",),
        )  # fmt: skip
    page = render.render(report(asked), "md")
    assert "partial: 30 of 90 pictures are missing" in page
    assert "1,200 pictures are training pictures of COCO" in page


def test_what_contains_chance_is_said_to_be_at_chance(asked):
    section = next(s for s in report(asked).sections if s.title == "Composition")
    said = [sentence for sentence in section.sentences if sentence.startswith("At chance (50.0 %) on scenes-count")]
    assert said
    assert "grm" not in " ".join(s for s in section.sentences if "At chance" in s and "swap_object" in s)


def test_the_same_runs_give_the_same_bytes(asked):
    assert render.render(report(asked), "json") == render.render(report(asked), "json")
