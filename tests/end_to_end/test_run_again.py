"""The command that a run's page prints makes that run again: typed in an empty folder, it gives the same id and numbers."""

from __future__ import annotations

import json
import shlex

import pytest

from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.reports.run import report
from harness.reports.site.build import write_site
from harness.runs.planning import plan
from harness.spec import load_experiment

PLUGIN = """
from harness.baselines.scan import Scan
class Mine(Scan):
    pass
"""
#: Settings as sweeps and users leave them: overrides of every part, a tuned entry, a variant, another tie rule.
ENTRIES = {
    "grm.no_uncertainty": {"training": {"margin": 0.3, "micro_batch": 16}, "tuning": {"trials": 4, "study": "s"}},
    "mine": {"config": {"pooling": "mean"}, "image": {"name": "patches", "patch_size": 16, "width": 16}},
}


@pytest.fixture
def recorded(itm, tiny, tmp_path, monkeypatch):
    """Two runs, one of a plug-in, made from the folder `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN)
    evaluation = {"cost_repeats": 3, "ties": "expected"}
    made = tiny | {
        "seeds": [5],
        "scorers": ENTRIES,
        "evaluation": evaluation,
        "protocols": ["full", "scenes_relevance"],
    }
    (tmp_path / "own.yaml").write_text(strict_yaml.dump(made))
    code, _, err = itm("leaderboard", "own.yaml", "--plugin", "mine.py", "--no-mlflow", "--device", "cpu")
    assert code == 0, err
    return RunStore(tmp_path / "results")


def repeated(itm, command: str) -> str:
    words = shlex.split(command)
    assert words[:2] == ["itm", "leaderboard"]
    code, _, err = itm(*words[1:], "--no-mlflow")
    assert code == 0, err
    return err


def numbers(record):
    return json.dumps([record.metrics, record.validation, [e.losses for e in record.training.history]], sort_keys=True)


def test_the_printed_command_gives_the_same_run_with_the_same_numbers(itm, recorded, tmp_path, caplog):
    write_site(recorded)
    again = RunStore(tmp_path / "again")
    for record in sorted(recorded.records(), key=lambda one: one.scorer):  # the plug-in last
        settings = tmp_path / "results" / "site" / "runs" / f"{record.run_id}.yaml"
        repeated(itm, report.build(recorded, record, settings=settings).data["command"])
        (found,) = [one for one in again.records() if one.label == record.label]
        assert found.run_id == record.run_id
        assert numbers(found) == numbers(record)
        assert (found.variant, found.tuning, found.spec) == (record.variant, record.tuning, record.spec)
        first, second = ((store.folder(record.run_id) / "ranks.npz").read_bytes() for store in (recorded, again))
        assert first == second
        # without a site, the settings in the run's folder do as well
        (planned,) = plan(load_experiment(recorded.folder(record.run_id) / "config.yaml"))
        assert (planned.run_id, planned.complete) == (record.run_id, strict_yaml.read_file(settings))
    assert not [line for line in caplog.messages if "another run" in line]
    # another version of the plug-in makes another run, and one line says why
    (tmp_path / "mine.py").write_text(PLUGIN + "# another version\n")
    assert plan(load_experiment(settings))[0].run_id != record.run_id
    (line,) = [line for line in caplog.messages if "another run" in line]
    assert record.run_id in line
    assert "source_sha256 was" in line


def test_a_failed_run_is_tried_again_where_it_failed(itm, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = PLUGIN + "    def losses(self, *arguments):\n        raise RuntimeError('no <b>luck</b>')\n"
    (tmp_path / "mine.py").write_text(broken)
    (tmp_path / "own.yaml").write_text(strict_yaml.dump(tiny | {"scorers": ["mine"]}))
    code, *_ = itm("leaderboard", "own.yaml", "--plugin", "mine.py", "--no-mlflow")
    store = RunStore(tmp_path / "results")
    (record,) = store.records()
    assert (code, record.status) == (1, "failed")
    page = report.build(store, record)
    assert "no <b>luck</b>" in page.sentences[0]
    assert "--plugin mine.py" in page.data["command"]
    code, _, err = itm(*shlex.split(page.data["command"])[1:], "--no-mlflow")
    assert code == 1  # it fails again, under the same id
    assert [one.run_id for one in store.records()] == [record.run_id], err
