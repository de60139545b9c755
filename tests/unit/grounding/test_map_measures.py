"""The measures of maps, against loops over their definitions, a library, and their worked values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.grounding.boxes import apart, centres_inside, overlaps, padded, places_of
from harness.grounding.measures import inside_share, pointing, random_maps, rank_correlation, uniform

GENERATOR = np.random.default_rng(0)
WORDS, FRAGMENTS = 60, 12


def random_places(seed=0):
    """(N, R) places with random boxes, some of them for the whole picture."""
    generator = np.random.default_rng(seed)
    pictures = []
    for _ in range(WORDS):
        corners = np.sort(generator.random((FRAGMENTS, 2, 2)), axis=1)
        boxes = [tuple(box) for box in np.concatenate([corners[:, 0], corners[:, 1]], axis=1)]
        pictures.append([None, *boxes[1:]])
    return places_of(pictures)


def random_case(seed=0):
    generator = np.random.default_rng(seed)
    maps = generator.integers(0, 4, (WORDS, FRAGMENTS)) / 4  # few values: many ties
    overlap = generator.integers(0, 3, (WORDS, FRAGMENTS)) / 2
    mask = generator.random((WORDS, FRAGMENTS)) < 0.8
    return maps, overlap, mask


def test_pointing_is_the_share_of_the_fragments_with_the_largest_weight_that_hit():
    maps, overlap, mask = random_case()
    found = pointing(maps, overlap == 1, mask)
    for n in range(WORDS):
        values = [maps[n, r] for r in range(FRAGMENTS) if mask[n, r]]
        best = [r for r in range(FRAGMENTS) if mask[n, r] and maps[n, r] == max(values) > 0]
        hits = [overlap[n, r] == 1 for r in best]
        assert found[n] == pytest.approx(sum(hits) / len(hits) if hits else 0)


def test_the_share_inside_weighs_each_fragment_by_its_overlap():
    maps, overlap, mask = random_case(1)
    found = inside_share(maps, overlap, mask)
    for n in range(WORDS):
        mass = sum(maps[n, r] for r in range(FRAGMENTS) if mask[n, r])
        inside = sum(maps[n, r] * overlap[n, r] for r in range(FRAGMENTS) if mask[n, r])
        assert found[n] == pytest.approx(inside / mass if mass else 0)


def test_rank_correlation_is_spearmans():
    maps, overlap, mask = random_case(2)
    found = rank_correlation(maps, overlap, mask)
    for n in range(WORDS):
        ours, theirs = maps[n, mask[n]], overlap[n, mask[n]]
        if len(set(theirs)) == 1:
            assert np.isnan(found[n])
        elif len(set(ours)) == 1:
            assert found[n] == 0
        else:
            assert found[n] == pytest.approx(spearmanr(ours, theirs).statistic)


@pytest.mark.parametrize("measure", [pointing, inside_share, rank_correlation])
def test_no_measure_depends_on_the_scale_of_a_map_or_on_the_order_of_fragments(measure):
    maps, overlap, mask = random_case(3)
    target = overlap == 1 if measure is pointing else overlap
    expected = measure(maps, target, mask)
    np.testing.assert_allclose(measure(maps * 7, target, mask), expected)
    order = GENERATOR.permutation(FRAGMENTS)
    np.testing.assert_allclose(measure(maps[:, order], target[:, order], mask[:, order]), expected)


def test_a_map_without_mass_misses():
    overlap, mask = np.array([[1.0, 0.5]]), np.ones((1, 2), dtype=bool)
    nothing = np.zeros((1, 2))
    found = [
        pointing(nothing, overlap > 0, mask),
        inside_share(nothing, overlap, mask),
        rank_correlation(nothing, overlap, mask),
    ]
    assert [value.item() for value in found] == [0, 0, 0]


def test_weights_where_nothing_takes_part_count_nowhere():
    maps, overlap = np.array([[9.0, 1.0, 0.5]]), np.array([[0.0, 1.0, 0.0]])
    mask = np.array([[False, True, True]])
    assert pointing(maps, overlap == 1, mask) == [1]
    assert inside_share(maps, overlap, mask) == pytest.approx(2 / 3)
    assert rank_correlation(maps, overlap, mask) == [1]


def test_an_even_map_expects_what_random_maps_get():
    """The expectation of both baselines is the same, so that the even map's is exact for a random one."""
    overlap = np.repeat([[1.0, 0.25, 0.0, 0.0, 0.75]], 4000, axis=0)
    mask = np.repeat([[True, True, True, True, True]], 4000, axis=0)
    drawn = random_maps([str(n) for n in range(4000)], "key", 5)
    for measure, target in ((pointing, overlap > 0.5), (inside_share, overlap), (rank_correlation, overlap)):
        values = measure(drawn, target, mask)
        error = values.std() / np.sqrt(len(values))
        expected = measure(uniform(mask), target, mask)[0]
        assert abs(values.mean() - expected) < 4 * error, measure.__name__


