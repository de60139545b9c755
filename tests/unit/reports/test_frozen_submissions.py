"""The check of a submission: every problem by its cause, none where there is none."""

from __future__ import annotations

import json

import pytest
from freezing import forge, freeze, state_hashes
from rank_tables import rank_table

from harness.records.frozen.manifest import RUNS, TABLE
from harness.records.frozen.opening import examine, open_frozen
from harness.reports.frozen.check import check_submission

T2I = "ranks/scenes-test-full/t2i.csv"
TRAINED = {"scorer": "scan", "training": {"epochs": 2}, "evaluation": {"ties": "pessimistic"}}
EQUAL_TEXTS = {"captions": 12, "repeats": 1, "texts": 1, "across_images": 2}


def add(runs, seed=0, t2i=(0, 1) * 6, **changes):
    table = rank_table([0, 1, 0, 2, 0, 0], t2i, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    run_id = runs.add(table, seed=seed, **{"spec": TRAINED, "tuning": {"trials": 0}, **changes})
    record = runs.store.require(run_id)
    means = {"i2t_meanr": 1.5, "t2i_meanr": 1 + sum(t2i) / 12}
    metrics = {"full": {**record.metrics["full"], **means}}
    runs.store.write(record.model_copy(update={"metrics": metrics}))
    return run_id


@pytest.fixture
def board(runs, tmp_path):
    for seed in range(3):
        add(runs, seed, evaluation={"ties": "pessimistic", "duplicate_captions": EQUAL_TEXTS})
    return freeze([runs.store.results], tmp_path / "board", license="CC0", citation="A")


def found(folder, base=None):
    return check_submission(examine(str(folder)), open_frozen(str(base)) if base else None)


def test_a_good_submission_has_no_problem(board):
    assert found(board, board).lines() == [f"{board}: no problem (board 1.0: 3 runs of 1 method)"]


def test_what_is_no_frozen_leaderboard_is_told_what_it_is(runs, tmp_path):
    add(runs)
    results = runs.store.results
    said = {place: found(place).problems for place in (results, tmp_path / "nowhere", results / "runs")}
    assert said[results][0].startswith("it is a results folder and has no frozen.json; `itm freeze")
    assert said[tmp_path / "nowhere"] == ["no such file or folder"]
    assert said[results / "runs"][0].startswith("it has no frozen.json, so it is no frozen leaderboard")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"origin": "foreign", "tuning": {}, "selected_on": "nothing"}, "how many tuning trials"),
        ({"origin": "foreign"}, "on what its checkpoint was chosen"),
        ({"backbone": " "}, "no backbone"),
        ({"data_sha256": "b" * 64}, "other data, bbbbbbbbbbbb"),
        ({"dataset": "coco"}, "it has no gallery of board 1.0"),
        ({"t2i": [0] * 12, "scorer": "best"}, "more than the 91.67 that captions shared"),
        ({"spec": {**TRAINED, "evaluation": {"ties": "optimistic"}}}, "by the rule optimistic"),
    ],
)
def test_what_a_submission_lacks_is_told(runs, board, tmp_path, changes, message):
    other = type(runs)(tmp_path / "mine")
    add(other, run_id="mine", **changes)
    problems = found(freeze([other.store.results], tmp_path / "theirs", name="theirs"), board).problems
    assert [p for p in problems if message in p], problems
    assert len(problems) == 1


def test_other_queries_are_told(runs, board, tmp_path):
    other = type(runs)(tmp_path / "mine")
    add(other)
    theirs = freeze([other.store.results], tmp_path / "theirs")
    for path in ("ranks/scenes-test-full/i2t.csv", T2I, "ranks/scenes-test-full/ties.csv"):
        forge(theirs, path, lambda text: text.replace("image5", "image9").replace("caption3,", "caption33,"))
    problems = found(theirs, board).problems
    assert any("1 images of board 1.0 are missing" in problem for problem in problems)
    assert any("1 captions of board 1.0 are missing" in problem for problem in problems)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (RUNS, lambda t: t.replace('"t2i_meanr": 1.5', '"t2i_meanr": 1.2', 1), "t2i_meanr = 1.2"),
        (RUNS, lambda t: t.replace('"t2i_r1": 50.0', '"t2i_r1": 58.0', 1), "t2i_r1 = 58.0"),
        (RUNS, lambda t: t.replace('"Test CPU"', '"/home/ann/cpu"', 1), "names folders of a machine in: environment"),
        (T2I, lambda t: t.replace("caption1,image0,0,1", "caption1,image0,0,0"), "t2i_r1 = 50.0"),
        (TABLE, lambda t: t.replace(",scan,scan,", ",best,scan,", 1), "row 1: label is best, the runs give scan"),
        (TABLE, lambda t: t.partition("\n")[0] + "\n", "has 0 rows"),
    ],
)
def test_what_does_not_follow_from_the_ranks_is_told(board, path, change, message):
    before = (board / path).read_text()
    forge(board, path, change)
    assert (board / path).read_text() != before
    problems = found(board).problems
    assert [problem for problem in problems if message in problem], problems


def test_damaged_files_are_told_all_at_once(board):
    (board / TABLE).unlink()
    (board / T2I).write_text(json.dumps("x"))
    assert len(found(board).problems) == 2
    state_hashes(board, lambda manifest: manifest.update(version="none"))
    assert "version" in found(board).problems[0]
