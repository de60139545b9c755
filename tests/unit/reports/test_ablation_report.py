"""The ablation report: differences against a naive computation, the published effects, and what cannot be reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.reports.ablation import report as ablation
from harness.reports.ablation.rows import Ablated, Published
from harness.reports.document import render

PUBLISHED = Published({"": 516.2, "no_a": 502.8}, "A paper, Table 2")


@pytest.fixture
def models(runs, table):
    """A full model and two variants of three seeds; without `a` it is clearly worse, without `b` the same."""
    generator = np.random.default_rng(0)
    made = []
    for label, removed, worse in [("m", (), 0), ("m.no_a", ("no_a",), 4), ("m.no_b", ("no_b",), 0)]:
        ids = []
        for seed in range(3):
            base = np.random.default_rng(7)  # the same queries are hard for every model
            i2t = base.integers(0, 8, 60) + generator.integers(0, 2, 60) + worse
            t2i = base.integers(0, 12, 300) + generator.integers(0, 2, 300) + worse
            ids.append(
                runs.add(
                    table(i2t, t2i, np.arange(300) // 5),
                    scorer="m",
                    variant=removed[0] if removed else "",
                    seed=seed,
                    cost={"params_millions": 2.0 - 0.5 * bool(removed), "train_step_ms_p50": 10.0},
                )
            )
        made.append(Ablated(label, removed, tuple(ids)))
    return made


def _build(runs, models, **options):
    return ablation.build(runs.store, models, "m", title="Ablation of m", **options)


def test_differences_are_those_of_the_records(runs, models):
    main = _build(runs, models, published=PUBLISHED).main.set_index("model")
    means = {
        model.label: np.mean([runs.store.read(run_id).metrics["full"]["rsum"] for run_id in model.run_ids])
        for model in models
    }
    for label in ("m.no_a", "m.no_b"):
        row = main.loc[label]
        assert row["rsum_difference"] == pytest.approx(means[label] - means["m"])
        assert row["rsum_low"] < row["rsum_difference"] < row["rsum_high"]
        assert row["params_millions_percent"] == pytest.approx(-25.0)
        assert row["train_step_ms_p50_percent"] == pytest.approx(0.0)
    assert main.loc["m.no_a", "p_adjusted"] < 0.01 < 0.2 < main.loc["m.no_b", "p_adjusted"]
    assert main.loc["m.no_a", "published_difference"] == pytest.approx(502.8 - 516.2)
    assert pd.isna(main.loc["m.no_b", "published_difference"])
    assert pd.isna(main.loc["m", "rsum_difference"])


def test_the_page_says_what_is_compared_and_what_is_not(runs, models, tmp_path):
    report = _build(runs, models, published=PUBLISHED)
    files = render.write(report, tmp_path / "out")
    page = (tmp_path / "out" / "ablation.md").read_text()
    assert "m beats m.no_a" in page
    assert "m.no_b against m: inconclusive" in page
    assert "A paper, Table 2" in page
    assert {path.name for path in files} >= {"ablation.csv", "ablation.html", "ablation.json", "ablation.tex"}
    assert [path for path in files if path.suffix == ".svg"]
    again = render.write(_build(runs, models, published=PUBLISHED), tmp_path / "again")
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]


def test_the_order_of_the_models_does_not_move_the_reference(runs, models):
    report = _build(runs, [models[1], models[0], models[2]])
    assert report.main["model"].tolist()[0] == "m"


def test_one_seed_is_a_claim_about_checkpoints(runs, models):
    single = [Ablated(model.label, model.removed, model.run_ids[:1]) for model in models]
    captions = " ".join(table.caption for table in _build(runs, single).tables)
    assert "these trained models only" in captions
    assert "retrained models" in " ".join(table.caption for table in _build(runs, models).tables)
