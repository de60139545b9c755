"""Measured beside printed: what matches, what is within the tolerance, and that nothing is left out in silence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from harness.records.ties import RECALLS
from harness.reports.document import render
from harness.reports.published import compare as compare_published
from harness.reports.published.match import causes, measured
from harness.reports.published.rows import published_rows_for

REGIONS = {"image": {"name": "regions"}, "text": {"name": "bigru"}, "dataset": {"name": "precomp"}}


@pytest.fixture
def printed() -> dict:
    """SCAN's T2I_AVE row on Flickr30K, as printed."""
    rows = published_rows_for("flickr30k", "full", "scan")
    return rows[rows["variant"].str.contains("T2I_AVE")].iloc[0].to_dict()


@pytest.fixture
def add(runs, table):
    """Write a run whose recalls on 1,000 images and 5,000 captions are the given ones, by multiples of 0.1."""

    def ranks(count: int, recalls) -> np.ndarray:
        made = np.full(count, 20)
        for recall, rank in zip(reversed(recalls), (7, 3, 0), strict=True):
            made[: round(count * recall / 100)] = rank
        return made

    def write(recalls, images: int = 1000, **changes) -> str:
        owner = np.repeat(np.arange(images), 5)
        made = table(ranks(images, recalls[:3]), ranks(5 * images, recalls[3:]), owner)
        scorer = changes.pop("scorer", "scan")
        spec = {"scorer": scorer, "seed": 0, **REGIONS, "config": {"direction": "t2i", "pooling": "mean"}}
        spec |= changes.pop("spec", {})
        return runs.add(made, **{"dataset": "flickr30k", "scorer": scorer, "spec": spec, **changes})

    return write


def _recalls(row: dict, shift: float = 0.0) -> list[float]:
    return [row[key] + shift for key in RECALLS]


def _build(runs, **settings):
    return compare_published.build(runs.store, runs.ids, **settings)


def test_a_record_equal_to_a_printed_row_meets_it(runs, add, printed):
    add(_recalls(printed))
    report = _build(runs)
    first = report.main.iloc[0]
    assert (first["printed_variant"], first["verdict"], first["causes"]) == (printed["variant"], "met", "")
    assert [first[f"delta_{key}"] for key in RECALLS] == [0.0] * 6
    assert report.sentences[0].endswith("is met within 0.2 points on every printed recall.")


@pytest.mark.parametrize(("shift", "verdict"), [(0.2, "met"), (-0.2, "met"), (0.3, "above"), (-0.3, "below")])
def test_the_tolerance_is_two_tenths_of_a_point_on_each_recall(runs, add, printed, shift, verdict):
    recalls = _recalls(printed)
    recalls[3] += shift  # 5,000 caption queries resolve 0.02
    add(recalls)
    got = _build(runs).main.set_index("printed_variant").loc[printed["variant"], "verdict"]
    assert got == ("met" if verdict == "met" else f"{verdict} by up to 0.3 (t2i R@1)")


def test_another_direction_and_an_ensemble_are_named_as_causes(runs, add, printed):
    add(_recalls(printed, -3))
    rows = _build(runs).main.set_index("printed_variant")
    assert "re-implementation: this code" in rows.loc["BUTD, T2I_AVE", "causes"]
    assert "other variant: printed BUTD, I2T_AVE" in rows.loc["BUTD, I2T_AVE", "causes"]
    assert "ensemble: the printed figure averages" in rows.loc["BUTD, AVE+LSE (ensemble)", "causes"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"selected_on": "test"}, "selection on test"),
        ({"reproduced_by": "LAPS"}, "the printed figure is LAPS's"),
        ({"image": "swin-b", "visual_backbone": "Swin-B-384 (12x12)"}, "other backbone: printed Swin-B-384"),
        ({"word_vectors": "glove"}, "word vectors"),
        ({"pretrained": "openai"}, "weights: printed openai, here none"),
        ({"kind": "zero-shot"}, "the printed figure is zero-shot"),
        ({"kind": "ensemble"}, "averages several models"),
    ],
)
def test_known_differences_are_causes(runs, add, printed, changes, cause):
    run = add(_recalls(printed))
    ours = measured(runs.store.read(run))
    assert not any(cause in text for text in causes(ours, printed))
    assert any(cause in text for text in causes(ours, {**printed, **changes}))


