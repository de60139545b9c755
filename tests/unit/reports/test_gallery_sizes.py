"""Tables say how large the galleries behind their numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from compared import QUICK, only

from harness.reports.ablation import report as ablation
from harness.reports.ablation.rows import Ablated
from harness.reports.runs.sizes import gallery_size
from harness.reports.significance import report as significance
from harness.reports.significance.examine import Request, examine
from harness.reports.statistics.runs import MethodRuns


@pytest.mark.parametrize(
    ("fold", "protocol", "text"),
    [
        (None, "full", "gallery: 6 images, 9 captions"),
        ([0, 0, 1, 1, 2, 2], "coco_1k", "3 folds of 2 images and 2 to 4 captions"),
        (None, "human", "queries: 6 images, 9 captions"),
    ],
)
def test_sizes_in_words(fold, protocol, text):
    owner = np.array([0, 0, 0, 1, 2, 3, 3, 4, 5])
    names = list("abcdefghi")
    runs = MethodRuns(
        name="scan", seeds=(0,), i2t_ranks=np.zeros(6), t2i_ranks=np.zeros(9), caption_image=owner,
        image_ids=names[:6], caption_ids=names, fold=fold,
    )  # fmt: skip
    assert gallery_size(runs, protocol).text == text


def test_significance_says_the_gallery_at_its_scores_and_pairs(three_scorers):
    built = significance.build(examine(only(three_scorers), Request(**QUICK)))
    for key in ("pairs", "other-metrics", "scores"):
        (table,) = [table for table in built.tables if table.key == key]
        assert table.caption.endswith("gallery: 60 images, 120 captions"), key
    assert (built.data["images"], built.data["captions"], built.data["folds"]) == (60, 120, 1)


def test_ablations_say_the_gallery_at_every_table(runs):
    for scorer in ("grm", "scan"):
        runs.add_drawn(0.5, scorer=scorer)
    models = [Ablated("grm", (), tuple(runs.ids[:3])), Ablated("scan", ("x",), tuple(runs.ids[3:]))]
    built = ablation.build(runs.store, models, reference="grm", title="Ablation")
    assert all("gallery: 60 images, 120 captions" in table.caption for table in [*built.tables, *built.brief])
