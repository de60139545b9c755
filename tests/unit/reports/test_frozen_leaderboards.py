"""A frozen leaderboard: the same runs give the same bytes, the same numbers come back, and nothing changed is used."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from compared import QUICK
from freezing import content, forge, freeze, state_hashes
from rank_tables import rank_table

from harness.errors import InvalidFrozen, InvalidRecord, InvalidSpec
from harness.records.frozen import manifest as manifests
from harness.records.frozen.manifest import MANIFEST, RUNS, SUMS, TABLE
from harness.records.frozen.opening import examine, open_frozen
from harness.records.ranks import RankTable
from harness.reports.frozen.text import joined_sentences
from harness.reports.frozen.writing import require_name, require_rising
from harness.reports.leaderboard.report import build
from harness.reports.runs.sources import read_sources
from harness.reports.runs.stores import join, results_folder
from harness.reports.significance.examine import Request, examine_all


@pytest.fixture
def frozen(three_scorers, tmp_path):
    return freeze([three_scorers.store.results], tmp_path / "board-1.0")


def test_the_same_runs_give_the_same_bytes(three_scorers, frozen, tmp_path):
    again = freeze([three_scorers.store.results], tmp_path / "again")
    assert content(again) == content(frozen)
    assert content(freeze([frozen], tmp_path / "of-itself"))[TABLE] == content(frozen)[TABLE]


def test_the_checksums_are_those_of_sha256sum(frozen):
    lines = dict(reversed(line.split("  ")) for line in (frozen / SUMS).read_text().splitlines())
    files = content(frozen)
    assert lines == {path: hashlib.sha256(data).hexdigest() for path, data in files.items() if path != SUMS}
    listed = json.loads(files[MANIFEST])["files"]
    assert {file["path"]: (file["sha256"], file["bytes"]) for file in listed} == {
        path: (lines[path], len(data)) for path, data in files.items() if path not in (SUMS, MANIFEST)
    }


def test_the_schema_that_is_shipped_is_that_of_the_manifest(frozen):
    jsonschema = pytest.importorskip("jsonschema")
    path = manifests.__file__.replace("manifest.py", "manifest.schema.json")
    with open(path, encoding="utf-8") as file:
        shipped = json.load(file)
    assert shipped == manifests.schema()
    values = json.loads((frozen / MANIFEST).read_text())
    jsonschema.validate(values, shipped)
    for key, wrong in (("version", "one"), ("galleries", 3), ("files", [{"path": "x", "sha256": "0", "bytes": 1}])):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, key: wrong}, shipped)


@pytest.mark.parametrize("ties", ["pessimistic", "expected"])
def test_ranks_ties_and_folds_come_back_as_they_were(runs, tmp_path, ties):
    drawn = rank_table([0, 2, 1, 5], [0, 3, 0, 1, 2, 1, 0, 0], [0, 0, 1, 1, 2, 2, 3, 3], folds=2)
    tied = {"i2t_ties": np.array([0, 2, 1, 0]), "i2t_best_tied": np.array([1, 2, 1, 1])}
    tied |= {"t2i_best_tied": np.ones(8, int)}
    drawn = replace(drawn, **tied)
    if ties == "expected":
        drawn = replace(drawn, i2t_rank=np.array([0, 1 + 2 / 3, 1.5, 5.0]))
    run_id = runs.add(drawn, protocol="eccv", spec={"evaluation": {"ties": ties}})
    changed = {"i2t_r1": 25.0, "i2t_r5": 75.0, "i2t_r10": 100.0, "t2i_r1": 50.0, "t2i_r5": 100.0, "t2i_r10": 100.0}
    if ties == "expected":
        record = runs.store.require(run_id)
        from harness.reports.runs.groups import Gallery
        from harness.reports.runs.loading import runs_of_table
        from harness.reports.statistics.hits import METRICS, image_columns

        gallery = Gallery("scenes", "test", "a" * 64, "eccv")
        of_ranks = image_columns([runs_of_table(drawn, name="x", seed=0, gallery=gallery, ties="expected")], METRICS)
        changed = dict(zip(METRICS, of_ranks.seed_scores[0][0].tolist(), strict=True))
        runs.store.write(record.model_copy(update={"metrics": {"eccv": changed}}))
    back = open_frozen(str(freeze([runs.store.results], tmp_path / "board"))).ranks(run_id)["eccv"]
    for field in fields(RankTable):
        if field.name != "i2t_caption_id":  # is not kept
            ours, theirs = getattr(drawn, field.name), getattr(back, field.name)
            assert ours.tolist() == theirs.tolist(), field.name


def test_tests_and_tables_of_the_copy_equal_those_of_the_results_folder(three_scorers, frozen):
    folder = three_scorers.store.results
    made = {}
    for source in (folder, frozen):
        subjects = read_sources([str(source)], folder)
        (result,), refused = examine_all(subjects, Request(metrics=("rsum", "t2i_r1"), **QUICK))
        assert not refused
        store = join([str(source)], folder)
        made[source] = (result.comparison, build(store, store.run_ids, title="x").main)
    (a, table_a), (b, table_b) = made.values()
    assert a.rows == b.rows
    assert np.array_equal(a.scores, b.scores)
    pd.testing.assert_frame_equal(table_a, table_b, check_exact=True)


def test_evidence_names_the_leaderboard_and_the_origin_stays(runs, tmp_path):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    runs.add_drawn(0.6, scorer="theirs", seeds=1, origin="foreign")
    frozen = freeze([runs.store.results], tmp_path / "board")
    (subject,) = read_sources([str(frozen)], tmp_path)
    digest = hashlib.sha256((frozen / MANIFEST).read_bytes()).hexdigest()
    assert {(item.file, item.sha256) for item in subject.evidence} == {(f"leaderboard board 1.0, {MANIFEST}", digest)}
    assert [record.origin for record in open_frozen(str(frozen)).records()] == ["measured", "foreign"]


def test_own_runs_stand_beside_frozen_ones_and_make_the_next_version(three_scorers, frozen, tmp_path, caplog):
    results = three_scorers.store.results
    three_scorers.add_drawn(0.9, scorer="mine")
    caplog.set_level("INFO")
    store = join([str(results), str(frozen)], results)
    assert "9 runs of" in caplog.text  # each counts once
    assert len(store.run_ids) == 12
    assert not store.frozen
    mine = tmp_path / "mine"
    for run_id in three_scorers.ids[9:]:
        shutil.copytree(results / "runs" / run_id, mine / "runs" / run_id)
    store = join([str(mine), str(frozen)], mine)
    labels = build(store, store.run_ids, title="x").main["label"].tolist()
    assert sorted(labels) == ["chan", "clip", "mine", "scan"]
    (said,) = joined_sentences(store, store.run_ids)
    assert said.startswith("From leaderboard board 1.0 (9 runs")
    assert "mine" not in said
    (subject,) = read_sources([str(mine), str(frozen)], mine)
    (whole,) = read_sources([str(results)], results)
    compared = [examine_all([s], Request(**QUICK))[0][0].comparison for s in (subject, whole)]
    pairs = [{frozenset((r.a, r.b)): (abs(r.difference), r.p) for r in c.rows} for c in compared]
    assert pairs[0].keys() == pairs[1].keys()
    assert all(np.allclose(pairs[0][pair], pairs[1][pair], rtol=1e-12) for pair in pairs[0])
    union = freeze([mine, frozen], tmp_path / "board-1.1", "1.1")
    (before,) = open_frozen(str(union)).manifest.extends
    assert (before.name, before.version) == ("board", "1.0")
    assert before.sha256 == hashlib.sha256((frozen / MANIFEST).read_bytes()).hexdigest()
    assert results_folder([str(frozen), str(mine)], tmp_path) == mine


def test_a_run_that_two_places_tell_otherwise_is_said(three_scorers, frozen, caplog):
    store = three_scorers.store
    record = store.require(three_scorers.ids[0])
    metrics = {"full": record.metrics["full"] | {"tie_rate": 0.5}}
    store.write(record.model_copy(update={"metrics": metrics}))
    joined = join([str(frozen), str(store.results)], store.results)
    assert f"run {record.run_id} has other numbers in {store.results}" in caplog.text
    assert joined.require(record.run_id).metrics == record.metrics  # those of the first count


@pytest.mark.parametrize("form", ["folder", "manifest", "zip", "zip of the folder"])
def test_it_is_read_from_a_folder_its_manifest_or_a_zip(frozen, tmp_path, form):
    place = frozen / MANIFEST if form == "manifest" else frozen
    if form.startswith("zip"):
        root = frozen.parent if form.endswith("folder") else frozen
        place = tmp_path / "packed.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for file in sorted(frozen.rglob("*")):
                archive.write(file, file.relative_to(root))
    assert len(open_frozen(str(place)).records()) == 9


@pytest.mark.parametrize(
    "path", [RUNS, TABLE, "ranks/scenes-test-full/i2t.csv", "ranks/scenes-test-full/ties.csv", SUMS]
)
@pytest.mark.parametrize("how", ["changed", "cut", "missing", "a link away", "a pipe"])
def test_a_changed_file_is_refused_by_its_name(frozen, tmp_path, path, how):
    file = frozen / path
    text = file.read_bytes()
    file.unlink()
    if how == "changed":
        file.write_bytes(text[:-2] + b"7\n")
    elif how == "cut":
        file.write_bytes(text[:-5])
    elif how == "a link away":
        (tmp_path / "outside").write_bytes(text)
        file.symlink_to(tmp_path / "outside")
    elif how == "a pipe":
        import os

        os.mkfifo(file)
    with pytest.raises(InvalidFrozen, match=path):
        open_frozen(str(frozen))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), "not of the format"),
        (lambda m: m.update(format_version=2), "format version 2, expected 1; update"),
        (lambda m: m.update(version="latest"), "version"),
        (lambda m: m.update(name="../evil"), "plain name"),
        (lambda m: m["files"][0].update(path="../evil"), "relative path"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "relative path"),
        (lambda m: m["files"].append(m["files"][0]), "listed twice"),
        (lambda m: m["files"].pop(), "lists no"),
        (lambda m: m["runs"].pop(), "is in runs.json only"),
        (lambda m: m["runs"][0].update(seed=9), "differ in seed"),
        (lambda m: m["galleries"][0].update(images=1000), "60 images"),
        (lambda m: m["galleries"][0].update(folder="../ranks"), "relative path"),
        (lambda m: m["files"][0].update(bytes=10**12), "bytes"),
        (lambda m: m.update(surprise=1), "unknown key 'surprise'"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(frozen, change, message):
    state_hashes(frozen, change)
    with pytest.raises(InvalidFrozen, match=message):
        open_frozen(str(frozen))


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("ranks/scenes-test-full/i2t.csv", lambda t: t.replace("image3,", "image4,"), "twice"),
        ("ranks/scenes-test-full/i2t.csv", lambda t: t.replace("image_id,", "image,"), "columns must be image_id"),
        (
            "ranks/scenes-test-full/t2i.csv",
            lambda t: t.replace("caption3,image1,0,", "caption3,image1,0,1e999,"),
            "t2i",
        ),
        (
            "ranks/scenes-test-full/t2i.csv",
            lambda t: t.replace("caption3,image1,0,", "caption3,image1,0,x"),
            "numbers only",
        ),
        ("ranks/scenes-test-full/t2i.csv", lambda t: t.partition("\n")[0] + "\n", "no rows"),
        ("ranks/scenes-test-full/ties.csv", lambda t: t.replace("image3,", "nobody,"), "the others lack"),
        ("ranks/scenes-test-full/ties.csv", lambda t: t.replace("image3,0,0", "image3,-1,0"), "negative"),
        (RUNS, lambda t: t.replace('"seed": 2', '"seed": "two"'), "seed"),
        (RUNS, lambda t: "{}", "list of records"),
        (RUNS, lambda t: t.replace('"finished"', '"running"', 1), "not finished"),
        (RUNS, lambda t: "[" * 100_000, "nested too deeply"),
    ],
)
def test_forged_files_are_refused_whatever_their_hash(frozen, path, change, message):
    forge(frozen, path, change)
    with pytest.raises(InvalidFrozen, match=message):
        open_frozen(str(frozen))


def test_ranks_that_do_not_give_the_metrics_are_refused(frozen):
    forge(frozen, RUNS, lambda text: text.replace('"rsum": ', '"rsum": 1', 1))
    with pytest.raises(InvalidRecord, match="rsum"):
        read_sources([str(frozen)], frozen)


def test_all_problems_are_found_in_one_go(frozen):
    (frozen / TABLE).unlink()
    (frozen / RUNS).write_text("[]")
    (frozen / "notes.txt").write_text("mine")
    problems = examine(str(frozen)).problems
    assert [any(word in problem for problem in problems) for word in (TABLE, RUNS, "notes.txt")] == [True] * 3


def test_versions_never_change_and_only_rise(three_scorers, frozen, tmp_path):
    results = three_scorers.store.results
    before = content(frozen)
    freeze([results], frozen)  # the same again
    with pytest.raises(InvalidFrozen, match=r"holds board 1\.0 already.*higher --version"):
        freeze([results], frozen, license="CC0")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(InvalidFrozen, match="something else"):
        freeze([results], other)
    assert content(frozen) == before
    assert content(other) == {"thesis.tex": b"mine"}
    for version in ("0.9", "1", "1.0"):
        with pytest.raises(InvalidFrozen, match=r"higher than 1\.0"):
            require_rising("board", version, tmp_path / f"board-{version}x", [])
        with pytest.raises(InvalidFrozen, match=r"higher than 1\.0"):
            require_rising("board", version, tmp_path / "else" / "board", [open_frozen(str(frozen))])
    require_rising("board", "1.0.1", tmp_path / "board-1.0.1", [])
    require_rising("another", "0.1", tmp_path / "another-0.1", [])


@pytest.mark.parametrize(("name", "version"), [("board", "v1"), ("board", ""), ("a/b", "1.0"), ("..", "1"), ("", "1")])
def test_names_and_versions_are_plain(name, version):
    with pytest.raises(InvalidSpec, match=r"--(name|version)"):
        require_name(name, version)


def test_nothing_is_left_of_a_freezing_that_fails(three_scorers, tmp_path, monkeypatch):
    from pathlib import Path

    from harness.errors import ResultsNotWritable

    write = Path.write_bytes

    def full(path, data):
        if path.name == "t2i.csv":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResultsNotWritable, match="No space"):
        freeze([three_scorers.store.results], tmp_path / "boards" / "b-1.0")
    assert list((tmp_path / "boards").iterdir()) == []
