"""Chance, exact, against drawn orders, scipy's hypergeometric law and the harness's own evaluation of constant scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.protocols import evaluate
from harness.records.ties import RECALLS
from harness.reports.statistics.chance import PARTS, at_chance, constant_scorer, random_hits, random_scorer
from harness.reports.statistics.errors import InvalidRanks

UNEQUAL = np.repeat(np.arange(12), [1, 2, 3, 5, 1, 2, 3, 5, 1, 2, 3, 5])


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize(("positives", "gallery"), [(1, 1), (1, 7), (5, 5), (5, 40), (3, 5000), (0, 9)])
def test_a_random_order_hits_by_the_hypergeometric_law(positives, gallery, k):
    law = stats.hypergeom(gallery, positives, min(k, gallery))
    assert random_hits([positives], gallery, k).tolist() == pytest.approx([1 - law.pmf(0)], abs=1e-12)


def test_more_correct_items_than_items_are_refused():
    with pytest.raises(InvalidRanks, match="0 to 4 correct items in its gallery, got 5 to 5"):
        random_hits([5], 4, 1)


@pytest.mark.parametrize("folds", [1, 3])
def test_recalls_are_those_of_drawn_orders(folds):
    """Order by order and query by query, with unequal numbers of captions, folds averaged."""
    draw, fold = np.random.default_rng(0), np.arange(12) % folds
    repeats = 1500
    found = random_scorer(UNEQUAL, 12, fold).scores
    drawn = dict.fromkeys(RECALLS, 0.0)
    for f in range(folds):
        images, captions = np.flatnonzero(fold == f), np.flatnonzero(fold[UNEQUAL] == f)
        firsts = {
            "i2t": [
                np.flatnonzero(UNEQUAL[draw.permutation(captions)] == i)[0] for i in images for _ in range(repeats)
            ],
            "t2i": [
                np.flatnonzero(draw.permutation(images) == UNEQUAL[c])[0] for c in captions for _ in range(repeats)
            ],
        }
        for name in RECALLS:
            direction, k = name.split("_r")
            drawn[name] += 100 * float(np.mean(np.asarray(firsts[direction]) < int(k))) / folds
    assert {name: found[name] for name in RECALLS} == pytest.approx(drawn, abs=1.5)
    assert found["rsum"] == pytest.approx(sum(found[name] for name in RECALLS))


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
@pytest.mark.parametrize("owner", [UNEQUAL, np.repeat(np.arange(30), 5)], ids=["unequal", "five"])
def test_constant_scores_are_what_an_evaluation_makes_of_them(owner, ties):
    images = int(owner.max()) + 1
    names = [str(i) for i in range(len(owner))]
    scores = np.zeros((images, len(owner)), dtype=np.float32)
    measured = evaluate("full", scores, owner, names[:images], names, ties).metrics
    found = constant_scorer(owner, images, ties=ties).scores
    assert found == pytest.approx({name: measured[name] for name in (*RECALLS, "rsum")})


def test_folds_of_coco_are_smaller_galleries():
    owner = np.repeat(np.arange(5000), 5)
    whole, folded = random_scorer(owner, 5000).scores, random_scorer(owner, 5000, np.arange(5000) // 1000).scores
    assert whole["t2i_r10"] == pytest.approx(0.2)
    assert folded["t2i_r10"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("low", "found"),
    [
        ({}, ()),  # published: no interval, nothing said
        (dict.fromkeys((*RECALLS, "rsum"), 50.0), ()),
        (dict.fromkeys((*RECALLS, "rsum"), 0.0), ("i2t", "t2i", "rsum")),
        ({**dict.fromkeys((*RECALLS, "rsum"), 50.0), "t2i_r1": 0.0}, ()),  # R@1 of few hits alone decides nothing
        ({**dict.fromkeys((*RECALLS, "rsum"), 50.0), **dict.fromkeys(PARTS["t2i"], 0.0)}, ("t2i",)),
    ],
)
def test_a_part_is_at_chance_where_none_of_its_intervals_lies_above(low, found):
    floor = random_scorer(np.repeat(np.arange(1000), 5), 1000)
    assert at_chance({f"{name}_low": value for name, value in low.items()}, floor) == found
