"""The site follows every command, never fails one, and shows runs of earlier versions after `itm site`."""

from __future__ import annotations

import shutil

import pytest

from harness.cli import refreshing
from harness.cli.main import main
from harness.files.locks import claim
from harness.records.store import RunStore
from harness.reports.site import build


@pytest.fixture(scope="module")
def made(tmp_path_factory, _cache_of_their_own):
    """Results of a leaderboard command whose site was refreshed, and what the command said."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ITM_NO_SITE")
        with pytest.raises(SystemExit) as stop:
            main(["leaderboard", "quickstart", *SMALL, "--results", str(folder / "results"), "--no-mlflow"])
    assert not stop.value.code
    return folder / "results"


SMALL = [
    part
    for setting in (
        "seeds=1", "scorers=[scan,clip]", "dataset.train_images=12", "dataset.val_images=8", "dataset.test_images=8",
        "image.width=16", "text.width=16", "training.epochs=1", "evaluation.cost_repeats=3",
    )
    for part in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    monkeypatch.delenv("ITM_NO_SITE")
    return shutil.copytree(made, tmp_path / "results")


def files(results) -> set[str]:
    return {path.relative_to(results).as_posix() for path in (results / "site").rglob("*") if path.is_file()}


def test_a_command_that_trains_leaves_a_site_with_pictures_and_alignments(made):
    shown = files(made)
    runs = {record.scorer: record.run_id for record in RunStore(made).records()}
    assert {"site/index.html", "site/leaderboards/quickstart.html", "site/runs/index.html"} <= shown
    assert {f"site/runs/{run}.html" for run in runs.values()} <= shown
    assert any(name.startswith("site/galleries/") for name in shown)
    assert any(name.startswith("site/alignments/") for name in shown)
    assert sum(name.endswith(".jpg") for name in shown) == 8
    assert all((made / "runs" / run / "top.npz").is_file() for run in runs.values())


def test_the_site_is_left_out_where_it_is_asked(itm, results):
    shutil.rmtree(results / "site")
    code, out, _ = itm("report", results, "--no-site")
    assert code == 0
    assert "site:" not in out
    assert not (results / "site").exists()
    code, out, _ = itm("report", results)
    assert code == 0
    assert f"site: {results / 'site' / 'index.html'}" in out


def test_itm_site_makes_again_what_runs_of_earlier_versions_lack(itm, results):
    before = files(results)
    shutil.rmtree(results / "site")
    kept = {}
    for name in ("top.npz", "alignments.json"):
        for path in results.glob(f"runs/*/{name}"):
            kept[path] = path.read_bytes()
            path.unlink()
    code, out, _ = itm("site", results)
    assert code == 0
    assert "site:" in out
    assert files(results) == before
    assert {path: path.read_bytes() for path in kept if path.name == "top.npz"} == {
        path: content for path, content in kept.items() if path.name == "top.npz"
    }
    assert all(path.is_file() for path in kept)


def test_quick_opens_no_dataset_and_loads_no_model(itm, results, monkeypatch):
    monkeypatch.setattr(refreshing, "complete_all", lambda *_: pytest.fail("something was made"))
    assert itm("site", results, "--quick")[0] == 0


def broken(*_):
    raise ZeroDivisionError("a page")


def test_a_site_that_cannot_be_written_never_fails_the_command(itm, results, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_search_index", broken)
    code, out, err = itm("report", results)
    assert code == 0
    assert "written:" in out
    assert "could not be written: ZeroDivisionError: a page" in err
    monkeypatch.undo()
    monkeypatch.delenv("ITM_NO_SITE")
    shutil.rmtree(results / "site")
    (tmp_path / "elsewhere").mkdir()
    (results / "site").symlink_to(tmp_path / "elsewhere")
    code, _, err = itm("report", results)
    assert code == 0
    assert "is left as it was" in err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_two_commands_do_not_write_one_site_at_once(itm, results, monkeypatch):
    monkeypatch.setattr(refreshing, "_PATIENCE", 0.0)
    with claim(results, "site"):
        code, _, err = itm("report", results)
        assert code == 0
        assert "another command has been writing the site" in err
        assert itm("site", results)[0] == 2
