"""`itm robustness` on a tiny experiment: what it writes, what it asks again, and how it ends."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from harness.cli.main import main
from harness.records.store import RunStore

SMALL = [
    part
    for setting in (
        "seeds=1", "scorers=[scan,clip]", "dataset.train_images=12", "dataset.val_images=8", "dataset.test_images=40",
        "image.width=16", "text.width=16", "training.epochs=1", "evaluation.cost_repeats=3",
    )
    for part in ("--set", setting)
]  # fmt: skip
FEW = ["--only", "images/blur,captions/typos,grounding,strata/caption_length", "--severities", "5", "--no-mlflow"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, _cache_of_their_own):
    """Results of the command, which trained what was missing, by two workers, and its site."""
    results = tmp_path_factory.mktemp("robust") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ITM_NO_SITE")
        with pytest.raises(SystemExit) as stop:
            main(["robustness", "quickstart", *SMALL, *FEW, "--workers", "2", "--results", str(results)])
    assert not stop.value.code
    return results


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


def answers(results) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (results / "runs").rglob("outcomes/*/*.npz")}


def report(results, name="quickstart"):
    return json.loads((results / "robustness" / name / "robustness.json").read_text())


def test_every_run_answers_and_the_report_shows_it(made):
    store = RunStore(made)
    runs = store.records()
    assert {record.scorer for record in runs} == {"scan", "clip"}
    for record in runs:
        assert store.probes(record.run_id) == [
            ("captions", "typos"), ("grounding", "scenes"), ("images", "blur"), ("strata", "caption_length"),
        ]  # fmt: skip
        blurred = store.outcomes(record.run_id, "images", "blur")
        assert blurred.about.levels == ("0", "5")
        ranks = store.ranks(record.run_id)["full"]
        np.testing.assert_array_equal(blurred.measure("i2t_rank").values[0], ranks.i2t_rank)
        np.testing.assert_array_equal(blurred.measure("t2i_rank").values[0], ranks.t2i_rank)
    grounding = {r.scorer: store.outcomes(r.run_id, "grounding", "scenes").about.refused for r in runs}
    assert grounding["scan"] == ""
    assert "one vector per side" in grounding["clip"]
    folder = made / "robustness" / "quickstart"
    written = {path.name for path in folder.iterdir()}
    assert {f"robustness.{kind}" for kind in ("md", "html", "json", "csv", "tex")} <= written
    assert sorted(report(made)["data"]["run_ids"] if "data" in report(made) else report(made)["run_ids"]) == sorted(
        record.run_id for record in runs
    )


def test_the_site_has_its_page(made):
    page = (made / "site" / "robustness" / "quickstart.html").read_text()
    assert "Perturbed pictures" in page
    assert "robustness/quickstart.html" in (made / "site" / "index.html").read_text()


def test_what_is_answered_is_not_asked_again(itm, results):
    before = answers(results)
    code, _, err = itm("robustness", "quickstart", *SMALL, *FEW, "--results", results)
    assert code == 0, err
    assert answers(results) == before
    next(iter((results / "runs").rglob("typos.npz"))).unlink()
    code, _, err = itm("robustness", results, *FEW)
    assert code == 0, err
    changed = answers(results)
    assert changed.keys() == before.keys()
    assert sum(changed[path] != before[path] for path in changed) == 1


def test_some_runs_and_a_whole_folder_have_reports_of_their_own(itm, results):
    scan, clip = sorted(RunStore(results).records(), key=lambda record: record.scorer, reverse=True)
    code, out, err = itm("robustness", scan.run_id, clip.run_id[:8], *FEW, "--results", results, "--against", "scan")
    assert code == 0, err
    assert "written:" in out
    names = {path.name for path in (results / "robustness").iterdir()}
    assert len(names) == 2
    code, _, err = itm("robustness", results, "--report-only")
    assert code == 0, err
    assert len({path.name for path in (results / "robustness").iterdir()}) == 3


def test_other_severities_are_other_questions(itm, results):
    before = answers(results)
    code, _, err = itm("robustness", results, "--only", "captions/typos", "--severities", "1", "--no-mlflow")
    assert code == 0, err
    changed = {path for path, time in answers(results).items() if time != before[path]}
    assert {path.rpartition("/")[2] for path in changed} == {"typos.npz"}
    assert len(changed) == 2


def test_a_run_without_a_model_is_left_out_with_a_line(itm, results):
    scan = next(record for record in RunStore(results).records() if record.scorer == "scan")
    (results / "runs" / scan.run_id / "model.safetensors").unlink()
    code, _, err = itm("robustness", results, "--only", "captions/typos", "--severities", "2", "--no-mlflow")
    assert code == 0
    assert "has no saved model and is not asked" in err


def test_a_few_probes_more_leave_the_report_of_all_others(itm, results):
    before = report(results)
    code, _, err = itm(
        "robustness", "quickstart", *SMALL, "--only", "captions/reordered", "--no-mlflow", "--results", results
    )
    assert code == 0, err
    titles = [section["title"] for section in report(results)["sections"]]
    assert titles == [section["title"] for section in before["sections"]]
    assert "Perturbed pictures" in titles


@pytest.mark.parametrize("option", [("--only", "captions"), ("--severities", "1"), ("--images", "40")])
def test_a_report_alone_asks_nothing(itm, results, option):
    code, _, err = itm("robustness", results, "--report-only", *option)
    assert code == 2
    assert f"{option[0]} changes what is asked, and --report-only asks nothing" in err
