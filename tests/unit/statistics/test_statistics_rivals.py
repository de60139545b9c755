"""The gallery counted: gains against a loop that removes each image, the variance against a formula written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from harness.metrics import ranks
from harness.reports.statistics import errors
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.hubs import gallery_counted
from harness.reports.statistics.rivals import DEPTHS, Rivals, find_rivals, gallery_variance, mean_gains
from tests.studies.calibration import HUBS
from tests.studies.gallery import SharedGallery

OWNERS = {"alike": np.repeat(np.arange(14), 3), "unequal": np.repeat(np.arange(14), np.resize([1, 2, 5], 14))}


def gains_by_removal(similarity, owner, k):
    """Rank all queries again without each image; rows are the images of the queries that become hits."""
    size = len(similarity)
    found = {"i2t": np.zeros((size, size)), "t2i": np.zeros((size, size))}
    i2t, t2i = ranks(similarity, owner)
    for gone in range(size):
        images, captions = np.arange(size) != gone, owner != gone
        new_owner = owner[captions] - (owner[captions] > gone)
        i2t_left, t2i_left = ranks(similarity[images][:, captions], new_owner)
        found["i2t"][np.flatnonzero(images), gone] = (i2t_left < k) & (i2t[images] >= k)
        np.add.at(found["t2i"][:, gone], owner[captions], (t2i_left < k) & (t2i[captions] >= k))
    return found


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("levels", [0, 3])  # 3: full of ties
def test_gains_are_those_of_removing_each_image(owner, levels):
    owner = OWNERS[owner]
    similarity = np.random.default_rng(3).standard_normal((14, len(owner)))
    similarity[owner, np.arange(len(owner))] += 1.0
    similarity = np.rint(levels * similarity) if levels else similarity
    rivals = find_rivals(similarity, owner)
    for k in DEPTHS:
        for direction, expected in gains_by_removal(similarity, owner, k).items():
            np.testing.assert_array_equal(rivals.gains[direction, k].toarray(), expected)
    assert sum(gains.sum() for gains in rivals.gains.values()) > 0


def test_variance_is_the_formula_written_out():
    generator = np.random.default_rng(0)
    own = generator.standard_normal(9) / 10
    own -= own.mean()
    gains = generator.integers(0, 2, (9, 9)) * 1.0
    gains[:, 4] += 2.0  # a hub
    np.fill_diagonal(gains, 0.0)
    mean = sum(gains[i, j] for i in range(9) for j in range(9) if i != j) / 72
    centred = {(i, j): gains[i, j] - mean for i in range(9) for j in range(9) if i != j}
    rival = [-sum(centred[i, j] for i in range(9) if i != j) for j in range(9)]
    total = sum((o + r) ** 2 for o, r in zip(own, rival, strict=True)) - sum(c**2 for c in centred.values())
    assert total > own @ own
    assert gallery_variance(own, sparse.csr_array(gains)) == pytest.approx(9 / 8 * total)


def test_without_rivals_it_is_the_clustered_variance():
    own = np.array([1.0, -2.0, 0.5, 0.5])
    assert gallery_variance(own, sparse.csr_array((4, 4))) == pytest.approx(own @ own * 4 / 3)


def test_gains_of_a_metric_are_points_averaged_over_seeds():
    one, two = (sparse.csr_array(np.array([[0.0, n], [0.0, 0.0]])) for n in (1, 3))
    seeds = [Rivals({("i2t", 1): m, ("t2i", 1): m}) for m in (one, two)]
    gains = mean_gains(seeds, [("i2t", 1), ("t2i", 1)], {"i2t": 2, "t2i": 10})
    np.testing.assert_allclose(gains.toarray(), [[0.0, 2 * (50 + 10)], [0.0, 0.0]])


def runs_of(world: SharedGallery, draw: int = 0):
    return replace(world, keep_rivals=True).draw(np.random.default_rng(draw))


def test_scores_change_no_number_and_only_add_a_warning():
    world = replace(HUBS, hub_sd=0.2)
    with_scores, without = compare(runs_of(world)), compare(world.draw(np.random.default_rng(0)))
    assert str(with_scores.rows) == str(without.rows)  # not ==: an ICC may be NaN
    notice = {n.code: n.message for n in with_scores.notices}["hubs"]
    assert notice.startswith("Some images take so many places from other queries that intervals and p on rsum are too")
    assert "method 0 against method 1: 1." in notice
    assert "hubs" not in {n.code for n in without.notices}
    assert "hubs" not in {n.code for n in compare(runs_of(SharedGallery())).notices}


def test_the_order_of_images_and_of_methods_does_not_matter():
    runs = runs_of(replace(HUBS, hub_sd=0.2))
    order = np.random.default_rng(1).permutation(HUBS.images)
    place = np.argsort(order)
    moved = [
        replace(
            run,
            i2t_ranks=run.i2t_ranks[:, order],
            image_ids=run.image_ids[order],
            caption_image=place[run.caption_image],
            rivals=tuple(rivals.reordered(order) for rivals in run.rivals),
        )
        for run in runs
    ]
    hubs = [
        [n.message for n in compare(methods, metrics=["rsum"], resamples=199).notices if n.code == "hubs"]
        for methods in (runs, moved)
    ]
    assert hubs[0] == hubs[1] != []
    columns, swapped = image_columns(runs, ["rsum"]), image_columns(runs[::-1], ["rsum"])
    there = gallery_counted(columns, runs, compare(runs, metrics=["rsum"], resamples=199).rows[0])
    back = gallery_counted(swapped, runs[::-1], compare(runs[::-1], metrics=["rsum"], resamples=199).rows[0])
    assert there.ratio == pytest.approx(back.ratio)
    assert there.ratio > 1.0


def test_a_metric_whose_rivals_are_unknown_keeps_its_p():
    runs = runs_of(HUBS)
    row = compare(runs, metrics=["t2i_r3"], resamples=199).rows[0]
    counted = gallery_counted(image_columns(runs, ["t2i_r3"]), runs, row)
    assert (counted.ratio, counted.p) == (1.0, row.p)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_rivals(np.ones((2, 3)), np.array([0, 1])), "images x captions"),
        (lambda: find_rivals(np.ones((3, 2)), np.array([0, 1])), "captions of 2 images"),
        (lambda: find_rivals(np.ones((2, 2)), np.array([0.5, 1])), "images of captions must be whole numbers"),
        (lambda: gallery_variance([1.0, np.nan], sparse.csr_array((2, 2))), "contributions must be finite"),
        (lambda: gallery_variance([1.0, -1.0], sparse.csr_array((3, 3))), r"gains must be 2 x 2 .* got \(3, 3\)"),
        (lambda: replace(runs_of(SharedGallery(images=30))[0], rivals=()), "rivals must be given for 1 seeds, got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(errors.InvalidSetting, match=message):
        call()
