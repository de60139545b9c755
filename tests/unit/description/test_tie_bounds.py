"""The bound on R@1: against every score matrix that a method could produce, ranked by the harness's own metrics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from harness.description.ties import bound, groups, repeats
from harness.metrics import retrieval_metrics
from harness.records.ties import Ties

#: Captions by image, in letters: equal letters are equal texts. Images in brackets are equal to an earlier one.
CASES = {
    "nothing is equal": ("a", "bc"),
    "one text of two images": ("ab", "ac"),
    "an image of shared texts only": ("a", "ab"),
    "all texts are one": ("a", "a"),
    "a text twice in one image": ("aa", "ab"),
    "unequal numbers": ("aab", "a"),
}


def best_possible(
    owners: np.ndarray, image_group: np.ndarray, text_group: np.ndarray, rule: Ties
) -> tuple[float, float]:
    """The largest R@1 of each direction over all orders of scores, by trying them all."""
    shape = (image_group.max() + 1, text_group.max() + 1)
    best = [0.0, 0.0]
    for values in itertools.product(range(3), repeat=int(np.prod(shape))):
        scores = torch.tensor(values, dtype=torch.float32).view(shape)[image_group][:, text_group]
        found = retrieval_metrics(scores, owners, ties=rule)
        best = [max(best[0], found["i2t_r1"]), max(best[1], found["t2i_r1"])]
    return best[0], best[1]


@pytest.mark.parametrize("equal_images", [False, True], ids=["different images", "equal images"])
@pytest.mark.parametrize("captions", CASES.values(), ids=CASES)
def test_no_scorer_exceeds_the_bound_and_some_scorer_reaches_it(captions, equal_images):
    owners = np.repeat(np.arange(len(captions)), [len(texts) for texts in captions])
    text_group = groups(list("".join(captions)))
    image_group = np.array([0, 0]) if equal_images else np.array([0, 1])
    found = bound(owners, np.arange(len(owners)), image_group, text_group)
    for rule in ("pessimistic", "expected"):
        i2t, t2i = best_possible(owners, image_group, text_group, rule)
        assert getattr(found, f"i2t_{rule}_percent") == pytest.approx(i2t, abs=1e-3)
        assert getattr(found, f"t2i_{rule}_percent") == pytest.approx(t2i, abs=1e-3)


def by_hand(texts: list[str], owners: list[int]) -> dict[str, int]:
    """The counts of `repeats`, pair by pair."""
    pairs = list(itertools.combinations(range(len(texts)), 2))
    same = [(i, j) for i, j in pairs if texts[i] == texts[j]]
    across = [(i, j) for i, j in same if owners[i] != owners[j]]
    return {
        "repeats": sum(texts[i] in texts[:i] for i in range(len(texts))),
        "texts": len({texts[i] for i, _ in same}),
        "shared_texts": len({texts[i] for i, _ in across}),
        "shared_captions": sum(text in {texts[i] for i, _ in across} for text in texts),
        "sharing_images": len({owners[i] for pair in across for i in pair}),
        "repeating_images": len({owners[i] for i, j in same if owners[i] == owners[j]}),
    }


@pytest.mark.parametrize("seed", range(20))
def test_counts_agree_with_a_comparison_of_all_pairs(seed):
    random = np.random.default_rng(seed)
    owners = np.sort(np.concatenate([np.arange(6), random.integers(0, 6, 14)]))
    texts = [f"text {number}" for number in random.integers(0, 15, 20)]
    found = repeats(texts, owners, np.arange(6))
    assert {key: getattr(found, key) for key in by_hand(texts, owners.tolist())} == by_hand(texts, owners.tolist())


def test_a_known_relevance_makes_equal_captions_of_other_images_correct():
    owners = np.array([0, 1])
    relevant = np.nonzero(np.ones((2, 2), dtype=bool))
    found = repeats(["a dog", "a dog"], owners, np.arange(2), relevant)
    assert set(found.bound.model_dump().values()) == {100.0}


def test_each_fold_has_a_bound_of_its_own():
    owners = np.repeat(np.arange(4), 2)
    texts = ["a", "b", "a", "c", "d", "e", "f", "g"]
    found = repeats(texts, owners, np.arange(4), fold=2)
    assert [fold.t2i_expected_percent for fold in found.folds] == [75.0, 100.0]
    assert found.bound.t2i_expected_percent == 87.5
