"""A plug-in of each kind as `itm new` writes it: checked, run, recorded, and run again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.new import KINDS
from harness.files import strict_yaml
from harness.plugins import registered
from harness.records.store import RunStore
from harness.reports.run.again import command

NAMES = {kind: f"my_{kind.replace('-', '_')}" for kind in KINDS}
TINY = {
    "name": "own",
    "dataset": {"name": "my_dataset", "train_images": 24, "val_images": 6, "test_images": 6},
    "seeds": 1,
    "image": {"name": "my_image_backbone", "width": 16},
    "text": {"name": "my_text_backbone", "width": 16},
    "training": {"epochs": 1, "batch_size": 8, "decay_epochs": []},
    "evaluation": {"cost_repeats": 3, "metrics": ["my_metric"]},
    "protocols": ["full", "my_protocol"],
    "scorers": ["my_scorer", "scan"],
}


@pytest.fixture
def desk(itm, tmp_path, monkeypatch):
    """A folder with a plug-in of each kind, and an experiment of them all."""
    monkeypatch.chdir(tmp_path)
    for kind, name in NAMES.items():
        code, out, err = itm("new", kind, name, "--folder", "parts")
        assert code == 0, err
        assert f"itm check parts/{name}.py" in out
    (tmp_path / "own.yaml").write_text(strict_yaml.dump(TINY))
    return tmp_path


def run_own(itm, *options):
    return itm("leaderboard", "own.yaml", "--plugin", "parts", "--no-mlflow", "--device", "cpu", *options)


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("results/runs/*/record.json"))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_check_at_once(itm, desk, kind):
    code, out, err = itm("check", f"parts/{NAMES[kind]}.py")
    assert code == 0, out + err
    assert f"{KINDS[kind]} {NAMES[kind]}: " in out
    assert "FAIL" not in out


def test_the_tests_that_come_with_new_plugins_pass_and_can_fail(itm, desk):
    """Run as their author does, in a process of its own."""
    assert itm("new", "scorer", "my_broken", "--folder", "parts")[0] == 0
    scorer = desk / "parts/my_broken.py"
    scorer.write_text(scorer.read_text().replace(".amax(1)", ".amin(1)"))
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "parts"]
    done = subprocess.run(asked, cwd=desk, capture_output=True, text=True, check=False)
    assert f"2 failed, {2 * len(KINDS)} passed" in done.stdout, done.stdout
    assert done.stdout.count("FAILED parts/test_my_broken.py") == 2, done.stdout


def test_new_overwrites_nothing(itm, desk):
    code, _, err = itm("new", "scorer", "my_scorer", "--folder", "parts")
    assert code == 2
    assert "parts/my_scorer.py exists already" in err
    (desk / "parts/my_scorer.py").unlink()
    code, _, err = itm("new", "scorer", "my_scorer", "--folder", "parts")  # its test is still there
    assert code == 2
    assert "parts/test_my_scorer.py exists already" in err
    assert not (desk / "parts/my_scorer.py").exists()


def test_plugins_of_every_kind_make_a_leaderboard_that_can_be_made_again(itm, desk):
    code, out, err = run_own(itm)
    assert code == 0, err
    assert "my_scorer" in out
    page = json.loads((desk / "results/leaderboards/own/leaderboard.json").read_text())
    assert page["data"]["sections"][0]["plugin"] == "parts/my_section.py"
    code, out, err = itm("report", "results", "--section", "my_section", "--no-site")
    assert (code, "Beyond the first ten" in out) == (0, True), err
    found = {record["scorer"]: record for record in records(desk)}
    assert found.keys() == {"my_scorer", "scan"}
    assert found["my_scorer"]["code"]["plugin"] == "parts/my_scorer.py"
    for record in found.values():
        assert record["backbone"] == "my_image_backbone+my_text_backbone"
        parts = {"dataset": "my_dataset", "image": "my_image_backbone", "text": "my_text_backbone"}
        parts |= {"protocol.my_protocol": "my_protocol", "metric.my_metric": "my_metric"}
        assert 0 < record["metrics"]["full"]["t2i_my_metric"] <= 100
        assert record["metrics"]["my_protocol"] == pytest.approx(
            record["metrics"]["full"]
        )  # every image has two captions
        assert record["code"]["plugins"] == {part: f"parts/{name}.py" for part, name in parts.items()}
        assert all(len(record["spec"]["plugins_sha256"][part]) == 64 for part in parts)

    run = found["scan"]["run_id"]
    store = RunStore(desk / "results")
    for name in ("my_dataset", "my_image_backbone", "my_text_backbone"):
        assert f"--plugin parts/{name}.py" in command(store, store.require(run))
    again = ["leaderboard", f"results/runs/{run}/config.yaml", "--results", "again", "--no-mlflow", "--device", "cpu"]
    code, _, err = itm(*again, "--plugin", "parts")
    assert code == 0, err
    assert (desk / "again/runs" / run / "record.json").is_file()

    section = desk / "parts/my_section.py"
    (desk / "failing.py").write_text(
        section.read_text().replace("return None", "return 0").replace("runs.ranks(", "runs.rank(")
    )
    code, out, err = itm("report", "results", "--plugin", "failing.py", "--section", "failing", "--no-site")
    assert code == 1
    assert "my_scorer" in out
    assert "itm: error: section 'failing' failed: plug-in failing.py, line " in err


def test_commands_on_data_of_a_plugin_take_it_and_say_so_where_it_is_not_named(itm, desk, monkeypatch):
    """Describing, evaluating, adding, looking for training images: what opens the data takes --plugin."""
    monkeypatch.setenv("ITM_NO_SITE", "1")
    code, _, err = run_own(itm, "--set", "evaluation.save_scores=true", "--set", "scorers=[scan]")
    assert code == 0, err
    (first,) = (record["run_id"] for record in records(desk))
    code, out, _ = itm("show", first)
    assert "--plugin parts/my_dataset.py" in " ".join(out.split())
    scores = f"results/runs/{first}/scores.npy"
    shown = ("--metric", "my_metric", "--protocol", "my_protocol", "--dataset", "my_dataset")
    shown += tuple(f"--set={key}={value}" for key, value in TINY["dataset"].items() if key != "name")
    of_data = "unknown metric 'my_metric'"
    of_runs = "has its dataset from a plug-in that is not known here; add --plugin parts/my_dataset.py"
    for words, refusal in (
        (("describe", "my_dataset", "--quick"), "my_dataset is neither"),
        (("features", "my_dataset", "--image", "regions"), "my_dataset is neither"),
        (("evaluate", scores, *shown), of_data),
        (("add", scores, *shown, "--name", "theirs", "--allow-chance"), of_data),
        (("contamination", first, "--quick"), of_runs),
        (("explain", first, "--image", "0"), of_runs),
    ):
        registered.registered.clear()  # as in a process of its own
        code, _, err = itm(*words)
        assert (code, refusal in err) == (2, True), err
        if words[0] in ("evaluate", "add"):
            code, out, err = itm(*words, "--plugin", "parts")
            assert code == 0, err
    found = {record["run_id"]: record for record in records(desk)}
    theirs = next(record for record in found.values() if record["scorer"] == "theirs")
    assert theirs["code"]["plugins"]["protocol.my_protocol"] == "parts/my_protocol.py"
    assert theirs["metrics"]["my_protocol"]["t2i_my_metric"] == found[first]["metrics"]["full"]["t2i_my_metric"]


def test_an_edit_of_a_plugin_makes_other_runs(itm, desk):
    assert run_own(itm)[0] == 0
    first = {record["run_id"] for record in records(desk)}
    backbone = desk / "parts/my_text_backbone.py"
    backbone.write_text(backbone.read_text() + "# edited\n")
    code, _, err = run_own(itm)
    assert code == 0, err
    both = {record["run_id"] for record in records(desk)}
    assert len(both) == 2 * len(first)
    before = f"results/runs/{min(first)}/config.yaml"
    code, _, err = itm("leaderboard", before, "--results", "again", "--no-mlflow", "--plugin", "parts")
    assert code == 0, err
    assert "plugins_sha256.text was" in err


def test_workers_load_the_plugins_too(itm, desk):
    code, _, err = run_own(itm, "--workers", 2)
    assert code == 0, err
    assert {record["status"] for record in records(desk)} == {"finished"}


def test_loader_processes_know_the_images_of_a_plugin(itm, desk):
    dataset = desk / "parts/my_dataset.py"
    own = "class Own(ArrayImages):\n    pass\n\n\nclass MyDataset("
    text = dataset.read_text().replace("class MyDataset(", own, 1).replace("images=ArrayImages(", "images=Own(")
    dataset.write_text(text)
    code, _, err = run_own(itm, "--set", "feeding.workers=1", "--set", "scorers=[scan]")
    assert code == 0, err


def test_lists_show_where_a_plugin_comes_from(itm, desk, tmp_path, monkeypatch):
    deep = tmp_path / "/".join(["a_folder_with_a_long_name"] * 9)  # rows of any length stay on one line
    deep.parent.mkdir(parents=True)
    shutil.move("parts", deep)
    monkeypatch.setattr(Path, "cwd", lambda: Path("/"))  # the whole path is shown
    for kind, name in (
        ("scorers", "my_scorer"),
        ("datasets", "my_dataset"),
        ("backbones", "my_text_backbone"),
        ("protocols", "my_protocol"),
        ("metrics", "my_metric"),
        ("sections", "my_section"),
    ):
        code, out, _ = itm("ls", kind, "--plugin", deep)
        assert code == 0
        row = next(line for line in out.splitlines() if line.startswith(name))
        assert f"{deep}/{name}.py".removeprefix("/") in row


def test_what_breaks_in_a_plugin_is_one_line_with_its_place(itm, desk):
    dataset = desk / "parts/my_dataset.py"
    lines = dataset.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if "pixels, texts = self._items(name)" in line)
    lines[number] = "        pixels, texts = self.items_of(name)"
    dataset.write_text("\n".join(lines))
    code, _, err = run_own(itm)
    assert code == 2
    (line,) = (line for line in err.splitlines() if line.startswith("itm: error:"))
    place = f"plug-in parts/my_dataset.py, line {number + 1}: AttributeError"
    assert line.startswith(f"itm: error: {place}")
    code, out, _ = itm("check", "parts/my_dataset.py")
    assert code == 1
    assert f"FAIL splits: raised AttributeError at parts/my_dataset.py, line {number + 1}: " in out
