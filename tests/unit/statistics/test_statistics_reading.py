"""What a reader is told: ranks and tiers, and verdict sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.intervals import Equivalence
from harness.reports.statistics.queries import QueryDiagnostics
from harness.reports.statistics.ranking import rank_intervals, tiers
from harness.reports.statistics.results import Family
from harness.reports.statistics.variance import combine
from harness.reports.statistics.verdicts import p_phrase, tier_sentences, verdict, verdicts


def test_rank_intervals_and_tiers_by_hand():
    better = np.zeros((4, 4), dtype=bool)
    better[0, 2] = better[0, 3] = better[1, 3] = True
    ranking = rank_intervals(list("wxyz"), np.array([90.0, 80.0, 70.0, 60.0]), better)
    assert [(m.name, m.rank, m.rank_low, m.rank_high, m.tier) for m in ranking] == [
        ("w", 1, 1, 2, 1),
        ("x", 2, 1, 3, 1),
        ("y", 3, 2, 4, 2),
        ("z", 4, 3, 4, 2),
    ]
    assert tier_sentences(ranking) == (
        "Tier 1: w leads, not told apart from it: x.",
        "Tier 2: y leads, not told apart from it: z.",
    )


def test_equal_scores_share_a_rank():
    ranking = rank_intervals(list("ab"), np.array([5.0, 5.0]), np.zeros((2, 2), dtype=bool))
    assert [(m.rank, m.rank_low, m.rank_high, m.tier) for m in ranking] == [(1, 1, 2, 1), (1, 1, 2, 1)]


@pytest.mark.parametrize("correction", ["holm", "maxt"])
def test_tiers_separate_a_worse_method_and_not_equal_ones(world, correction):
    runs = world(images=300, methods=4, offset=0.5)  # method 0 is worse by some 80 rSum, the others are equal
    ranking = tiers(compare(runs, correction=correction))
    assert [m.tier for m in ranking] == [1, 1, 1, 2]
    assert ranking[-1].name == "method 0"
    assert (ranking[-1].rank_low, ranking[-1].rank_high) == (4, 4)
    assert all((m.rank_low, m.rank_high) == (1, 3) for m in ranking[:3])


@pytest.fixture
def row(world):
    """A comparison and a row whose numbers are set to be read in a sentence."""

    def make(claim="checkpoint", alpha=0.05, **changes):
        comparison = compare(world(seeds=3 if claim == "method" else 1), metrics=["rsum", "t2i_r1"], claim=claim)
        base = {
            "a": "A",
            "b": "B",
            "difference": 6.1,
            "low": 2.0,
            "high": 10.2,
            "p_adjusted": 0.012,
            "significant": True,
            "family": Family("primary", ("rsum",), "holm", 10),
            "diagnostics": QueryDiagnostics(0.1, 1.4, 0.2),
            "equivalence": None,
        }
        names = replace(comparison, methods=("A", "B"))
        return names, replace(comparison.rows[0], **{**base, **changes})

    return make


INCONCLUSIVE = {"difference": 2.0, "low": -3.0, "high": 7.0, "p_adjusted": 0.4, "significant": False,
                "detectable_corrected": 14.0, "images_needed": 7840.0}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"claim": "method"},
            "A beats B by 6.1 rSum (95 % CI 2.0 to 10.2; Holm p = .012, 10 comparisons) on new images and new seeds.",
        ),
        (
            {},
            "A beats B by 6.1 rSum (95 % CI 2.0 to 10.2; Holm p = .012, 10 comparisons) on new images, "
            "for these checkpoints only; one seed, so nothing is claimed about retraining.",
        ),
        (
            {"difference": -6.1, "low": -10.2, "high": -2.0, "family": Family("primary", ("rsum",), "maxt", 3)},
            "B beats A by 6.1 rSum (95 % CI 2.0 to 10.2; maxT p = .012, 3 comparisons) on new images, "
            "for these checkpoints only; one seed, so nothing is claimed about retraining.",
        ),
        (
            {"claim": "method", "p_adjusted": 0.0001, "family": Family("exploratory", ("rsum",), "bh", 70)},
            "Exploratory: A beats B by 6.1 rSum (95 % CI 2.0 to 10.2; Benjamini-Hochberg p < .001, 70 comparisons) "
            "on new images and new seeds.",
        ),
        (
            {"claim": "method", "equivalence": Equivalence(20.0, 0.001, 2.5, 9.7, True)},
            "A beats B by 6.1 rSum (95 % CI 2.0 to 10.2; Holm p = .012, 10 comparisons) on new images and new seeds. "
            "The difference is real and smaller than the declared 20.",
        ),
        (
            INCONCLUSIVE | {"claim": "method", "equivalence": Equivalence(5.0, 0.01, -0.8, 1.1, True)},
            "A and B are equivalent within ±5 rSum (90 % CI −0.8 to 1.1) on new images and new seeds.",
        ),
        (
            INCONCLUSIVE,
            "A against B: inconclusive, 95 % CI −3.0 to 7.0 (Holm p = .400, 10 comparisons); this set-up detects "
            "14.0 rSum or more with 80 % power; about 7,840 images needed for 5.",
        ),
        (
            INCONCLUSIVE | {"images_needed": np.inf, "low": -0.04, "equivalence": Equivalence(1.0, 0.3, -2, 6, False)},
            "A against B: inconclusive, 95 % CI 0.0 to 7.0 (Holm p = .400, 10 comparisons); this set-up detects 14.0 "
            "rSum or more with 80 % power; no number of images is enough for 5, the seeds vary too much: add seeds.",
        ),
        (
            INCONCLUSIVE | {"metric": "t2i_r1", "target": 1.0, "family": Family("primary", ("t2i_r1",), "holm", 1)},
            "A against B: inconclusive, 95 % CI −3.00 to 7.00 (p = .400, 1 comparison); this set-up detects "
            "14.00 points of t2i R@1 or more with 80 % power; about 7,840 images needed for 1.",
        ),
        (
            INCONCLUSIVE | {"diagnostics": QueryDiagnostics(np.nan, 1.0, 0.0)},
            "A and B gave the same answer to every query: are the runs the same?",
        ),
    ],
)
def test_verdict_sentences(row, changes, sentence):
    assert verdict(*row(**changes)) == sentence


def test_verdicts_of_a_comparison(world):
    several = compare(world(images=300, seeds=3, offset=0.5))
    (sentence,) = verdicts(several)
    assert sentence.startswith("method 1 beats method 0 by ")
    assert sentence.endswith("on new images, for these trained models only; nothing is claimed about retraining.")
    (recall,) = verdicts(several, "t2i_r5")
    assert "points of t2i R@5 (95 % CI" in recall


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.012, "p = .012"), (0.0004, "p < .001"), (0.0005, "p = .001"), (1.0, "p = 1.000"), (0.3, "p = .300")],
)
def test_p_phrase(p, text):
    assert p_phrase(p) == text


@pytest.mark.parametrize(
    ("seeds", "advice"),
    [
        (
            [[500, 502, 504], [495, 497, 499]],
            "10 % of the variance comes from seeds, 90 % from images: add test images",
        ),
        ([[500, 530, 560], [495, 497, 499]], "92 % of the variance comes from seeds, 8 % from images: add seeds."),
        ([[500, 508, 516], [495, 497, 499]], "48 % of the variance comes from seeds, 52 % from images: adding both"),
        ([], ""),
    ],
)
def test_advice(seeds, advice):
    assert combine(25.0, 999, seeds).advice().startswith(advice)
