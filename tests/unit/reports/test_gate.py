"""`itm gate` from outside: what sides are, exit codes, the baseline that is written and read back, what GitHub is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rank_files import csv_rows, similarity, write_csv, write_trec

from harness.cli.main import main
from harness.reports.gate.sides import Place, one_side, split_source
from harness.reports.runs.rank_csv import read_rank_csv


@pytest.fixture
def itm(capsys, monkeypatch):
    """A command -> exit code, stdout, stderr."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # the tests themselves may run there
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def recorded(runs):
    """A folder with a good and a bad method, three seeds each."""
    runs.add_drawn(0.9, scorer="grm")
    runs.add_drawn(0.2, scorer="scan")
    return runs.store.results


def test_exit_codes_are_the_answer(itm, recorded, tmp_path):
    baseline = tmp_path / "baseline.csv"
    assert itm("gate", f"{recorded}:grm", "--write", baseline)[0] == 0
    code, out, _ = itm("gate", f"{recorded}:grm", baseline)
    assert (code, "passed" in out, "nothing changed" in out) == (0, True, True)
    code, out, _ = itm("gate", f"{recorded}:scan", baseline)
    assert (code, "failed, worse" in out) == (1, True)
    code, out, _ = itm("gate", f"{recorded}:grm", f"{recorded}:scan", "--min-delta", 5)
    assert (code, "passed" in out) == (0, True)


def test_want_of_evidence_says_what_a_gate_of_this_size_can_do(itm, runs):
    runs.add_drawn(0.7, scorer="grm", seeds=1)
    runs.add_drawn(0.7, scorer="scan", seeds=1)
    code, out, err = itm("gate", f"{runs.store.results}:grm", f"{runs.store.results}:scan")
    assert code == 1
    assert "failed, not enough evidence" in out
    assert "these trained models only" in out
    assert "An A as good as B would pass this gate in" in out
    assert "Only 60 images" in err


def test_a_baseline_is_read_back_as_it_was(recorded, tmp_path, itm):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        itm("gate", f"{recorded}:grm", "--write", path)
    assert first.read_bytes() == second.read_bytes()
    original = one_side(f"{recorded}:grm", Place(tmp_path)).runs
    back = one_side(str(first), Place(tmp_path)).runs
    by_id = {"i2t": "image_ids", "t2i": "caption_ids"}
    for side, ids in by_id.items():
        order, other = (np.argsort(getattr(runs, ids)) for runs in (original, back))
        assert getattr(original, ids)[order].tolist() == getattr(back, ids)[other].tolist()
        ranks = [getattr(runs, f"{side}_ranks")[:, o] for runs, o in ((original, order), (back, other))]
        np.testing.assert_array_equal(*ranks)
    assert (back.name, back.seeds, back.gallery) == ("grm", (0, 1, 2), original.gallery)
    assert {run.dataset for run in read_rank_csv(first)} == {"scenes"}


def test_all_numbers_as_json(itm, recorded, tmp_path):
    code, _, _ = itm("gate", f"{recorded}:scan", f"{recorded}:grm", "--min-delta", -2, "--json", tmp_path / "gate.json")
    found = json.loads((tmp_path / "gate.json").read_text())
    assert code == 1
    assert (found["passed"], found["outcome"], found["claim"]) == (False, "worse", "method")
    assert found["upper"] < found["min_delta"] == -2
    assert found["difference"] == pytest.approx(found["a_score"] - found["b_score"])
    assert len(found["a"]["files"]) == 3
    assert found["variance_images"] + sum(found["variance_seeds"]) == pytest.approx(found["se"] ** 2)


