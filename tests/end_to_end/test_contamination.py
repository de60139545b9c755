"""Test images among the training images: found by the run itself, by `itm contamination`, and shown by the leaderboard."""

from __future__ import annotations

import json
import shutil

import layouts
import numpy as np
import pytest
from PIL import Image

from harness.files import strict_yaml
from harness.records.description import Contamination
from harness.records.store import RunStore
from harness.reports.runs.evidence import contamination
from harness.runs.overlaps import joined


@pytest.fixture
def leaking(tiny, tmp_path):
    """An experiment on photographs of which two test images are training files too, one of them as another picture file."""
    setup = layouts.karpathy(tmp_path / "data")
    images = tmp_path / "data" / "images"
    for row in range(layouts.COUNTS["test"]):  # smooth pictures, which perceptual hashes tell apart
        smooth = np.random.default_rng(row).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(smooth).resize((96, 96), Image.Resampling.BICUBIC).save(images / f"test{row}.png")
    shutil.copy(images / "test0.png", images / "train0.png")
    Image.open(images / "test1.png").resize((64, 64)).save(images / "train1.png")
    path = tmp_path / "leaking.yaml"
    path.write_text(strict_yaml.dump({**tiny, **setup, "seeds": 1}))
    return path


def test_a_run_finds_equal_files_and_the_command_finds_other_copies(leaking, itm, tmp_path):
    code, _, err = itm("leaderboard", leaking)
    assert code == 0, err
    store = RunStore(tmp_path / "results")
    (record,) = store.records()
    (found,) = record.overlaps
    assert (found.other_split, found.images, found.equal, found.near, found.any) == ("train", 30, 1, None, 1)
    assert found.examples == ["test0.png"]
    assert str(contamination([record])) == "1 of 30"
    shown = json.loads((tmp_path / "results/leaderboards/tiny/leaderboard.json").read_text())
    (method,) = shown["data"]["boards"][0]["methods"]
    assert method["contamination"] == "1 of 30"
    page = (tmp_path / "results/leaderboards/tiny/leaderboard.html").read_text()
    assert "1 of 30" in page
    assert "trained on" in page

    code, out, err = itm("contamination")
    assert code == 0, err
    assert "2 of 30" in out
    assert "1 by content, 1 by perceptual hash" in out
    (found,) = store.require(record.run_id).overlaps
    assert (found.equal, found.near, found.any) == (1, 1, 2)


def test_clean_data_say_that_nothing_was_found(tiny, itm, tmp_path):
    setup = layouts.karpathy(tmp_path / "data")
    path = tmp_path / "clean.yaml"
    path.write_text(strict_yaml.dump({**tiny, **setup}))
    assert itm("leaderboard", path)[0] == 0
    (record,) = RunStore(tmp_path / "results").records()
    assert str(contamination([record])) == "none found"
    assert "0 by content" in contamination([record]).how


def test_what_was_found_against_other_data_outlasts_later_looks(tiny, itm, tmp_path):
    path = tmp_path / "clean.yaml"
    path.write_text(strict_yaml.dump({**tiny, **layouts.karpathy(tmp_path / "data")}))
    assert itm("leaderboard", path)[0] == 0
    (tmp_path / "towers.txt").write_text("test3.png\ntest4.png\n")
    for more in (["--against", tmp_path / "towers.txt"], [], ["--quick"], ["--against", tmp_path / "towers.txt"]):
        code, out, err = itm("contamination", *more)
        assert code == 0, err
        assert "2 of 30" in out
        (record,) = RunStore(tmp_path / "results").records()
        assert str(contamination([record])) == "2 of 30"
        assert [one.other_split for one in record.overlaps].count("train") <= 1
        assert len(record.overlaps) == 2


@pytest.mark.parametrize(
    ("earlier", "found", "expected"),
    [
        (None, None, None),
        (None, [("a", None, 1)], [("a", None, 1)]),
        ([("a", 1, 2)], None, [("a", 1, 2)]),
        ([("a", None, 1)], [("a", 1, 2)], [("a", 1, 2)]),
        ([("a", 1, 2)], [("a", 0, 1)], [("a", 0, 1)]),  # looked at as closely, and no longer there
        ([("a", 1, 2)], [("a", None, 1)], [("a", 1, 2)]),  # a quick look
        ([("a", 1, 2)], [("b", None, 0)], [("a", 1, 2), ("b", None, 0)]),
    ],
)
def test_another_look_takes_the_place_of_the_same_comparison_alone(earlier, found, expected):
    def made(given):
        same = {"split": "test", "other_split": "train", "images": 9, "other_images": 9, "names": 0}
        return given and [Contamination(other=name, near=near, any=some, **same) for name, near, some in given]

    known = joined(made(earlier), made(found))
    assert (known and [(one.other, one.near, one.any) for one in known]) == expected


def test_generated_images_share_nothing(experiment, itm, tmp_path):
    assert itm("leaderboard", experiment)[0] == 0
    (record,) = RunStore(tmp_path / "results").records()
    assert record.overlaps == ()
    assert contamination([record]).how == "generated images"


def test_what_somebody_else_trained_on_is_what_he_names(tiny, itm, tmp_path):
    root = tmp_path / "data"
    layouts.karpathy(root)
    images, captions = layouts.COUNTS["test"], 5 * layouts.COUNTS["test"]
    own = np.arange(images)[:, None] == np.arange(captions) // 5
    np.save(tmp_path / "s.npy", np.random.default_rng(0).standard_normal((images, captions)) + 3 * own)
    add = ["add", tmp_path / "s.npy", "--dataset", "karpathy", "--set", f"root={root}"]
    assert itm(*add, "--name", "silent")[0] == 0
    (tmp_path / "ids.txt").write_text("test3.png\ntest4.png\nelsewhere.png\n")
    assert itm(*add, "--name", "open", "--trained-on", tmp_path / "ids.txt")[0] == 0
    records = {record.scorer: record for record in RunStore(tmp_path / "results").records()}
    assert str(contamination([records["silent"]])) == "unknown"
    assert str(contamination([records["open"]])) == "2 of 30"
    code, _, err = itm(*add, "--name", "wrong", "--trained-on", tmp_path / "nowhere.txt")
    assert code == 2
    assert "nowhere.txt" in err
    code, _, err = itm("contamination", records["silent"].run_id)
    assert code == 2
    assert "name what they were trained on with --against" in err
    assert itm("contamination", records["silent"].run_id, "--against", tmp_path / "ids.txt")[0] == 0
    assert str(contamination([RunStore(tmp_path / "results").require(records["silent"].run_id)])) == "2 of 30"
