"""Names from data, damaged files and links in a results folder: nothing is written outside it, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from harness.cli.main import main
from harness.records.store import RunStore

EVIL = "/../../../EVIL"
TINY = {
    "name": "tiny",
    "dataset": {"name": "scenes", "train_images": 12, "val_images": 8, "test_images": 8, "image_size": 32},
    "seeds": 1,
    "image": {"name": "regions", "width": 16},
    "text": {"name": "bigru", "width": 16},
    "training": {"epochs": 1, "batch_size": 32, "decay_epochs": []},
    "evaluation": {"cost_repeats": 3},
    "scorers": ["scan", "chan"],
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder deep enough that `..` stays in the test's own folder, as the working folder."""
    home = tmp_path / "a" / "b" / "c"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("ITM_RESULTS", str(home / "results"))
    return home


@pytest.fixture(scope="module")
def template(tmp_path_factory, _cache_of_their_own) -> Path:
    """An experiment and its two finished runs with their page, made once."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    arguments = ["leaderboard", str(folder / "tiny.yaml"), "--results", str(folder / "results"), "--no-mlflow"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    return folder


@pytest.fixture
def recorded(home, template) -> RunStore:
    shutil.copytree(template, home, dirs_exist_ok=True)
    return RunStore(home / "results")


def outside(home: Path) -> set[str]:
    top = home.parents[2]
    return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_relative_to(home / "results")}


def rename(store: RunStore, **changes) -> None:
    for path in store.results.glob("runs/*/record.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_dataset_that_is_called_like_a_path(itm, home):
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (home / "data" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / "data" / "images" / f"{number}.png")
    images = [
        {
            "filename": f"{number}.png",
            "split": ("train", "val", "test")[number % 3],
            "sentences": [{"raw": f"picture number {number}", "sentid": number}],
        }
        for number in range(12)
    ]
    (home / "data" / "dataset_x.json").write_text(json.dumps({"dataset": EVIL, "images": images}))
    experiment = {
        "name": "evil",
        "dataset": {"name": "karpathy", "root": "data"},
        "seeds": 1,
        "image": {"name": "patches", "width": 16, "image_size": 32, "channels": 8},
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 1, "batch_size": 2, "decay_epochs": []},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan", "chan"],
    }
    (home / "evil.yaml").write_text(yaml.safe_dump(experiment))
    before = outside(home)
    for command in (("leaderboard", "evil.yaml"), ("report", "results"), ("significance", "results")):
        code, out, err = itm(*command)
        assert "Traceback" not in out + err
        assert code == 0 or (command[0] == "significance" and "too few" in err), err
    assert outside(home) == before
    (page,) = (home / "results" / "leaderboards").glob("all-*")
    assert page.name.startswith("all-EVIL-")
    assert (page / "leaderboard.html").is_file()


@pytest.mark.parametrize("dataset", [EVIL, "..", "a/b", "con", "x" * 300, "nul\0l", "a\\b", "\x1b[31m"])
def test_reports_of_a_recorded_dataset_stay_in_the_folder(itm, home, recorded, dataset):
    rename(recorded, dataset=dataset)
    before = outside(home)
    for command in ("report", "compare-published", "significance"):
        code, out, err = itm(command, "results")
        assert "Traceback" not in out + err
        assert code in (0, 2)
    assert outside(home) == before
    assert len(list((home / "results" / "leaderboards").glob("all-*/leaderboard.md"))) == 1


@pytest.mark.parametrize("run_id", ["../../../../EVIL", "/EVIL", "", "x" * 300])
def test_a_record_whose_id_is_a_path_is_run_again(itm, home, recorded, run_id):
    rename(recorded, run_id=run_id)
    before = outside(home)
    code, out, err = itm("leaderboard", "tiny.yaml", "--no-mlflow")
    assert code == 0, err
    assert err.count("is damaged and is kept as record.json.damaged") == 2
    assert "written:" in out
    assert outside(home) == before
    assert len(recorded.records()) == 2


@pytest.mark.parametrize("place", ["leaderboards/tiny", "leaderboards/all-scenes", "runs"])
def test_a_link_that_leaves_the_folder_is_not_written_through(itm, home, recorded, place):
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    link = home / "results" / place
    if place == "runs":
        (link,) = [path.parent for path in link.glob("*/record.json") if '"scorer": "scan"' in path.read_text()]
    if link.exists():
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    command = ("report", "results") if place.endswith("scenes") else ("leaderboard", "tiny.yaml", "--no-mlflow")
    code, _, err = itm(*command)
    assert code == 2
    assert "is a link to" in err
    assert "Traceback" not in err
    assert list(elsewhere.iterdir()) == []


def test_one_damaged_run_is_left_out_of_reports_and_refused_where_it_is_named(itm, home, recorded):
    scan = next(record for record in recorded.records() if record.scorer == "scan")
    path = recorded.folder(scan.run_id) / "ranks.npz"
    arrays = dict(np.load(path))
    arrays["full/i2t_rank"][0] = -1
    np.savez(path, **arrays)
    before = (recorded.folder(scan.run_id) / "record.json").read_bytes()
    for command in (("report", "results"), ("compare-published", "results")):
        code, out, err = itm(*command)
        assert code == 0, err
        assert f"run {scan.run_id} is left out" in err
        assert "holds -1; ranks count from 0" in err
        assert "Traceback" not in out + err
    for command in (
        ("rescore", scan.run_id, "--protocol", "full", "--ties", "optimistic"),
        ("significance", f"results/runs/{scan.run_id}"),
    ):
        code, _, err = itm(*command)
        assert code == 2
        assert "holds -1; ranks count from 0" in err
    assert (recorded.folder(scan.run_id) / "record.json").read_bytes() == before
    code, _, err = itm("leaderboard", "tiny.yaml", "--no-mlflow")
    assert code == 0, err
    assert "kept as ranks.npz.damaged" in err
    assert recorded.read(scan.run_id).metrics == scan.metrics


def test_a_second_experiment_of_the_same_name_does_not_overwrite_the_first_ones_page(itm, home, recorded):
    page = home / "results" / "leaderboards" / "tiny"
    first = {path.name: path.read_bytes() for path in page.iterdir()}
    other = {**TINY, "scorers": ["clip"]}
    (home / "other.yaml").write_text(yaml.safe_dump(other))
    code, out, err = itm("leaderboard", "other.yaml", "--no-mlflow")
    assert code == 0, err
    assert "holds the page of another experiment of this name" in err
    assert {path.name: path.read_bytes() for path in page.iterdir()} == first
    (beside,) = (home / "results" / "leaderboards").glob("tiny-*")
    assert str(Path("leaderboards") / beside.name) in out
    assert "clip" in (beside / "leaderboard.md").read_text()

    # The same experiment with one more seed holds all of the first page: it takes its place.
    code, out, err = itm("leaderboard", "tiny.yaml", "--no-mlflow", "--set", "seeds=2")
    assert code == 0, err
    assert "another experiment" not in err
    assert json.loads((page / "leaderboard.json").read_text())["data"]["about"]["seeds"] == [0, 1]
