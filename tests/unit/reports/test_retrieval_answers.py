"""What pages show of retrievals, against loops over the matrix of scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from retrievals import drawn, made, rank_table, three_methods, top_table

from harness.reports.site.results import Results
from harness.reports.site.retrieval.answers import Truth, answers, best_own, whole_gallery
from harness.reports.site.retrieval.difficulty import difficulty, in_words
from harness.reports.site.retrieval.overlap import Overlap, overlap, sentence, steady, traits_in_words
from harness.reports.site.retrieval.packing import clutter, lengths, ranks_data, run_data, split_data
from harness.reports.site.retrieval.splits import splits

IMAGES, DEPTH = 12, 6


@pytest.fixture
def split(tmp_path):
    return made(tmp_path, images=IMAGES)


def of(split, skill=1.0, seed=0, depth=DEPTH):
    """Scores, and the answers in both directions."""
    scores = drawn(split, skill, seed)
    top, ranks = top_table(scores, split.owner, depth), rank_table(scores, split.owner)
    pairs = {source: np.array(known) for source, known in split.unlabelled.items()}
    return scores, {direction: answers(top, ranks, pairs, direction) for direction in ("i2t", "t2i")}


def naive(split, scores, direction):
    """Row by row of the results: item, score, own, unlabelled."""
    known = {pair for pairs in split.unlabelled.values() for pair in pairs}
    matrix = scores if direction == "i2t" else scores.T
    for query, row in enumerate(matrix):
        items = sorted(range(len(row)), key=lambda item: (-row[item], item))[:DEPTH]
        pairs = [(query, item) if direction == "i2t" else (item, query) for item in items]
        yield [
            (item, row[item], split.owner[t] == i, (i, t) in known) for item, (i, t) in zip(items, pairs, strict=True)
        ]


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_results_are_those_of_a_sort_of_each_query(split, direction):
    scores, found = of(split)
    found = found[direction]
    for query, rows in enumerate(naive(split, scores, direction)):
        assert found.top[query].tolist() == [item for item, *_ in rows]
        assert found.score[query].tolist() == pytest.approx([score for _, score, *_ in rows])
        assert found.own[query].tolist() == [own for *_, own, _ in rows]
        assert (found.source[query] > 0).tolist() == [also for *_, also in rows]
    assert found.own.any()
    assert (found.source > 0).any()


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_the_margin_is_the_best_wrong_score_minus_the_truths(split, direction):
    scores, found = of(split)
    for query, rows in enumerate(naive(split, scores, direction)):
        own = [score for _, score, is_own, _ in rows if is_own]
        wrong = [score for _, score, is_own, is_known in rows if not is_own and not is_known]
        expected = wrong[0] - own[0] if own and wrong else math.nan
        assert found[direction].margin[query] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert np.isnan(found["i2t"].margin).any() or np.isnan(found["t2i"].margin).any()


def test_of_two_sources_the_first_is_named_and_an_own_pair_has_none(split):
    top = top_table(drawn(split, 1.0, 0), split.owner, DEPTH)
    everything = np.array([(i, t) for i in range(IMAGES) for t in range(len(split.owner))])
    few = np.array([(0, t) for t in range(len(split.owner))])
    found = answers(top, None, {"few": few, "all": everything}, "i2t")
    assert set(found.source[0][~found.own[0]].tolist()) == {1}
    assert set(found.source[1:][~found.own[1:]].tolist()) == {2}
    assert not found.source[found.own].any()


def test_ranks_follow_their_ids_whatever_the_order_of_the_file(split):
    scores, found = of(split)
    ranks, top = rank_table(scores, split.owner), top_table(scores, split.owner, DEPTH)
    mixed = np.random.default_rng(0).permutation(IMAGES)
    turned = replace(
        ranks,
        **{
            name: getattr(ranks, name)[mixed]
            for name in ("i2t_rank", "i2t_ties", "i2t_image_id", "i2t_caption_id", "i2t_fold")
        },
    )
    again = answers(top, turned, {}, "i2t")
    assert again.truth.rank.tolist() == found["i2t"].truth.rank.tolist() == ranks.i2t_rank.tolist()
    assert best_own(top, turned).tolist() == best_own(top, ranks).tolist()


def test_without_ranks_of_this_gallery_the_first_results_tell_as_far_as_they_go(split):
    scores = drawn(split, 0.0, 0)
    ranks, top = rank_table(scores, split.owner), top_table(scores, split.owner, DEPTH)
    assert whole_gallery({"full": ranks}, top) is ranks
    folds = replace(ranks, i2t_fold=np.arange(IMAGES) % 2)
    assert whole_gallery({"coco_1k": folds, "eccv_caption": ranks}, top) is None
    found = answers(top, None, {}, "i2t").truth
    for query in range(IMAGES):
        own = [place for place, item in enumerate(top.i2t_top[query]) if split.owner[item] == query]
        assert found.rank[query] == pytest.approx(own[0] if own else math.nan, nan_ok=True)
    assert np.isnan(found.rank).any()


def test_overlaps_are_counts_of_queries(split):
    a, b = of(split, 2.0, 0)[1]["t2i"].truth, of(split, 1.0, 1)[1]["t2i"].truth
    pairs = [(x == 0, y == 0) for x, y in zip(a.rank.tolist(), b.rank.tolist(), strict=True)]
    expected = [pairs.count(kind) for kind in ((True, False), (False, True), (True, True), (False, False))]
    found = overlap(a, b)
    assert [found.first_only, found.second_only, found.both, found.neither] == expected
    assert min(expected) > 0
    assert found.queries == len(pairs)


def test_unknown_ranks_are_left_out_of_an_overlap():
    a, b = Truth(np.array([0.0, 0.0]), np.zeros(2)), Truth(np.array([np.nan, 3.0]), np.zeros(2))
    assert overlap(a, b) == Overlap(1, 0, 0, 0)
    assert steady([(a, b)]) == 1


def test_a_tied_first_place_is_not_first_under_the_expected_rule():
    assert Truth(np.array([0.5]), np.array([1])).first.tolist() == [False]


def test_difficulty_is_the_median_over_methods(split):
    found = [of(split, skill, seed)[1]["t2i"] for seed, skill in enumerate((2.0, 1.0, 0.0))]
    hard = difficulty(found)
    for query in range(len(split.owner)):
        ranks = sorted(a.truth.rank[query] for a in found)
        assert hard.median[query] == ranks[1]
        assert hard.failed[query] == sum(rank > 0 for rank in ranks)
        firsts = [int(a.top[query, 0]) for a in found if not a.own[query, 0] and not a.source[query, 0]]
        assert hard.shared[query] == max((firsts.count(item) for item in firsts), default=0)
    keys = [(-hard.median[q], -hard.failed[q], q) for q in hard.order]
    assert keys == sorted(keys)


def test_what_the_hardest_have_in_common_is_said_only_where_it_is_beyond_noise(split):
    hard = difficulty([of(split, 1.0, 0)[1]["t2i"]])
    queries = len(hard.median)
    rows = hard.hardest()
    longer = np.random.default_rng(0).normal(10, 0.1, queries)
    longer[rows] += 5
    words = in_words(
        hard, {"words": longer, "objects": np.full(queries, np.nan), "letters": np.arange(queries) % 2.0}, "t2i"
    )
    assert f"The hardest tenth ({len(rows)} captions) has more words (" in words[1]
    assert "has about as many letters as the others" in words[1]
    assert "objects" not in " ".join(words)
    first = int((hard.failed == 0).sum())
    assert (
        words[0]
        == f"Of {queries} captions, no method ranks the truth first for {queries - first}; the method does for {first}."
    )


@pytest.fixture
def shown(tmp_path):
    split = three_methods(tmp_path / "results")
    return split, next(iter(splits(Results(split.store))))


def test_packed_results_give_back_the_matrix(shown):
    made_up, split = shown
    run = split.runs[0]
    scores, packed = made_up.scores[run.run_id], run_data(split, run)
    for direction, matrix in (("i2t", scores), ("t2i", scores.T)):
        part = packed[direction]
        for place, item in enumerate(part["top"].tolist()):
            query = place // part["kept"]
            image, caption = (query, item) if direction == "i2t" else (item, query)
            assert part["score"][place] / 10 ** packed["decimals"] == pytest.approx(matrix[query, item], abs=1e-3)
            assert (place in part["own"]) == (made_up.owner[caption] == image)
            assert (place in part["also"]["0"]) == ((image, caption) in made_up.unlabelled["judges"])
    for image, caption in enumerate(packed["best"].tolist()):
        own = np.flatnonzero(made_up.owner == image)
        assert scores[image, caption] == scores[image, own].max()


def test_packed_ranks_count_from_one_and_tell_ties(shown):
    made_up, split = shown
    run = split.runs[0]
    ranks, packed = rank_table(made_up.scores[run.run_id], made_up.owner), ranks_data(split)[run.run_id]
    assert packed["t2i"]["rank"] == (ranks.t2i_rank + 1).tolist()
    assert packed["t2i"]["level"] == {str(row): int(n) for row, n in enumerate(ranks.t2i_ties) if n}
    assert packed["t2i"]["level"]


def test_a_split_keeps_every_caption_once_and_its_methods_by_rsum(shown):
    made_up, split = shown
    packed = split_data(split)
    assert packed["captions"] == made_up.captions
    assert [method["label"] for method in packed["methods"]] == ["grm", "scan", "chan"]
    assert [len(method["runs"]) for method in packed["methods"]] == [3, 3, 2]
    assert packed["missing"] == [29]
    assert packed["listed"] is None
    lengths_of = lengths(split)
    for image in range(30):
        own = [
            len(text.rstrip(" .").split())
            for text, of_image in zip(made_up.captions, made_up.owner, strict=True)
            if of_image == image
        ]
        assert lengths_of["i2t"][image] == pytest.approx(sum(own) / len(own))
    assert clutter(split)["t2i"].tolist() == [made_up.clutter[image] for image in made_up.owner.tolist()]


def test_of_a_large_split_a_seeded_sample_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.records.exhibits.MOST_IMAGES", 20)
    monkeypatch.setattr("harness.records.exhibits.SAMPLE", 8)
    made_up = three_methods(tmp_path / "results")
    split = next(iter(splits(Results(made_up.store))))
    images = split.listed["i2t"].tolist()
    assert len(set(images)) == 8
    assert split.listed["t2i"].tolist() == [t for t, i in enumerate(made_up.owner.tolist()) if i in images]
    assert split.sampled == "Listed is a sample of 8 of 30 images, with their captions; counts are of all."
    again = next(iter(splits(Results(made_up.store))))
    assert again.listed["i2t"].tolist() == images
    packed = run_data(split, split.runs[0])
    assert packed["i2t"]["top"].tolist() == split.retrieval(split.runs[0]).i2t.top[images, :5].ravel().tolist()
    assert len(ranks_data(split)[split.runs[0].run_id]["t2i"]["rank"]) == len(made_up.owner)


def test_the_sentence_of_an_overlap_names_both_methods():
    said = sentence(Overlap(2, 1, 3, 4), ("a", "b"), "t2i")
    assert said == "Of 10 captions, a alone is right first for 2, b alone for 1, both for 3, neither for 4."


def test_what_one_method_alone_is_right_for_is_compared_with_what_the_other_is():
    a, b = (Truth(np.array(ranks, dtype=float), np.zeros(6)) for ranks in ([0, 0, 0, 3, 3, 3], [1, 1, 1, 0, 0, 0]))
    length = np.array([9.0, 9.5, 10.0, 4.0, 4.5, 5.0])
    traits = {"words": length, "letters": np.array([1.0, 2, 3, 1, 2, 3]), "objects": np.full(6, np.nan)}
    assert traits_in_words(a, b, ("grm", "scan"), traits, "t2i") == (
        "The captions that grm alone is right for have more words than those of scan alone (9.5 and 4.5 on average) and "
        "about as many letters as those of scan alone (2.0 and 2.0 on average)."
    )
    assert "fewer words than those of grm alone" in traits_in_words(b, a, ("scan", "grm"), traits, "t2i")
    assert traits_in_words(a, a, ("grm", "grm"), traits, "t2i") == ""
