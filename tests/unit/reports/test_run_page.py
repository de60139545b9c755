"""The page of a run says what its record holds, in words, numbers and curves, and what it cannot say."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.records.run import RunRecord
from harness.records.ties import TiedRanks
from harness.reports.document.render import FORMATS, render
from harness.reports.run import again, figures, mirror, report, tables
from harness.reports.run.mirror import Mirrored, mirrored_runs
from harness.reports.run.peers import Peers
from harness.settings.again import is_run

HOSTILE = '<script>alert("1")</script>'
SPEC = {
    "scorer": "scan",
    "variant": "",
    "config": {"pooling": "lse", "scale": 6.0},
    "image": {"name": "regions", "width": 16},
    "text": {"name": "bigru", "width": 16},
    "dataset": {"name": "karpathy", "root": "data/f8k"},
    "data_sha256": "a" * 64,
    "protocols": ["full"],
    "seed": 0,
    "training": {"epochs": 3, "margin": 0.2},
    "evaluation": {"ties": "pessimistic"},
}
HISTORY = [
    {"epoch": n, "losses": {"triplet": 3.0 / (n + 1), "kl": 0.01}, "validation": {"rsum": rsum, "i2t_r1": 9.0}, "seconds": 2.0,
     "learning_rate": 10.0**-n}
    for n, rsum in enumerate((100.0, 250.5, 240.0))
]  # fmt: skip
TRAINED = {
    "validation": {"rsum": 250.5, "epoch": 2},
    "training": {"epochs": 3, "steps": 90, "seconds": 754.0, "history": HISTORY},
    "spec": SPEC,
}


def built(runs, number=0, **options):
    record = runs.store.read(runs.ids[number])
    return report.build(runs.store, record, Peers(runs.store.records()), **options)


def section(page, title):
    (found,) = [one for one in page.sections if one.title == title]
    return found


def table_of(page, key):
    (found,) = [one for one in page.tables if one.key == key]
    return found


@pytest.fixture
def trained(runs):
    runs.add_drawn(0.6, scorer="scan", seeds=1, **TRAINED)
    return runs


def test_the_headline_says_what_was_reached_and_how(trained):
    record = trained.store.read(trained.ids[0])
    said = " ".join(built(trained).sentences)
    for number in (record.metrics["full"][key] for key in ("rsum", "i2t_r1", "i2t_r5", "t2i_r1", "t2i_r10")):
        assert f" {number:.1f}" in said
    assert "scan seed 0 reaches rSum" in said
    assert "trained for 3 epochs (90 steps) in 13 min; the weights of epoch 2 were kept" in said
    assert "Computed on Test CPU, 2 threads, on 2026-01-01" in said


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
@pytest.mark.parametrize("folds", [1, 5])
def test_the_recall_curve_goes_through_the_recalls_of_the_metrics(table, ties, folds):
    draw = np.random.default_rng([folds, len(ties)])
    owner = np.repeat(np.arange(40), 3)
    above = {"i2t": draw.integers(0, 60, 40), "t2i": draw.integers(0, 30, 120)}
    made = table(above["i2t"], above["t2i"], owner, folds=folds)
    changes, expected = {}, {}
    for direction, ranks in above.items():
        wrong = draw.integers(0, 4, len(ranks))
        tied = TiedRanks(ranks, wrong, draw.integers(1, 3, len(ranks)))
        changes |= {
            f"{direction}_rank": tied.ranks(ties),
            f"{direction}_ties": wrong,
            f"{direction}_best_tied": tied.correct,
        }
        fold = getattr(made, f"{direction}_fold")
        for k in (1, 5, 10):
            shares = [100 * tied.hits(k, ties)[fold == number].mean() for number in range(folds)]
            expected[direction, k] = sum(shares) / folds
    changed = replace(made, **changes)
    for (direction, k), recall in expected.items():
        assert figures.recall_curve(changed, direction, ties)[k - 1] == pytest.approx(recall)


def test_shares_of_ranks_add_up_and_meet_the_recalls(trained):
    record = trained.store.read(trained.ids[0])
    for row in table_of(built(trained), "ranks").frame.to_dict("records"):
        direction = "i2t" if row["direction"] == "image to text" else "t2i"
        metrics = record.metrics["full"]
        assert row["first"] == pytest.approx(metrics[f"{direction}_r1"])
        assert row["first"] + row["to_5"] == pytest.approx(metrics[f"{direction}_r5"])
        assert row["first"] + row["to_5"] + row["to_10"] == pytest.approx(metrics[f"{direction}_r10"])
        assert sum(row[key] for key in tables._ENDS) == pytest.approx(100)


def test_the_course_of_the_training_tells_every_point_and_rings_the_kept_one(trained):
    (drawing,) = [one.drawing for one in section(built(trained), "Training").figures]
    titles = [element.text for element in ElementTree.fromstring(drawing).iter() if element.tag.endswith("title")]
    assert {"triplet, epoch 2: 1.5", "kl, epoch 1: 0.01", "epoch 2: 250.5", "epoch 3: 240", "epoch 2 was kept"} <= set(
        titles
    )
    rows = table_of(built(trained), "epochs").frame
    assert rows["kept"].tolist() == ["", "kept", ""]
    assert rows["loss triplet"].tolist() == [3.0, 1.5, 1.0]


@pytest.mark.parametrize(
    ("training", "said"),
    [({"epochs": 0}, "evaluated without training"), ({"epochs": 3}, "does not hold the course")],
)
def test_a_run_without_a_course_says_so(runs, training, said):
    runs.add_drawn(0.6, scorer="scan", seeds=1, training=training)
    page = section(built(runs), "Training")
    assert said in page.sentences[0]
    assert not page.figures


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"origin": "foreign"}, "How this result was trained is not recorded."),
        ({"origin": "foreign", "selected_on": "nothing"}, "evaluated without training"),
        ({"evaluation": {"ensemble": ("0" * 16, "1" * 16)}}, "averages the scores of 2 runs"),
    ],
)
def test_nothing_is_said_of_a_training_that_others_did(runs, changes, said):
    runs.add_drawn(0.6, scorer="scan", seeds=1, training={"epochs": 0}, **changes)
    assert said in section(built(runs), "Training").sentences[0]


def test_settings_that_differ_come_first_and_all_others_are_folded_away(runs):
    for scorer, pooling, margin in (("scan", "lse", 0.2), ("scan", "mean", 0.2), ("clip", "lse", 0.4)):
        changed = {
            **SPEC,
            "scorer": scorer,
            "config": {"pooling": pooling, "scale": 6.0},
            "training": {"epochs": 3, "margin": margin},
        }
        own = {"config.scale": 9.0} if pooling == "mean" else {}
        runs.add_drawn(0.5, scorer=scorer, seeds=1, spec=changed, overridden=own)
    page = built(runs, 1)
    apart, same = table_of(page, "settings"), table_of(page, "other-settings")
    assert {row["setting"]: (row["value"], row["own"], row["others"]) for row in apart.frame.to_dict("records")} == {
        "config.pooling": ("mean", "", "lse (1)"),  # not clip's, which means something else
        "config.scale": ("6.0", "9.0", ""),
        "training.margin": ("0.2", "", "0.4 (1)"),
    }
    assert same.collapsed
    assert "training.epochs" in set(same.frame["setting"])


def test_other_seeds_are_linked_and_other_methods_are_not(three_scorers):
    page = built(three_scorers)
    seeds = table_of(page, "seeds")
    assert seeds.frame["seed"].tolist() == [1, 2]
    assert [cells[0].runs for cells in seeds.rows()] == [(three_scorers.ids[1],), (three_scorers.ids[2],)]


def test_costs_are_marked_where_the_machine_was_busy(runs):
    cost = {
        "query_ms_p50": 2.0,
        "query_ms_p95": 9.0,
        "pairs_per_second": 10.0,
        "params_millions": 3.0,
        "other_cpu_percent": 40.0,
    }
    runs.add_drawn(0.6, scorer="scan", seeds=1, cost=cost)
    shown = {cells[0].main: (cells[1].main, cells[2].main) for cells in table_of(built(runs), "cost").rows()}
    assert shown["answer one query"] == ("~2.000", "~9.000")
    assert shown["pairs scored, both encoded"][0] == "~10.00"
    assert shown["parameters"] == ("3.000", "—")
    assert any("40.0 % of the CPUs: they are marked" in line for line in section(built(runs), "Cost").reading)


def test_the_files_of_the_run_are_listed_with_where_they_lie(trained):
    rows = table_of(built(trained), "files").rows()
    assert [row[0].main for row in rows] == ["ranks.npz", "record.json"]
    assert rows[1][0].file == f"runs/{trained.ids[0]}/record.json"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "--results again"),
        ({"environment": {"device": "cuda"}}, "--results again --device cuda"),
        ({"code": {"plugin": "my dir/mine.py"}}, "--results again --plugin 'my dir/mine.py'"),
        ({"code": {"plugin": "package.module:Mine"}}, "--results again"),
        ({"status": "failed", "error": "no"}, "--results {results}"),
    ],
)
def test_the_command_says_what_the_run_needs(runs, changes, words):
    runs.add_drawn(0.6, scorer="scan", seeds=1, spec=SPEC, **{"environment": {}, **changes})
    results = runs.store.results
    expected = f"itm leaderboard {results}/runs/{runs.ids[0]}/config.yaml {words.format(results=results)}"
    assert built(runs).data["command"] == expected


@pytest.mark.parametrize(
    ("changes", "command", "remark"),
    [
        ({"evaluation": {"ensemble": ["a1", "b2"]}, "spec": {}}, "itm ensemble a1 b2 --results {results}", "averages"),
        ({"spec": {"paper": "x"}}, "", "no command makes it again"),
    ],
)
def test_what_is_no_run_of_a_scorer_has_another_command_or_none(runs, changes, command, remark):
    runs.add_drawn(0.6, scorer="scan", seeds=1, **changes)
    page = built(runs)
    assert page.data["command"] == command.format(results=runs.store.results)
    assert not page.attachments
    assert remark in " ".join(section(page, "Make this run again").footnotes)


def test_how_settings_were_found_is_part_of_the_file(trained):
    untuned = trained.store.read(trained.ids[0])
    record = RunRecord.model_validate({**untuned.model_dump(), "tuning": {"trials": 3}})
    text = again.settings_file(record)
    assert "tuning:\n  trials: 3" in text
    assert is_run(record.spec)
    assert "trials" not in again.settings_file(untuned)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ({"revision": "c0ffee" * 6, "dirty": True}, "uncommitted changes that the revision does not hold"),
        ({"revision": "c0ffee" * 6, "dirty": False}, "git checkout c0ffeec0ffee brings it back"),
        ({}, "does not name the code's revision"),
        ({"plugin": "pkg:Mine"}, "installed package, by its entry point pkg:Mine"),
    ],
)
def test_what_else_the_numbers_rest_on_is_said(runs, code, said):
    runs.add_drawn(0.6, scorer="scan", seeds=1, spec=SPEC, code=code)
    assert said in " ".join(section(built(runs), "Make this run again").footnotes)


def test_a_failed_run_has_a_page_of_its_own(runs):
    runs.add_drawn(0.6, scorer="scan", seeds=1, status="failed", error=f"out of memory {HOSTILE}", spec=SPEC)
    folder = runs.store.folder(runs.ids[0])
    (folder / "deaths.json").write_text('["killed by the kernel"]')
    (folder / "traceback.txt").write_text("Traceback\n  File 1")
    page = built(runs)
    assert page.sections[0].title == "Failure"
    assert [notice.text for notice in page.sections[0].notices][1:] == ["a worker died of it: killed by the kernel"]
    assert page.sections[0].listings[0].text == "Traceback\n  File 1"
    assert "Metrics" not in [one.title for one in page.sections]
    assert "<script>" not in render(page, "html")


def test_damaged_ranks_cost_their_part_of_the_page_only(trained):
    (trained.store.folder(trained.ids[0]) / "ranks.npz").write_bytes(b"no archive")
    page = built(trained)
    (notice,) = section(page, "Metrics").notices
    assert "the ranks are not shown: cannot read" in notice.text
    assert {"metrics", "epochs"} <= {one.key for one in page.tables}


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_that_a_record_holds_comes_to_life(runs, format):
    hostile = {"config": {"pooling": HOSTILE}, "dataset": {"name": HOSTILE, "root": HOSTILE}}
    runs.add_drawn(
        0.6, scorer=HOSTILE, seeds=1, dataset=HOSTILE, citation=HOSTILE, backbone=HOSTILE, spec={**SPEC, **hostile},
        code={"plugin": HOSTILE, "revision": HOSTILE}, environment={"processor": HOSTILE, "packages": {HOSTILE: HOSTILE}},
        training={"epochs": 1, "history": [{"losses": {HOSTILE: 1.0, "b": 2.0}, "validation": {"rsum": 2.0}}]},
    )  # fmt: skip
    page = built(runs, mirrored=[Mirrored(HOSTILE, HOSTILE, HOSTILE)])
    text = render(page, format)
    if format in ("html", "md"):
        outside = re.sub(r"```.*?```", "", text, flags=re.S)  # what a fence holds is text in Markdown
        assert "<script" not in outside
    for figure in page.figures:
        assert b"<script" not in figure.drawing


def test_the_hash_of_the_inputs_follows_record_ranks_and_neighbours(three_scorers):
    store, (first, *_) = three_scorers.store, three_scorers.ids
    record = store.read(first)

    def key():
        return report.inputs(store, store.read(first), Peers(store.records()))

    keys = [key()]
    assert key() == keys[0]
    store.write(record.model_copy(update={"citation": "a paper of another length"}))
    keys.append(key())
    (store.folder(first) / "ranks.npz").write_bytes(b"other")
    keys.append(key())
    three_scorers.add_drawn(0.3, scorer="scan", seeds=1, spec={**record.spec, "threads": 9})
    three_scorers.add_drawn(0.3, scorer="scan", seeds=1, spec={**record.spec, "threads": 4})
    keys.append(key())
    assert len(set(keys)) in (3, 4)
    assert len({keys[0], keys[1], keys[2]}) == 3


def mlflow_database(path, rows):
    """What the query needs of MLflow's schema."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (run_uuid, name, experiment_id, lifecycle_stage, start_time)")
        connection.execute("CREATE TABLE tags (key, value, run_uuid)")
        for uuid, name, stage, run_id, parent in rows:
            connection.execute("INSERT INTO runs VALUES (?, ?, 1, ?, 0)", (uuid, name, stage))
            for key, value in (("itm.run_id", run_id), ("mlflow.parentRunId", parent)):
                if value:
                    connection.execute("INSERT INTO tags VALUES (?, ?, ?)", (key, value, uuid))
        connection.commit()