def test_github_shows_the_verdict(itm, recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    _, out, _ = itm("gate", f"{recorded}:scan", f"{recorded}:grm")
    assert "\n::error title=itm gate::failed, worse" in out
    assert "95 %25 confidence" in out
    assert "### itm gate: failed, worse" in (tmp_path / "summary.md").read_text()


def test_sides_are_whatever_can_be_compared(itm, tmp_path):
    """A folder of TREC runs against a CSV of the same images and captions."""
    scores = similarity()
    theirs = write_trec(tmp_path / "trec", scores, "theirs.seed0")
    itm("gate", theirs, "--write", tmp_path / "theirs.csv")
    code, out, _ = itm("gate", f"{theirs}:theirs", tmp_path / "theirs.csv")
    assert (code, "nothing changed" in out) == (0, True)
    other = write_csv(tmp_path / "other.csv", csv_rows("ours:v2"))
    code, out, _ = itm("gate", f"{other}:ours:v2", theirs)
    assert (code, "A 'ours:v2' minus B 'theirs'" in out) == (1, True)


def test_names_of_methods_may_hold_colons(tmp_path):
    (tmp_path / "x.csv").touch()
    assert split_source(f"{tmp_path}/x.csv:a:b", tmp_path) == (f"{tmp_path}/x.csv", "a:b")
    assert split_source(f"{tmp_path}/x.csv", tmp_path) == (f"{tmp_path}/x.csv", "")
    assert split_source("https://host:80/board:grm", Path("results")) == ("https://host:80/board", "grm")
    assert split_source("https://host:80/board", Path("results")) == ("https://host:80/board", "")


def test_changed_data_are_noticed(itm, recorded, tmp_path):
    """The images and captions of generated data keep their ids when their content changes."""
    baseline = tmp_path / "baseline.csv"
    itm("gate", f"{recorded}:grm", "--write", baseline)
    baseline.write_text(baseline.read_text().replace("aaaaaaaaaaaa", "bbbbbbbbbbbb"))
    code, _, err = itm("gate", f"{recorded}:grm", baseline)
    assert code == 2
    assert "the data changed; make the baseline anew" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{results}"], "A alone with --write"),
        (["{results}:grm", "{results}:scan", "--write", "x.csv"], "A alone with --write"),
        (["{results}:grm", "--write", "x.json"], "let it end in .csv"),
        (["{results}", "{results}:grm"], "2 methods (grm, scan): say which"),
        (["{results}:gmr", "{results}:grm"], "did you mean 'grm'"),
        (["{results}:grm", "nowhere.csv"], "nowhere.csv"),
        (["{results}:grm", "{results}:scan", "--min-delta", "nan"], "not a finite number"),
        (["{results}:grm", "{results}:scan", "--confidence", "0.5"], "--confidence"),
        (["{results}:grm", "{results}:scan", "--metric", "r7"], "unknown metric 'r7'"),
        (["{results}:grm", "{results}:scan", "--protocol", "coco_5k"], "coco_5k"),
        (["{results}:grm", "{results}:scan", "--json", "/proc/gate.json"], "cannot write"),
    ],
)
def test_bad_input_is_exit_code_2(arguments, message, itm, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = itm("gate", *(argument.format(results=recorded) for argument in arguments))
    assert code == 2
    assert message in err
    assert err.count("\n") <= 3


def test_a_side_with_many_methods_is_taken_for_the_method_of_the_other(itm, recorded, tmp_path):
    baseline = tmp_path / "baseline.csv"
    itm("gate", f"{recorded}:grm", "--write", baseline)
    code, _, err = itm("gate", baseline, recorded)
    assert code == 0
    assert "'grm' is taken, as on the other side" in err


def test_claims_about_methods_need_seeds(itm, recorded, runs):
    one = runs.store.results / "runs" / runs.ids[0]
    code, _, err = itm("gate", one, f"{recorded}:scan", "--claim", "method")
    assert (code, "needs 3 seeds" in err) == (2, True)
    assert itm("gate", one, f"{recorded}:scan")[0] == 0


def test_a_baseline_without_a_first_place_says_how_it_counts(itm, runs, tmp_path):
    """Where no query was answered at once, a rank CSV alone does not tell whether it counts from 0 or from 1."""
    runs.add_drawn(0.0, scorer="scan", seeds=1)
    itm("gate", runs.store.results, "--write", tmp_path / "baseline.csv")
    code, out, _ = itm("gate", runs.store.results, tmp_path / "baseline.csv")
    assert (code, "nothing changed" in out) == (0, True)


@pytest.mark.parametrize(("first", "code"), [("0", 0), ("1", 1), ("2", 2)])
def test_a_rank_csv_may_say_how_it_counts(first, code, itm, tmp_path):
    rows = [{**row, "rank": row["rank"] + 1} for row in csv_rows()]
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    write_csv(ours, [{**row, "ranks_from": first} for row in rows])
    write_csv(theirs, [{**row, "ranks_from": "0"} for row in rows])
    found, _, err = itm("gate", theirs, ours, "--min-delta", -0.001)
    assert found == code
    assert ("ranks_from must be 0 or 1" in err) == (code == 2)


def test_of_several_protocols_the_first_is_taken_and_said(itm, runs, tmp_path):
    for protocol in ("full", "flickr30k_1k"):
        for scorer, skill in (("grm", 0.9), ("scan", 0.2)):
            runs.add_drawn(skill, scorer=scorer, protocol=protocol)
    code, out, err = itm("gate", f"{runs.store.results}:grm", f"{runs.store.results}:scan")
    assert code == 0
    assert "60 images of scenes, full, claim" in out
    assert "protocol full is taken, the first of full, flickr30k_1k" in err
    _, out, err = itm("gate", f"{runs.store.results}:grm", f"{runs.store.results}:scan", "--protocol", "flickr30k_1k")
    assert "60 images of scenes, flickr30k_1k, claim" in out
    assert "is taken" not in err
