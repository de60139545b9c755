"""Further metrics: against the mean over all orders of tied items, and against naive means over folds."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from harness import protocols
from harness.errors import DuplicateName
from harness.metrics.catalogue import METRICS, TAKEN
from harness.metrics.reciprocal import ReciprocalRank
from harness.plugins import Source
from harness.protocols.base import Subject
from harness.protocols.folds import FULL
from harness.protocols.further import further_metrics
from harness.records.ties import TiedRanks


@pytest.mark.parametrize(("above", "wrong", "correct"), [(0, 0, 1), (0, 2, 1), (3, 2, 2), (1, 3, 2)])
def test_the_expected_rule_is_the_mean_over_all_orders(above, wrong, correct):
    orders = set(itertools.permutations("w" * wrong + "c" * correct))
    naive = np.mean([100 / (1 + above + order.index("c")) for order in orders])
    tied = TiedRanks(np.array([above]), np.array([wrong]), np.array([correct]))
    assert ReciprocalRank().of_tied(tied, 20, "expected").item() == pytest.approx(naive)
    assert ReciprocalRank().of_tied(tied, 20, "optimistic").item() == pytest.approx(100 / (1 + above))
    assert ReciprocalRank().of_tied(tied, 20, "pessimistic").item() == pytest.approx(100 / (1 + above + wrong))


class Share(ReciprocalRank):
    """What a metric is told of its gallery."""

    def values(self, ranks, gallery):
        return np.full(len(ranks), float(gallery))


@pytest.mark.parametrize("folds", [1, 2])
def test_a_metric_is_the_mean_over_folds_each_in_its_own_gallery(folds, monkeypatch):
    owner = np.array([0, 0, 1, 2, 2, 2, 3])  # folds of 2 images: 3 and 4 captions
    scores = np.random.default_rng(0).normal(size=(4, 7))
    subject = Subject(image_ids=list("abcd"), caption_ids=list("tuvwxyz"), caption_image=owner)
    table = replace(FULL, folds=folds).evaluate(scores, subject).ranks
    naive = []
    for fold in range(folds):
        images = [i for i in range(4) if i * folds // 4 == fold]
        captions = [c for c in range(7) if owner[c] in images]
        ranks = [
            min(sum(scores[i, d] > scores[i, c] for d in captions) for c in captions if owner[c] == i) for i in images
        ]
        naive.append(np.mean([100 / (1 + rank) for rank in ranks]))
    assert further_metrics(["mrr"], table, (4, 7), "pessimistic")["i2t_mrr"] == pytest.approx(np.mean(naive))
    monkeypatch.setattr("harness.protocols.further.METRICS", {"share": Share})
    found = further_metrics(["share"], table, (4, 7), "pessimistic")
    assert found == {"i2t_share": 7.0 if folds == 1 else 3.5, "t2i_share": 4.0 if folds == 1 else 2.0}


def test_the_names_of_the_protocols_metrics_are_taken():
    given = protocols.evaluate(
        "scenes_relevance", np.eye(2), np.arange(2), ["a", "b"], ["x", "y"], relevance=np.eye(2) > 0
    )
    assert {key.partition("_")[2] for key in given.metrics if key[:4] in ("i2t_", "t2i_")} <= set(TAKEN)
    for name in TAKEN:
        with pytest.raises(DuplicateName, match=f"'{name}' is claimed twice: by module harness.metrics.retrieval"):
            METRICS.require_free(name, Source("plug-in", f"{name}.py"))
