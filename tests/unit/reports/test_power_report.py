"""`itm power` from outside: plans from runs, from experiments and from guesses, what it writes, and what it refuses."""

from __future__ import annotations

import json
import math
import re

import pytest

from harness.cli.main import main
from harness.reports.power.plan import Guess, Question, Setup, plan_of_guess
from harness.reports.power.report import build
from harness.reports.statistics.errors import InvalidSetting


@pytest.fixture
def itm(capsys):
    """A command -> exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), " ".join(captured.out.split()), captured.err

    return run


@pytest.fixture
def recorded(runs):
    """Three methods, three seeds each, trained for 100, 200 and 300 seconds a run."""
    for number, scorer in enumerate(("scan", "chan", "grm"), 1):
        runs.add_drawn(0.3 + 0.2 * number, scorer=scorer, images=120, training={"seconds": 100.0 * number})
    return runs.store.results


def test_recorded_runs_say_what_would_be_found(itm, recorded):
    code, out, _ = itm("power", recorded, "--difference", 40)
    assert code == 0
    assert "with 3 seeds per method and 120 images, a true difference of" in out
    assert "alpha 0.05 over 3 comparisons" in out
    assert re.search(r"an SD of [0-9.]+ points that all seeds share, [0-9.]+ with one seed each", " ".join(out.split()))
    assert "3 seeds x 3 methods = 30 min of training" in out
    found = json.loads((recorded / "power" / "scenes-full" / "power.json").read_text())["data"]
    assert [row["seeds"] for row in found["plan"]] == [1, 3, 5, 10]
    assert [row["planned"] for row in found["plan"]] == [False, True, False, False]
    assert found["plan"][2]["hours"] == pytest.approx(5 * 600 / 3600)
    assert found["df_seeds"] == 6
    assert len(found["pairs"]) == 3
    assert len(found["run_ids"]) == 9
    for ending in ("md", "html", "csv", "tex"):
        assert (recorded / "power" / "scenes-full" / f"power.{ending}").is_file()


def test_a_guess_is_enough_and_is_called_one(itm, tmp_path):
    out_folder, numbers = tmp_path / "plan", tmp_path / "plan.json"
    code, out, _ = itm(
        "power",
        "--sd-images",
        60,
        "--sd-seeds",
        2,
        "--images",
        1000,
        "--seeds",
        4,
        "--out",
        out_folder,
        "--json",
        numbers,
    )
    assert code == 0
    assert "Stated, not measured: SD over images 60 points; SD over seeds 2 points." in out
    found = json.loads(numbers.read_text())
    assert [row["seeds"] for row in found["plan"]] == [1, 3, 4, 5, 10]
    checkpoint = found["plan"][0]["detectable_1"]
    assert checkpoint == pytest.approx(2.8016 * 60 / math.sqrt(1000), rel=2e-3)
    assert found["plan"][0]["images_needed"] == pytest.approx((2.8016 * 60 / 5) ** 2, rel=4e-3)
    assert found["cost"] is None


def test_disagreement_and_icc_are_the_formula_of_the_field(itm, tmp_path):
    code, _, _ = itm(
        "power", "--metric", "t2i_r1", "--disagreement", 0.2, "--icc", 0.25, "--images", 1000,
        "--out", tmp_path / "plan", "--json", tmp_path / "plan.json",
    )  # fmt: skip
    found = json.loads((tmp_path / "plan.json").read_text())
    assert code == 0
    assert found["question"]["difference"] == 1.0
    assert found["plan"][0]["detectable_1"] == pytest.approx(280 * math.sqrt(0.2 * 2 / 5000), rel=3e-3)
    assert len(found["plan"]) == 1  # nothing is known of seeds


def test_a_stated_value_stands_for_the_recorded_one(itm, recorded, tmp_path):
    itm("power", recorded, "--json", tmp_path / "a.json")
    code, out, _ = itm("power", recorded, "--sd-seeds", 0, "--json", tmp_path / "b.json")
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert code == 0
    assert "SD over seeds 0 points" in out
    assert b["components"]["variance_images"] == a["components"]["variance_images"]
    assert b["components"]["variance_seeds"] == [0, 0]


def test_one_seed_plans_for_checkpoints(itm, runs):
    for scorer in ("scan", "chan"):
        runs.add_drawn(0.5, scorer=scorer, images=60, seeds=1)
    code, out, _ = itm("power", runs.store.results)
    assert code == 0
    assert "No method has 2 seeds: nothing is known of retraining" in out
    assert "between checkpoints, 60 images find" in out


def test_an_experiment_without_runs_needs_a_guess(itm, tmp_path):
    small = ("dataset.train_images=4", "dataset.val_images=4", "dataset.test_images=40", "seeds=5")
    sets = [part for key in small for part in ("--set", key)]
    code, _, err = itm("power", "quickstart", *sets, "--results", tmp_path / "none")
    assert code == 2
    assert "no run of quickstart is recorded" in err
    assert "--sd-images" in err
    code, out, _ = itm("power", "quickstart", *sets, "--results", tmp_path / "none", "--sd-images", 70, "--sd-seeds", 3)
    assert code == 0
    assert "quickstart: with 5 seeds per method and 40 images" in out
    assert "over 6 comparisons" in out


def test_a_page_is_told_in_whole(recorded):
    plan = plan_of_guess(
        Setup(title="x", slug="x", images=500, seeds=3), Question(guess=Guess(sd_images=50.0, sd_seeds=1.0))
    )
    page = build(plan)
    assert [section.title for section in page.sections] == ["Seeds and images", "What it rests on"]
    assert len(page.figures) == 1
    assert any("never computed" in sentence for sentence in page.sections[0].reading)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give runs that are recorded"),
        (["nowhere"], "nowhere"),
        (["{results}", "--set", "seeds=3"], "--set changes an experiment"),
        (["{results}", "--metric", "r7"], "unknown metric 'r7'"),
        (["{results}", "--power", "1"], "power must be a number above 0.05 and below 1"),
        (["{results}", "--alpha", "nan"], "alpha must be a number"),
        (["{results}", "--difference", "0"], "--difference"),
        (["{results}", "--disagreement", "0.2"], "--disagreement and --icc belong together"),
        (["{results}", "--disagreement", "0.2", "--icc", "0.1"], "--metric t2i_r1, not rsum"),
        (
            ["--images", "99", "--metric", "t2i_r1", "--disagreement", "0.2", "--icc", "0.1", "--sd-images", "3"],
            "say the same",
        ),
        (["--sd-images", "60"], "give --images N"),
        (["{results}", "--dataset", "flickr8k"], "flickr8k"),
        (["{results}", "--images", "10"], "--images"),
    ],
)
def test_bad_input_is_one_line(arguments, message, itm, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = itm("power", *(argument.format(results=recorded) for argument in arguments))
    assert code == 2
    assert message in err
    assert not (recorded / "power").exists()


def test_two_ways_of_guessing_exclude_each_other():
    with pytest.raises(InvalidSetting, match="say the same"):
        Question(metric="t2i_r1", guess=Guess(sd_images=1.0, disagreement=0.2, icc=0.1))
