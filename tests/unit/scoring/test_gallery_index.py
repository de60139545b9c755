"""A packed gallery that stays: the engine's scores, whatever was added, removed or asked at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from gallery_sides import CAPTIONS, GALLERIES, IMAGES, expected, prepared, sides

from harness import registry
from harness.errors import InvalidFragments, InvalidIndex, InvalidSimilarity
from harness.fragments import Fragments
from harness.scoring import Index


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", registry.names())
def test_scores_are_those_of_the_engine_in_batches_and_one_by_one(name, gallery):
    torch.manual_seed(0)
    scorer = registry.create(name)
    images, texts = prepared(scorer, ragged_images=name != "laps")
    stored, queries = sides(gallery, images, texts)
    index = Index.build(scorer, stored, gallery=gallery)
    wanted = expected(scorer, images, texts, gallery)
    assert wanted.std() > 1e-4
    torch.testing.assert_close(index.query(queries), wanted, atol=1e-5, rtol=0)
    one_by_one = torch.cat([index.query(queries[number : number + 1]) for number in range(len(queries))])
    torch.testing.assert_close(one_by_one, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", ["chan", "scan", "grm", "late_interaction"])
def test_equal_items_have_equal_scores_to_the_bit(name, gallery):
    scorer = registry.create(name)
    stored, queries = sides(gallery, *prepared(scorer))
    twice = Fragments.cat([stored, stored])
    scores = Index.build(scorer, twice, gallery=gallery).query(queries[:1])
    assert torch.equal(scores[:, : len(stored)], scores[:, len(stored) :])


def test_a_score_does_not_depend_on_the_other_queries(chan):
    images, texts = prepared(chan, captions=300)
    index = Index.build(chan, images)
    together = index.query(texts)
    assert torch.equal(together[7:8], index.query(texts[7:8]))


def test_added_and_removed_items(chan):
    images, texts = prepared(chan)
    index = Index.build(chan, images[:20], ids=[f"i{number}" for number in range(20)])
    index.add(images[20:], [f"i{number}" for number in range(20, IMAGES)])
    wanted = expected(chan, images, texts, "images")
    torch.testing.assert_close(index.query(texts), wanted, atol=1e-5, rtol=0)
    gone = [f"i{number}" for number in range(0, IMAGES, 3)]
    index.remove(gone)
    left = [number for number in range(IMAGES) if number % 3]
    assert index.ids == tuple(f"i{number}" for number in left)
    torch.testing.assert_close(index.query(texts), wanted[:, left], atol=1e-5, rtol=0)
    index.remove(index.ids[:-2])
    assert sum(len(segment) for segment in index._state.segments) == 2  # what they took is given back
    torch.testing.assert_close(index.query(texts), wanted[:, left[-2:]], atol=1e-5, rtol=0)
    index.remove(index.ids)
    with pytest.raises(InvalidIndex, match="the index is empty"):
        index.query(texts)
    index.add(images[:3])
    assert index.ids == ("41", "42", "43")


def test_the_best_items_come_first_and_equal_ones_in_the_order_in_which_they_were_added(chan):
    images, texts = prepared(chan)
    doubled = Fragments.cat([images, images])
    index = Index.build(chan, doubled)
    hits, scores = index.top(texts, k=7), index.query(texts)
    for row in range(len(texts)):
        order = sorted(range(len(doubled)), key=lambda item: (-scores[row, item].item(), item))[:7]
        assert hits.items[row].tolist() == order
        assert hits.ids[row] == tuple(str(item) for item in order)
        assert hits.scores[row].tolist() == scores[row, order].tolist()
    assert index.top(texts[:1], k=10_000).items.shape == (1, len(doubled))


def test_threads_ask_while_items_come_and_go(chan):
    images, texts = prepared(chan)
    index = Index.build(chan, images[:20])
    wanted = expected(chan, images, texts, "images")
    wrong = []

    def ask():
        for number in range(40):
            scores = index.query(texts[number % CAPTIONS : number % CAPTIONS + 1])
            size = scores.shape[1]
            if size not in (20, IMAGES) or not torch.allclose(scores[0], wanted[number % CAPTIONS, :size], atol=1e-5):
                wrong.append(size)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(10):
        index.add(images[20:])
        index.remove(index.ids[20:])
    for asker in askers:
        asker.join()
    assert not wrong


def test_bad_input_is_refused(chan, tmp_path):
    images, texts = prepared(chan)
    index = Index.build(chan, images)
    with pytest.raises(InvalidIndex, match="images or captions, got 'pictures'"):
        Index(chan, "pictures")
    with pytest.raises(InvalidIndex, match="float32, bfloat16, float16, int8, got int4"):
        Index(chan, dtype="int4")
    with pytest.raises(InvalidIndex, match="41 items and 2 ids"):
        Index.build(chan, images, ids=["a", "b"])
    with pytest.raises(InvalidIndex, match="41 items and 42 ids"):
        Index.build(chan, images, ids=[str(number) for number in range(42)])
    with pytest.raises(InvalidIndex, match="41 items and 42 ids"):
        Index.build(chan, images, ids=[str(number) for number in range(42)], path=tmp_path / "many")
    with pytest.raises(InvalidIndex, match="id 'a' occurs twice"):
        Index.build(chan, images[:2], ids=["a", "a"], path=tmp_path / "twice")
    with pytest.raises(InvalidIndex, match="id '0' occurs twice"):
        index.add(images[:1], ["0"])
    with pytest.raises(InvalidIndex, match="got the text '12'"):
        index.remove("12")
    with pytest.raises(InvalidIndex, match="ids are texts, got 7"):
        index.add(images[:1], [7])
    with pytest.raises(InvalidIndex, match="no item 'x'"):
        index.remove(["1", "x"])
    assert "1" in index.ids
    with pytest.raises(InvalidFragments, match="queries of width 8 for an index of width 32"):
        index.query(Fragments(torch.ones(1, 2, 8), torch.ones(1, 2, dtype=torch.bool)))
    with pytest.raises(InvalidFragments, match="items of width 8"):
        index.add(Fragments(torch.ones(1, 9, 8), torch.ones(1, 9, dtype=torch.bool)))
    with pytest.raises(InvalidIndex, match="k must be at least 1"):
        index.top(texts, k=0)
    with pytest.raises(InvalidIndex, match="without items"):
        Index.build(chan, iter(()), path=tmp_path / "empty")
    assert not list(tmp_path.iterdir())


def test_scores_and_names_of_an_answer_are_of_one_moment(chan, monkeypatch):
    images, texts = prepared(chan)
    index = Index.build(chan, images)
    wanted = index.top(texts[:1], k=3).ids
    scores = Index._scores

    def removed_meanwhile(self, state, queries):
        index.remove(list(wanted[0]))
        return scores(self, state, queries)

    monkeypatch.setattr(Index, "_scores", removed_meanwhile)
    assert index.top(texts[:1], k=3).ids == wanted
    assert not set(wanted[0]) & set(index.ids)


def test_scores_that_are_not_finite_are_refused(chan):
    images, texts = prepared(chan)
    broken = images.features.clone()
    broken[3, 2] = float("nan")
    index = Index.build(chan, Fragments.unchecked(broken, images.mask, images.extras))
    with pytest.raises(InvalidSimilarity, match="not finite"):
        index.query(texts)


def test_items_without_ids_are_numbered_from_the_first_that_was_added(chan):
    images, _ = prepared(chan)
    index = Index.build(chan, images[:5])
    index.remove(["0", "1"])
    index.add(images[5:7])
    assert index.ids == ("2", "3", "4", "5", "6")


def test_scores_are_the_callers_to_change(chan):
    images, texts = prepared(chan)
    scores = Index.build(chan, images).query(texts)
    scores[0] = 0.0
    scores.add_(1.0)
    assert scores[0].tolist() == [1.0] * len(images)


def test_equal_items_of_several_blocks_are_kept_once_in_memory(chan):
    images, texts = prepared(chan)
    index = Index.build(chan, iter([images, images]))
    assert index.nbytes == Index.build(chan, images).nbytes
    assert torch.equal(index.query(texts)[:, : len(images)], index.query(texts)[:, len(images) :])


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", ["chan", "scan", "grm", "late_interaction"])
def test_packed_scores_are_those_of_the_engine_to_the_bit(name, gallery):
    torch.manual_seed(0)
    scorer = registry.create(name)
    images, texts = prepared(scorer)
    stored, queries = sides(gallery, images, texts)
    index = Index.build(scorer, stored, gallery=gallery)
    assert torch.equal(index.query(queries), expected(scorer, images, texts, gallery))
    assert torch.equal(index.query(queries[3:4]), expected(scorer, images, texts, gallery)[3:4])


def test_an_index_of_numpy_sized_galleries_counts_its_bytes(chan):
    images, _ = prepared(chan)
    assert Index.build(chan, images).nbytes == np.prod(images.features.shape) * 4 + images.mask.numel()


def test_a_copy_grows_alone_and_shares_what_is_packed(chan):
    images, texts = prepared(chan)
    small = Index.build(chan, images[:20])
    large = small.copy()
    large.add(images[20:])
    assert (len(small), len(large)) == (20, IMAGES)
    assert large._state.segments[0] is small._state.segments[0]
    assert torch.equal(large.query(texts), Index.build(chan, images).query(texts))
