"""`itm ablate` from outside."""

from __future__ import annotations

import json

import pytest

SETTINGS = ("--set", "scorers=[grm]", "--set", "dataset.test_images=40", "--set", "training.epochs=1", "--no-mlflow")


@pytest.fixture
def ablate(itm, experiment):
    def run(*arguments):
        return itm("ablate", experiment, "--scorer", "grm", *SETTINGS, *arguments)

    return run


def test_one_at_a_time_and_again(ablate, tmp_path):
    variants = ("--variants", "no_significance,no_uncertain_level")
    code, out, err = ablate(*variants)
    assert code == 0, err
    assert "3 runs: 0 already recorded, 3 to run" in err
    assert "grm.no_significance" in out
    folder = tmp_path / "results" / "ablations" / "tiny-ablate-grm"
    rows = {row["model"]: row for row in json.loads((folder / "ablation.json").read_text())["data"]["rows"]}
    assert set(rows) == {"grm", "grm.no_significance", "grm.no_uncertain_level"}
    assert rows["grm.no_significance"]["published_difference"] == pytest.approx(502.8 - 516.2)
    assert list(folder.glob("*.svg"))
    before = (folder / "ablation.csv").read_bytes()
    code, _, err = ablate(*variants)
    assert code == 0
    assert "3 runs: 3 already recorded, 0 to run" in err
    assert (folder / "ablation.csv").read_bytes() == before


def test_add_one_in_compares_with_the_bare_model(ablate):
    code, out, err = ablate("--plan", "add-one-in", "--variants", "no_significance,no_granularity")
    assert code == 0, err
    assert "grm bare" in out
    assert "grm+granularity" in out


def test_mistakes_are_one_line(ablate, itm, experiment):
    for result, message in [
        (ablate("--variants", "no_such"), "unknown variant of grm 'no_such'"),
        (ablate("--plan", "add-one-in"), "choose with --variants"),
        (itm("ablate", experiment, "--scorer", "gmr"), "did you mean 'grm'"),
        (ablate("--plan", "grid"), "models, more than 64"),
    ]:
        code, _, err = result
        assert code == 2
        assert message in err
        assert "Traceback" not in err