def test_runs_are_found_in_mlflows_database_with_the_experiment_that_asked(runs, tmp_path):
    rows = [
        ("p", "quick", "active", None, None),
        ("m1", "scan seed 0", "active", "00", "p"),
        ("m2", "scan seed 0", "deleted", "00", "p"),
        ("m3", "scan seed 1", "active", "01", None),
    ]
    mlflow_database(tmp_path / "mlflow.db", rows)
    before = (tmp_path / "mlflow.db").read_bytes()
    assert mirrored_runs(tmp_path) == {"00": [Mirrored("m1", "1", "quick")], "01": [Mirrored("m3", "1", "")]}
    assert (tmp_path / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_without_a_readable_database_no_run_is_mirrored(tmp_path, content):
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    assert mirrored_runs(tmp_path) == {}


def test_a_database_whose_views_never_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_PATIENCE", 0.05)
    mlflow_database(tmp_path / "mlflow.db", [("m1", "scan seed 0", "active", "00", None)])
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'itm.run_id', i, 'm1' FROM n"
        connection.execute("DROP TABLE tags")
        connection.execute(f"CREATE VIEW tags(key, value, run_uuid) AS {endless}")
        connection.commit()
    assert mirrored_runs(tmp_path) == {}


def test_the_json_names_the_run(trained):
    assert json.loads(render(built(trained), "json"))["data"]["run_ids"] == trained.ids
