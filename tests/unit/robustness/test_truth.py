"""What is correct, against loops over ordered lists; a scorer that knows the truth makes no error that is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from harness import datasets
from harness.datasets.base import Dataset, Split
from harness.fragments import Fragments
from harness.metrics import Positives
from harness.protocols.judged import Judged
from harness.records.outcomes import Measure
from harness.robustness.truth import LARGEST_WHOLE, Truth, TruthProbe, answered, truth_probes
from harness.scorer import Reading, Scorer

OWN_ONLY = SimpleNamespace(readings={})


class Pictures:
    """Images of which nobody asks for pixels."""

    inputs, region_width = frozenset({"pixels"}), 0

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count


class Told(Dataset):
    """A dataset of one split that is handed in."""

    def __init__(self, split: Split, title: str = "told", root: Any = None):
        super().__init__(SimpleNamespace(root=root))
        self._splits["test"], self._title = split, title

    title = property(lambda self: self._title)  # type: ignore[assignment]
    sha256 = "ab" * 32  # type: ignore[assignment]


class Answering:
    """A model whose scores are given."""

    def __init__(self, similarity: np.ndarray, scorer: Any = OWN_ONLY, images: Fragments | None = None):
        self.scorer, self._similarity, self._images = scorer, torch.as_tensor(similarity), images

    def similarity(self, split: Split) -> torch.Tensor:
        return self._similarity

    def encode(self, split: Split) -> tuple[Fragments | None, None]:
        return self._images, None


def split_of(relevance: np.ndarray | None, owner: np.ndarray, captions: tuple[str, ...] | None = None) -> Split:
    images, texts = int(owner.max()) + 1, len(owner)
    return Split(
        name="test",
        images=Pictures(images),  # type: ignore[arg-type]
        image_ids=tuple(f"i{row}" for row in range(images)),
        captions=captions or tuple(f"caption {column}" for column in range(texts)),
        caption_ids=tuple(f"c{column}" for column in range(texts)),
        caption_image=owner,
        relevance=relevance,
    )


def problem(seed: int) -> tuple[Split, np.ndarray]:
    """Five images with 2 captions each, some further true pairs, and scores of which many tie."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(5), 2)
    relevance = rng.random((5, 10)) < 0.3
    relevance[owner, np.arange(10)] = True
    return split_of(relevance, owner), rng.integers(0, 4, (5, 10)).astype(np.float32)


def asked(split: Split, similarity: np.ndarray, **model: Any) -> dict[str, Measure]:
    (probe,) = truth_probes(Told(split), "test", 3)
    return {measure.name: measure for measure in probe.answers(Answering(similarity, **model)).measures}  # type: ignore[arg-type]


def worst_order(scores: np.ndarray, true: np.ndarray) -> list[int]:
    """Items from the first to the last; of those that tie the wrong ones come first."""
    return sorted(range(len(scores)), key=lambda item: (-scores[item], true[item]))


def naive(scores: np.ndarray, own: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """The measures of one query at the level of the truth."""
    by_own, by_truth = worst_order(scores, own), worst_order(scores, true)
    relevant = int(true.sum())
    error = not own[by_own[0]]
    high = sorted(scores, reverse=True)
    return {
        "error": float(error),
        "correct": float(true[by_truth[0]]),
        "unlabelled": float(true[by_truth[0]]) if error else np.nan,
        "unlabelled_random": np.mean(true[~own]) if error else np.nan,
        "margin": high[0] - high[1],
        "truths": relevant,
        **{f"coverage_{k}": sum(true[by_truth[:k]]) / relevant for k in (1, 5, 10)},
        "coverage_r": sum(true[by_truth[:relevant]]) / relevant,
    }


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_a_loop_over_ordered_lists(seed):
    split, similarity = problem(seed)
    own = split.caption_image == np.arange(5)[:, None]
    found = asked(split, similarity)
    for direction, scores, owned, true in (
        ("i2t", similarity, own, split.relevance),
        ("t2i", similarity.T, own.T, split.relevance.T),
    ):
        for level, correct in enumerate((owned, true)):
            wanted = [naive(*row) for row in zip(scores, owned, correct, strict=True)]
            for name in wanted[0]:
                got = found[f"{direction}_{name}"].values[level]
                expected = [row[name] for row in wanted]
                if level == 0 and name.startswith("unlabelled"):
                    expected = np.full(len(wanted), np.nan)
                np.testing.assert_allclose(got, expected, atol=1e-12, err_msg=f"{direction}_{name} {level}")
    assert found["t2i_error"].image.tolist() == [f"i{row}" for row in split.caption_image]


def test_who_knows_the_truth_makes_no_error_but_such_as_are_none():
    split, _ = problem(0)
    assert split.relevance is not None
    noise = np.random.default_rng(1).random(split.relevance.shape)
    found = asked(split, split.relevance + 0.5 * noise)
    for direction in ("i2t", "t2i"):
        assert (found[f"{direction}_correct"].values[1] == 1).all()
        errors = found[f"{direction}_error"].values[1] == 1
        assert errors.any()
        assert (found[f"{direction}_unlabelled"].values[1][errors] == 1).all()
        assert (found[f"{direction}_coverage_r"].values[1] == 1).all()
        assert (found[f"{direction}_coverage_10"].values[1] == 1).all()


def test_a_constant_scorer_is_never_right():
    split, similarity = problem(0)
    found = asked(split, np.ones_like(similarity))
    for direction in ("i2t", "t2i"):
        assert (found[f"{direction}_error"].values == 1).all()
        assert (found[f"{direction}_correct"].values == 0).all()
        assert (found[f"{direction}_unlabelled"].values[1] == 0).all()
        assert (found[f"{direction}_margin"].values == 0).all()
        assert (found[f"{direction}_coverage_1"].values == 0).all()


def test_captions_that_read_the_same_leave_a_margin():
    owner = np.arange(3)
    split = split_of(None, owner, ("a dog", "a cat", "a dog"))
    found = asked(split, np.array([[0.9, 0.2, 0.9], [0.1, 0.3, 0.1], [0.8, 0.7, 0.8]]))
    np.testing.assert_allclose(found["i2t_margin"].values[0], [0.7, 0.2, 0.1])
    np.testing.assert_allclose(found["t2i_margin"].values[0], [0.1, 0.4, 0.1])
    assert found["i2t_error"].values[0].tolist() == [1, 0, 1]  # as the leaderboard counts ties


def test_of_sparse_judgements_only_what_was_judged_is_said():
    own = Positives.from_pairs(np.arange(3), np.arange(3))
    some = Judged(Positives.from_pairs([0, 0, 1], [0, 1, 1]), Positives.from_pairs([0, 1, 1], [0, 0, 1]))
    settled = Judged(
        Positives.from_pairs([0, 0, 0, 1, 1], [0, 1, 2, 1, 2]), Positives.from_pairs([0, 1, 1, 2, 2], [0, 0, 1, 0, 1])
    )
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.9, 0.5, 0.1], [0.0, 0.1, 0.8]])
    found = answered(scores, [Truth("own", Judged(own, own)), Truth("human", some, settled)], np.arange(3))
    nan = np.nan
    # Image 0 takes caption 1, which was judged and is true; image 1 takes caption 0, which nobody judged; 2 is not asked.
    np.testing.assert_array_equal(found["i2t", "error"][1], [1, 1, nan])
    np.testing.assert_array_equal(found["i2t", "judged"][1], [1, 0, nan])
    np.testing.assert_array_equal(found["i2t", "unlabelled"][1], [1, nan, nan])
    for name in ("correct", "coverage_r", "truths"):  # cannot be said
        assert np.isnan(found["i2t", name][1]).all()
        assert not np.isnan(found["i2t", name][0]).any()


