"""The short form of the calibration: promises kept within Monte-Carlo error, the naive test caught breaking them."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from harness.reports.statistics.hits import image_columns
from tests.studies import calibration
from tests.studies.calibration import Measured
from tests.studies.gallery import SharedGallery
from tests.studies.simulation import World
from tests.studies.speed import measure


@pytest.fixture(autouse=True)
def cheap_garbage_collection():
    """Statsmodels collects garbage at every Holm correction; frozen objects cost it nothing."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("image_sd", "caption_sd"), [calibration.CORRELATIONS[0], calibration.CORRELATIONS[-1]])
def test_type_one_error_of_images_and_of_captions(image_sd, caption_sd):
    world = World(images=100, captions=5, method_image_sd=image_sd, method_caption_sd=caption_sd)
    t2i, rsum, naive = calibration.type_one_error(world, 250, seed=1)
    assert t2i.within, t2i
    assert rsum.within, rsum
    if image_sd > 0.5:
        assert naive.rate > t2i.high, "the simulated captions are too independent to show anything"


def test_coverage():
    line = calibration.coverage(World(images=60, offset=0.1), 250, seed=2)
    assert line.within, line


def test_family_wise_error():
    lines = calibration.family_wise_error(World(images=60, methods=4), 60, seed=3)
    assert all(line.within for line in lines), lines
    assert lines[-1].rate > 0.3  # uncorrected


def test_method_claims():
    world = World(images=60, methods=3, seeds=3, seed_sd=0.1, seed_query_sd=0.3)
    lines = calibration.method_claims(world, 200, seed=4)
    assert all(line.within for line in lines), lines


def test_promises_with_a_shared_gallery():
    lines = calibration.type_one_error(SharedGallery(images=60), 200, seed=5)[:2]
    lines.append(calibration.coverage(SharedGallery(images=60, offset=0.1), 200, seed=6))
    lines += calibration.family_wise_error(SharedGallery(images=60, methods=4), 50, seed=7)[:3]
    world = SharedGallery(images=60, methods=3, seeds=3, seed_sd=0.3, seed_level_sd=0.2)
    lines += calibration.method_claims(world, 100, seed=8)
    assert all(line.within for line in lines), lines
    assert all("shared gallery" in line.setting for line in lines)


@pytest.mark.parametrize("kind", ["queries", "gallery", "plans", "all"])
def test_kinds_of_made_up_methods(monkeypatch, kind):
    line = Measured("x", "N = 1", 0.05, 0.0, 0.1, 20)
    monkeypatch.setattr(calibration, "_query_lines", lambda repetitions, seed: iter([replace(line, what="queries")]))
    monkeypatch.setattr(calibration, "_gallery_lines", lambda repetitions, seed: iter([replace(line, what="gallery")]))
    monkeypatch.setattr(calibration, "_plan_lines", lambda repetitions, seed: iter([replace(line, what="plans")]))
    written: list[str] = []
    assert calibration.main(["--kind", kind], written.append) == 0
    assert [row.split(" | ")[0][2:] for row in written[2:]] == (
        ["queries", "gallery", "plans"] if kind == "all" else [kind]
    )


@pytest.mark.parametrize("arguments", [["--repetitions", "0"], ["--seed", "-1"], ["--kind", "both"]])
def test_options_out_of_range(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        calibration.main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


def test_simulated_truth_is_what_many_images_show():
    world = World(images=20_000, offset=0.2)
    scores = image_columns(world.draw(np.random.default_rng(0)), ["rsum"]).scores[:, 0]
    np.testing.assert_allclose(scores, [world.true_rsum(0), world.true_rsum(1)], atol=4.0)


def test_the_table_is_printed_and_a_broken_promise_fails(monkeypatch):
    lines = [Measured("x", "N = 1", 0.05, -0.01, 0.06, 10), Measured("y", "N = 1", 0.2, 0.0, 1.0, 10, "for contrast")]
    monkeypatch.setattr(calibration, "table", lambda repetitions, seed, kinds: iter(lines))
    written: list[str] = []
    assert calibration.main(["--repetitions", "10"], written.append) == 0
    assert written[-2:] == [
        "| x | N = 1 | 5.0 | 0.0 to 30.8 | 0.0 to 6.0 | yes |",
        "| y | N = 1 | 20.0 | 2.5 to 55.6 | - | for contrast |",
    ]
    lines.append(Measured("z", "N = 1", 0.2, 0.0, 0.1, 10))
    assert calibration.main([], written.append) == 1
    assert written[-1] == "| z | N = 1 | 20.0 | 2.5 to 55.6 | 0.0 to 10.0 | NO |"


def test_speed_measures_what_it_says():
    speed = measure(methods=3, images=200, resamples=500)
    assert speed.tests == 21
    assert min(speed.compare_s, speed.column_s, speed.scipy_s) > 0
    assert speed.peak_mib > 20