def test_features_and_resolution(runs, add, printed):
    run = add(_recalls(printed), spec={"dataset": {"name": "scenes"}})
    assert any("features: printed on BUTD" in text for text in causes(measured(runs.store.read(run)), printed))
    patches = {"image": {"name": "patches", "architecture": "vit_base_patch16_224", "image_size": 224}}
    run = add(_recalls(printed), spec={**patches, "text": {"name": "transformer", "model": "bert-base-uncased"}})
    at_384 = {**printed, "image": "vit-b/16", "resolution": 384, "text": "bert"}
    found = causes(measured(runs.store.read(run)), at_384)
    assert "resolution: printed 384 px, here 224" in found
    assert not any("other backbone" in text for text in found)


def test_without_a_match_the_nearest_rows_are_named(runs, add, printed):
    add(_recalls(printed), scorer="grm")
    add(_recalls(printed), scorer="late_interaction")
    add(_recalls(printed), scorer="chan", dataset="scenes")
    add(_recalls(printed), scorer="late_interaction", dataset="scenes")
    add([50.0] * 6, images=100, data_sha256="b" * 64)
    report = _build(runs)
    said = "\n".join(report.sentences)
    assert "grm [regions+bigru] on flickr30k test, full" in said
    assert "no published row of the same backbone; nearest: GRM (ViT-B" in said
    assert "no published row of the method 'lateinteraction'; nearest: " in said
    assert "no published row of this method on scenes, full; nearest: CHAN" in said
    assert "nor any on scenes, full." in said
    assert "no published row of 100 test images (printed: 1,000); nearest: SCAN" in said
    assert len(report.sentences) == 5
    nearest = report.main[~report.main["comparable"]]
    assert nearest["delta_rsum"].isna().all()  # what cannot be compared has no difference


def test_printed_errors_are_marked(runs, add, printed):
    patches = {"image": {"name": "patches", "architecture": "swin_base_patch4_window12_384", "image_size": 384}}
    add(
        _recalls(printed), scorer="grm", spec={**patches, "text": {"name": "transformer", "model": "bert-base-uncased"}}
    )
    first, second = _build(runs).main.to_dict("records")
    assert "printed rSum 550.7, its six recalls sum to 551.7" in first["marks"]
    assert "resolution: printed 224 px, here 384" in second["causes"]  # a cause, not another backbone


def test_an_ensemble_is_compared_as_one(runs, add, printed):
    member = {"scorer": "scan", **REGIONS}
    run = add(
        _recalls(printed),
        scorer="scan.t2i + scan.i2t (ensemble)",
        code_origin="ensemble",
        spec={"ensemble": [member] * 2},
    )
    ours = measured(runs.store.read(run))
    assert (ours.key, ours.ensemble) == ("scan", True)
    assert _build(runs).main.iloc[0]["printed_kind"] == "ensemble"


def test_vse_names_of_papers_are_found(runs, add, printed):
    for scorer, printed_name in (("vse_infinity", "VSE-inf"), ("vsepp", "VSE++")):
        add(_recalls(printed), scorer=scorer)
        rows = _build(runs).main
        assert printed_name in set(rows["printed_method"])


def test_flickr30k_1k_is_compared_with_the_rows_of_full(runs, add, printed):
    add(_recalls(printed), protocol="flickr30k_1k")
    assert _build(runs).main.iloc[0]["verdict"] == "met"


def test_seeds_are_one_method_with_a_spread(runs, add, printed):
    for seed, shift in enumerate((-1.0, 0.0, 1.0)):
        add(_recalls(printed, shift), seed=seed, spec={"seed": seed})
    first = _build(runs).main.iloc[0]
    assert (first["seeds"], first["verdict"]) == (3, "met")
    assert first["seed_sd"] == pytest.approx(1.0)


def test_all_formats_are_written(runs, add, printed, tmp_path):
    add(_recalls(printed), scorer="<b>evil</b>")
    add(_recalls(printed))
    files = {path.suffix: path for path in render.write(_build(runs), tmp_path)}
    assert set(files) == {".md", ".html", ".csv", ".json", ".tex"}
    assert "<b>evil" not in files[".html"].read_text()
    assert len(json.loads(files[".json"].read_text())["data"]["pairs"]) == len(pd.read_csv(files[".csv"]))
