"""`ranks.pth.tar`: the recalls of the ranks that VSE++'s code has counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from outputs_cases import IMAGES, OWNER, PER_IMAGE, TEXTS, scores

from harness.metrics import retrieval_metrics

MATRIX = scores(decimals=12)


def theirs(matrix: np.ndarray, per_image: int = PER_IMAGE) -> dict:
    """Ranks and first items as VSE++ counts them, query by query, with argsort."""
    images, texts = matrix.shape
    ranks, top1 = np.zeros(images), np.zeros(images)
    for i in range(images):
        order = np.argsort(matrix[i])[::-1]
        ranks[i] = min(np.where(order == t)[0][0] for t in range(per_image * i, per_image * (i + 1)))
        top1[i] = order[0]
    back, first = np.zeros(texts), np.zeros(texts)
    for t in range(texts):
        order = np.argsort(matrix[:, t])[::-1]
        back[t] = np.where(order == t // per_image)[0][0]
        first[t] = order[0]
    return {"rt": (ranks, top1), "rti": (back, first)}


@pytest.mark.parametrize("legacy", [False, True])
def test_recalls_are_those_of_the_matrix(legacy, evaluate, tmp_path):
    torch.save(theirs(MATRIX), tmp_path / "ranks.pth.tar", _use_new_zipfile_serialization=not legacy)
    found = evaluate(tmp_path / "ranks.pth.tar")
    assert found.code == 0, found.err
    expected = retrieval_metrics(MATRIX, OWNER)
    assert expected.pop("tie_rate") == 0
    assert found.full == pytest.approx(expected), "and whether items tied is not known"
    assert found.content["shape"].startswith("ranks of every query")


def changed(name, value):
    ranks = theirs(MATRIX)
    pair = [part.copy() for part in ranks[name]]
    pair[0][4] = value
    return {**ranks, name: tuple(pair)}


def renamed(ranks):
    return {"rt": ranks["rti"], "rti": ranks["rt"]}


REFUSED = {
    "a rank beyond the gallery": (changed("rti", 20), "holds 20 among the ranks 'rti'; 0-based ranks below 20"),
    "a fraction": (changed("rt", 0.5), "holds 0.5 among the ranks 'rt'"),
    "no number": (changed("rt", np.nan), "holds nan among the ranks"),
    "other data": (theirs(MATRIX[:, np.random.default_rng(0).permutation(TEXTS)]), ""),
    "directions swapped": (renamed(theirs(MATRIX)), "'rt' and 'rti' have changed places"),
    "one fold of five": (theirs(MATRIX[:4, :20]), "keeps the ranks of its first fold only"),
    "no first items": ({"rt": np.zeros(IMAGES), "rti": np.zeros(TEXTS)}, "no pair of ranks and first items under 'rt'"),
    "first items of another order": (
        {**theirs(MATRIX), "rt": (theirs(MATRIX)["rt"][0], np.roll(theirs(MATRIX)["rt"][1], 1))},
        "the rank and the first item contradict each other",
    ),
}


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "other data"])
def test_what_are_no_ranks_of_this_dataset_is_refused(name, evaluate, tmp_path):
    content, message = REFUSED[name]
    torch.save(content, tmp_path / "ranks.pth.tar")
    assert message in evaluate(tmp_path / "ranks.pth.tar").error


def test_a_pickle_that_asks_for_code_is_refused(evaluate, tmp_path):
    class Evil:
        def __reduce__(self):
            return eval, ("1",)

    torch.save({"rt": Evil(), "rti": 1}, tmp_path / "ranks.pth.tar")
    assert "no pickled code is ever executed" in evaluate(tmp_path / "ranks.pth.tar").error