def test_flickr8k_is_asked_with_its_judgements(tmp_path):
    owner = np.repeat(np.arange(2), 3)
    split = split_of(None, owner)
    (tmp_path / "ExpertAnnotations.txt").write_text("i0\tc5\t4\t4\t4\ni1\tc1\t1\t1\t2\n")
    (probe,) = truth_probes(Told(split, "flickr8k", tmp_path), "test", 1)
    assert [level.name for level in probe.levels] == ["own", "human"]
    assert probe.identity["images"] == 2
    assert list(probe.identity["files"]["human"]) == ["ExpertAnnotations.txt"]
    scores = np.zeros((2, 6))
    scores[0, 5], scores[1, 1] = 1, 1
    answers = probe.answers(Answering(scores))  # type: ignore[arg-type]
    found = {measure.name: measure for measure in answers.measures}
    np.testing.assert_array_equal(found["i2t_unlabelled"].values[1], [1, 0])
    assert len(answers.remarks) == 1
    assert "judged errors" in answers.remarks[0]


def test_scenes_know_all_that_is_correct_and_are_asked_whole():
    spec = {"name": "scenes", "train_images": 2, "val_images": 2, "test_images": 6, "image_size": 32}
    dataset = datasets.open_dataset(spec)
    first, second = (truth_probes(dataset, "test", 2)[0] for _ in range(2))
    assert [level.name for level in first.levels] == ["own", "scenes_relevance"]
    assert first.identity == second.identity
    assert first.identity["images"] == 6


@pytest.mark.parametrize(("images", "expected"), [(3, 3), (9, 4)])
def test_a_split_of_which_no_more_is_known_is_sampled(images, expected):
    (probe,) = truth_probes(Told(split_of(None, np.arange(images))), "test", 4)
    assert (probe.identity["images"], probe.identity["levels"]) == (expected, ["own"])


def test_a_split_too_large_is_sampled_though_its_truth_is_known():
    images = LARGEST_WHOLE + 1
    owner = np.arange(images)
    split = split_of(np.eye(images, dtype=bool), owner)
    (probe,) = truth_probes(Told(split), "test", 4)
    assert (probe.identity["images"], probe.identity["levels"]) == (4, ["own", "scenes_relevance"])


class Unsure(Scorer):
    """Regions of known uncertainty."""

    readings: ClassVar = {"region_sigma": Reading("", "region"), "region_noise": Reading("", "region")}

    def image_readings(self, images):
        return {
            "region_sigma": images.features[..., 0].masked_fill(~images.mask, torch.nan),
            "region_noise": images.features[..., 1],
        }


def test_the_uncertainty_of_an_image_is_the_mean_over_its_regions():
    features = torch.zeros(5, 2, 2)
    features[:, :, 0] = torch.arange(10.0).reshape(5, 2)
    mask = torch.tensor([[True, True]] * 4 + [[True, False]])
    split, similarity = problem(0)
    found = asked(split, similarity, scorer=Unsure(), images=Fragments(features, mask))
    for level in range(2):
        np.testing.assert_allclose(found["uncertainty"].values[level], [0.5, 2.5, 4.5, 6.5, 8.0])
    assert "uncertainty_relative" not in found  # it is 0 everywhere: there is none


def test_a_probe_forgets_what_it_made():
    split, similarity = problem(0)
    probe = TruthProbe(Told(split), split, ["scenes_relevance"])
    before = probe.answers(Answering(similarity))  # type: ignore[arg-type]
    probe.forget()
    after = probe.answers(Answering(similarity))  # type: ignore[arg-type]
    for one, other in zip(before.measures, after.measures, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
