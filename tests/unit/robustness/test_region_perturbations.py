"""Perturbations of region features: what holds of each, and what holds of all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.robustness.perturbations.regions import REGION_PERTURBATIONS
from harness.robustness.perturbations.severities import SEVERITIES, draws_of

KINDS = sorted(REGION_PERTURBATIONS)


def regions(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2.0, 3.0, (count, width)).astype(np.float32)


def damaged(kind: str, features: np.ndarray, severity: int, name: str = "a") -> np.ndarray:
    return REGION_PERTURBATIONS[kind].apply(features, severity, draws_of(0, kind, name))


def rows_of(features: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in features]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 36])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_region_stays_and_types_and_widths_do_too(kind, count, dtype):
    features = regions(count).astype(dtype)
    before = features.copy()
    for name in "abcdef":
        for severity in SEVERITIES:
            found = damaged(kind, features, severity, name)
            assert 1 <= len(found) <= 2 * count + 1
            assert (found.shape[1], found.dtype) == (16, dtype)
        np.testing.assert_array_equal(damaged(kind, features, 0, name), features)
    np.testing.assert_array_equal(features, before)


def test_dropped_regions_are_the_stated_share_on_average_and_the_rest_keeps_its_order():
    for count in (4, 36):
        features = regions(count)
        for severity, share in zip(SEVERITIES, (0.15, 0.3, 0.45, 0.6, 0.75), strict=True):
            left = [damaged("dropped", features, severity, str(name)) for name in range(300)]
            assert np.mean([1 - len(one) / count for one in left]) == pytest.approx(share, abs=0.02)
            for one in left:
                places = [rows_of(features).index(row) for row in rows_of(one)]
                assert places == sorted(set(places))


def test_a_severer_drop_drops_more_of_the_same():
    features = regions(9)
    for name in map(str, range(50)):
        kept = [set(rows_of(damaged("dropped", features, severity, name))) for severity in (0, *SEVERITIES)]
        assert all(later <= earlier for earlier, later in itertools.pairwise(kept))
        assert kept[-1] < kept[0]


def test_every_region_is_dropped_as_often():
    features = regions(8)
    kept = [rows_of(damaged("dropped", features, 3, str(name))) for name in range(800)]
    shares = [np.mean([row in one for one in kept]) for row in rows_of(features)]
    np.testing.assert_allclose(shares, 0.55, atol=0.08)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jitter_has_the_stated_ratio_to_each_regions_own_size(severity):
    features = regions(40, 2048)
    features[::2] *= 100
    added = damaged("jittered", features, severity) - features
    for row in range(40):
        ratio = np.sqrt(np.mean(added[row] ** 2)) / np.sqrt(np.mean(features[row] ** 2))
        assert ratio == pytest.approx(severity / 5, rel=0.08)
    assert np.abs(added.mean(axis=1) / added.std(axis=1)).max() < 0.1
    one, two = (damaged("jittered", features, s) - features for s in (1, 2))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-3, atol=1e-2)


def test_jitter_leaves_a_region_of_zeros_as_it_is():
    features = np.concatenate([regions(2), np.zeros((1, 16), np.float32)])
    assert not damaged("jittered", features, 5)[2].any()


def test_jitter_of_a_region_depends_on_no_other_region():
    features = regions(5)
    changed = features.copy()
    changed[3] *= 50
    keep = [0, 1, 2, 4]
    np.testing.assert_array_equal(damaged("jittered", changed, 4)[keep], damaged("jittered", features, 4)[keep])


@pytest.mark.parametrize("count", [1, 4, 10, 36])
def test_duplicates_are_copies_of_few_regions_at_the_end(count):
    features = regions(count)
    for severity in SEVERITIES:
        lengths = []
        for name in map(str, range(100)):
            found = damaged("duplicated", features, severity, name)
            np.testing.assert_array_equal(found[:count], features)
            copies = rows_of(found[count:])
            lengths.append(len(copies) / count)
            assert set(copies) <= set(rows_of(features))
            assert len(set(copies)) <= -(-count // 4)
            times = [copies.count(row) for row in set(copies)]
            assert not times or max(times) - min(times) <= 1
        assert np.mean(lengths) == pytest.approx(severity / 5, abs=0.1)


@pytest.mark.parametrize("count", [1, 2, 5, 36])
def test_shuffled_regions_are_the_same_ones_and_as_many_move_as_stated(count):
    features = regions(count)
    for severity in SEVERITIES:
        found = damaged("shuffled", features, severity)
        assert sorted(rows_of(found)) == sorted(rows_of(features))
        moved = (found != features).any(axis=1).sum()
        assert moved == (0 if count == 1 else max(2, round(count * severity / 5)))


def test_draws_belong_to_the_picture():
    features = regions(20)
    for kind in KINDS:
        one, other = damaged(kind, features, 3, "a"), damaged(kind, features, 3, "b")
        assert one.shape != other.shape or (one != other).any()
        np.testing.assert_array_equal(one, damaged(kind, features, 3, "a"))