def test_random_maps_are_even_over_all_maps():
    """Of three parts that sum to 1, each is below t with probability 1 - (1 - t) ** 2."""
    drawn = random_maps([str(n) for n in range(4000)], "key", 3)
    share = drawn[:, 0] / drawn.sum(axis=1)
    for limit in (0.2, 0.5, 0.8):
        assert (share < limit).mean() == pytest.approx(1 - (1 - limit) ** 2, abs=0.03)


def test_random_maps_of_a_word_depend_on_its_id_and_the_key_alone():
    both, one = random_maps(["a", "b"], "key", 4), random_maps(["b"], "key", 6)
    assert (one[0, :4] == both[1]).all()
    assert not (random_maps(["b"], "other", 4) == one[:, :4]).any()


# --- boxes --------------------------------------------------------------------------------------------------------


def rasterised(boxes, side=400):
    """Points of a fine grid that lie in any of some boxes."""
    steps = (np.arange(side) + 0.5) / side
    inside = np.zeros((side, side), dtype=bool)
    for left, top, right, bottom in boxes:
        inside |= ((left <= steps) & (steps <= right)) & ((top <= steps) & (steps <= bottom))[:, None]
    return inside


@pytest.mark.parametrize("count", [1, 2, 5])
def test_overlap_is_the_share_of_a_fragments_points_in_any_box_of_the_target(count):
    places = random_places(count)
    corners = np.sort(GENERATOR.random((WORDS, count, 2, 2)), axis=2)
    targets = np.concatenate([corners[:, :, 0], corners[:, :, 1]], axis=2)
    found = overlaps(places, padded([apart(target) for target in targets]))
    for n in range(0, WORDS, 12):
        target = rasterised(targets[n])
        for r in range(FRAGMENTS):
            place = rasterised([places.boxes[n, r]])
            if place.sum() > 2000:  # the grid is too coarse for smaller ones
                assert found[n, r] == pytest.approx((place & target).sum() / place.sum(), abs=0.04)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_parts_of_a_target_cover_what_its_boxes_cover_and_no_point_twice(count):
    corners = np.sort(GENERATOR.integers(0, 20, (count, 2, 2)) / 20, axis=1)
    boxes = np.concatenate([corners[:, 0], corners[:, 1] + 0.05], axis=1)
    parts = apart(boxes)
    assert (rasterised(parts) == rasterised(boxes)).all()
    areas = np.prod(parts[:, 2:] - parts[:, :2], axis=1)
    assert areas.sum() == pytest.approx(rasterised(boxes).mean(), abs=1e-9)


def test_a_centre_hits_if_any_box_of_the_target_holds_it():
    places = places_of([[(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.5, 0.5, 1.0)]])
    boxes = np.array([[0.2, 0.2, 0.3, 0.3], [0.75, 0.0, 1.0, 1.0]])  # the second has a centre on its edge
    assert centres_inside(places, padded([apart(boxes)])).tolist() == [[True, True, False]]


def test_a_fragment_for_the_whole_picture_points_nowhere_but_has_its_share_inside():
    places = places_of([[None, (0.0, 0.0, 0.5, 1.0)]])
    target = padded([np.array([[0.25, 0.0, 0.75, 1.0]])])
    assert centres_inside(places, target).tolist() == [[False, True]]
    assert overlaps(places, target).tolist() == [[0.5, 0.5]]


def test_too_many_crossing_boxes_are_refused():
    edges = np.linspace(0, 0.4, 300)
    boxes = np.stack([edges, edges, edges + 0.5, edges + 0.5], axis=1)
    with pytest.raises(ValueError, match="300 boxes"):
        apart(boxes)
