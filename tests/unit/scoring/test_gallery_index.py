"""A packed gallery that stays: the engine's scores, whatever was added, removed, saved or asked at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import registry
from harness.errors import InvalidFragments, InvalidIndex, InvalidSimilarity, ResultsNotWritable
from harness.fragments import Fragments
from harness.scoring import Index, packed_form, similarity_matrix
from harness.scoring.index.stored import Header
from harness.similarity.packed import codes, products
from harness.similarity.packed.scores import Plan, TileSize, pack_side, packed_scores

IMAGES, CAPTIONS, WIDTH = 41, 23, 32
GALLERIES = ["images", "captions"]


def fragments(count, longest, seed, shortest=None):
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, longest, WIDTH, generator=random)
    lengths = torch.randint(shortest or longest, longest + 1, (count,), generator=random)
    return Fragments(features, torch.arange(longest) < lengths[:, None])


def prepared(scorer, images=IMAGES, captions=CAPTIONS, *, ragged_images=False):
    scorer.eval()
    with torch.no_grad():
        return (
            scorer.prepare_images(fragments(images, 9, 1, 4 if ragged_images else None)),
            scorer.prepare_texts(fragments(captions, 12, 2, 3)),
        )


def sides(gallery, images, texts):
    """The gallery and the queries."""
    return (images, texts) if gallery == "images" else (texts, images)


def expected(scorer, images, texts, gallery):
    scores = similarity_matrix(scorer, images, texts)
    return scores.T if gallery == "images" else scores


@pytest.fixture(scope="module")
def chan():
    return registry.create("chan").eval()


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


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", ["chan", "grm", "vsepp", "sgraf"])
def test_a_saved_index_gives_the_same_scores(name, gallery, tmp_path):
    scorer = registry.create(name)
    images, texts = prepared(scorer)
    stored, queries = sides(gallery, images, texts)
    ids = [f"item {number}" for number in range(len(stored))]
    built = Index.build(scorer, stored, gallery=gallery, ids=ids)
    built.save(tmp_path / "saved")
    streamed = Index.build(
        scorer, (stored[start : start + 10] for start in range(0, len(stored), 10)), gallery=gallery, ids=ids,
        path=tmp_path / "streamed",
    )  # fmt: skip
    for index in (Index.open(tmp_path / "saved", scorer, check=True), streamed):
        assert index.ids == tuple(ids)
        torch.testing.assert_close(index.query(queries), built.query(queries), atol=1e-6, rtol=0)


def test_features_of_a_saved_index_are_mapped_not_copied(chan, tmp_path):
    images, _ = prepared(chan)
    index = Index.build(chan, images, path=tmp_path / "index")
    (segment,) = index._state.segments
    mapped = segment.items.features.untyped_storage().data_ptr()
    assert all(tile.rows.untyped_storage().data_ptr() == mapped for part in segment.parts for tile in part.lefts or ())


def test_equal_items_are_kept_once(chan, tmp_path):
    images, texts = prepared(chan)
    ids = [str(number) for number in range(2 * len(images))]
    index = Index.build(chan, Fragments.cat([images, images]), ids=ids, path=tmp_path / "index")
    assert (tmp_path / "index" / "features.bin").stat().st_size == images.features.numel() * 4
    assert len(index) == 2 * len(images)
    assert torch.equal(index.query(texts[:1])[:, : len(images)], index.query(texts[:1])[:, len(images) :])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_that_of_the_engine(chan, dtype):
    images, texts = prepared(chan)
    index = Index.build(chan, images, dtype=dtype)
    assert index.nbytes < 0.6 * Index.build(chan, images).nbytes
    wanted = similarity_matrix(chan, images, texts, dtype=getattr(torch, dtype)).T
    torch.testing.assert_close(index.query(texts), wanted, atol=2e-5, rtol=1e-4)
    assert not torch.equal(index.query(texts), Index.build(chan, images).query(texts))


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


def test_a_damaged_or_foreign_index_is_refused(chan, tmp_path):
    images, _ = prepared(chan)
    folder = tmp_path / "index"
    Index.build(chan, images, path=folder)
    with pytest.raises(ResultsNotWritable, match="exists already"):
        Index.build(chan, images, path=folder)
    with pytest.raises(InvalidIndex, match="made for another Chan"):
        Index.open(folder, registry.create("chan", pooling="mean"))
    with pytest.raises(InvalidIndex, match="is no index"):
        Index.open(tmp_path, chan)
    content = bytearray((folder / "features.bin").read_bytes())
    content[100] ^= 1
    (folder / "features.bin").write_bytes(content)
    Index.open(folder, chan)
    with pytest.raises(InvalidIndex, match="was changed"):
        Index.open(folder, chan, check=True)
    (folder / "features.bin").write_bytes(content[:-4])
    with pytest.raises(InvalidIndex, match="was cut off"):
        Index.open(folder, chan)
    (folder / "features.bin").unlink()
    with pytest.raises(InvalidIndex, match="No such file"):
        Index.open(folder, chan)


def restate(folder, change):
    """Change a header, and state the checksum of what it says now."""
    header = Header.model_validate(json.loads((folder / "index.json").read_text()) | change | {"sha256": ""})
    (folder / "index.json").write_text(header.model_copy(update={"sha256": header.own_sha256}).model_dump_json())


def test_names_that_were_exchanged_are_noticed(chan, tmp_path):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    header["ids"][0], header["ids"][1] = header["ids"][1], header["ids"][0]
    (tmp_path / "index" / "index.json").write_text(json.dumps(header))
    with pytest.raises(InvalidIndex, match=r"index.json was changed"):
        Index.open(tmp_path / "index", chan)


def test_lengths_that_contradict_the_features_are_refused(chan, tmp_path):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    lengths = np.fromfile(tmp_path / "index" / "lengths.bin", dtype=np.int64)
    for wrong in (lengths + np.eye(1, len(lengths), dtype=np.int64)[0], np.where(lengths == lengths[0], 0, lengths)):
        wrong.tofile(tmp_path / "index" / "lengths.bin")
        with pytest.raises(InvalidIndex, match="contradicts itself"):
            Index.open(tmp_path / "index", chan)


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


def test_an_opened_index_numbers_new_items_by_free_numbers(chan, tmp_path):
    images, _ = prepared(chan)
    index = Index.build(chan, images[:5])
    index.remove(["0", "1"])
    index.save(tmp_path / "index")
    opened = Index.open(tmp_path / "index", chan)
    opened.add(images[5:7])
    assert opened.ids == ("2", "3", "4", "5", "6")


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2"),
        ({"arrays": {"../../evil": {"dtype": "float32", "shape": [1], "sha256": "0" * 64}}}, "names an array"),
        ({"ids": ["a"]}, "does not hold the features"),
    ],
)
def test_a_header_is_not_trusted(chan, tmp_path, change, message):
    Index.build(chan, prepared(chan)[0], path=tmp_path / "index")
    restate(tmp_path / "index", change)
    with pytest.raises(InvalidIndex, match=message):
        Index.open(tmp_path / "index", chan)


def test_a_build_that_fails_leaves_nothing(chan, tmp_path):
    images, _ = prepared(chan)

    def blocks():
        yield images[:10]
        raise RuntimeError("the tower is gone")

    with pytest.raises(RuntimeError, match="tower"):
        Index.build(chan, blocks(), path=tmp_path / "index")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next(chan, tmp_path):
    images, _ = prepared(chan)
    script = (
        "import os, sys; from harness.scoring.index import IndexWriter\n"
        "IndexWriter(sys.argv[1], 'images', 'Chan', '0' * 64); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "index")]).returncode == 9
    (left,) = tmp_path.iterdir()
    other = tmp_path / f".other{left.name.removeprefix('.index')}"
    other.mkdir()
    Index.build(chan, images, path=tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "index"]


def test_an_index_of_numpy_sized_galleries_counts_its_bytes(chan):
    images, _ = prepared(chan)
    assert Index.build(chan, images).nbytes == np.prod(images.features.shape) * 4 + images.mask.numel()


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("name", ["chan", "scan", "grm", "late_interaction", "vsepp"])
def test_int8_scores_are_those_of_the_decoded_items_and_queries(name, gallery):
    torch.manual_seed(0)
    scorer = registry.create(name)
    images, texts = prepared(scorer, ragged_images=True)
    stored, queries = sides(gallery, images, texts)
    index = Index.build(scorer, stored, gallery=gallery, dtype="int8", exact=False)
    form = packed_form(scorer)
    if form is None:  # the plain route decodes the gallery, and leaves queries as they are
        coarse = [codes.decoded(codes.coded(stored)), queries]
    else:
        rows = {"images": form.image_rows, "captions": form.text_rows}
        rows = [rows[gallery], rows["captions" if gallery == "images" else "images"]]
        given = [side if change is None else change(side) for side, change in zip((stored, queries), rows, strict=True)]
        coarse = [codes.decoded(codes.coded(side)) for side in given]
    left, right = sides(gallery, *coarse)
    wanted = expected_of_rows(scorer, left, right, gallery)
    torch.testing.assert_close(index.query(queries), wanted, atol=2e-5, rtol=1e-5)
    exact = expected(scorer, images, texts, gallery)
    assert 0 < (index.query(queries) - exact).abs().max() < 0.1 * exact.abs().max()
    assert index.nbytes < 0.45 * Index.build(scorer, stored, gallery=gallery).nbytes


def expected_of_rows(scorer, images, texts, gallery):
    """Scores of fragments that a packed form's row transform has gone through, with no transform once more."""
    form = packed_form(scorer)
    if form is None:
        return expected(scorer, images, texts, gallery)
    plan = Plan(replace(form, image_rows=None, text_rows=None), TileSize(288, 4096), 2**20)
    left, right = (
        pack_side(plan, side, torch.arange(len(side)), texts=is_text)
        for side, is_text in ((images, False), (texts, True))
    )
    scores = torch.empty(len(images), len(texts))
    scores[left.items[:, None], right.items] = packed_scores(plan, left, right)
    return scores.T if gallery == "images" else scores


@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize(
    ("name", "dtype"), [("chan", "int8"), ("grm", "int8"), ("vsepp", "int8"), ("scan", "bfloat16")]
)
def test_a_shortlist_by_reduced_precision_is_ranked_by_exact_scores(name, dtype, gallery, tmp_path):
    torch.manual_seed(0)
    scorer = registry.create(name)
    stored, queries = sides(gallery, *prepared(scorer, 150, 150))
    plain = Index.build(scorer, stored, gallery=gallery)
    built = Index.build(scorer, stored, gallery=gallery, dtype=dtype, exact=True, path=tmp_path / "index")
    wanted = plain.top(queries[:20], k=5)
    for index in (built, Index.open(tmp_path / "index", scorer, check=True), built.copy()):
        found = index.top(queries[:20], k=5)
        assert found.ids == wanted.ids
        torch.testing.assert_close(found.scores, wanted.scores, atol=1e-6, rtol=0)
    coarse = built.query(queries[:20])
    assert built.top(queries[:20], k=5, shortlist=5).items.sort().values.tolist() == (
        coarse.topk(5).indices.sort().values.tolist()
    )
    assert 0 < built.nbytes < 0.55 * plain.nbytes
    assert built.exact_nbytes == stored.features.numel() * 4 if name != "grm" else built.exact_nbytes > 0
    assert plain.exact_nbytes == 0


@pytest.mark.parametrize("dtype", [None, "bfloat16", "int8"])
def test_scores_among_some_items_are_those_of_the_whole_gallery(chan, dtype):
    images, texts = prepared(chan)
    index = Index.build(chan, Fragments.cat([images, images[:3]]), dtype=dtype)
    among = torch.tensor([7, 3, len(images), 0])
    exact = Index.build(chan, Fragments.cat([images, images[:3]]), dtype=None if dtype == "int8" else dtype)
    assert torch.equal(index.query(texts, among), exact.query(texts)[:, among])
    assert index.query(texts, among[:0]).shape == (len(texts), 0)
    with pytest.raises(InvalidIndex, match="from 0 to 44 in 44 items"):
        index.query(texts, torch.tensor([0, 44]))


def test_a_copy_grows_alone_and_shares_what_is_packed(chan):
    images, texts = prepared(chan)
    small = Index.build(chan, images[:20])
    large = small.copy()
    large.add(images[20:])
    assert (len(small), len(large)) == (20, IMAGES)
    assert large._state.segments[0] is small._state.segments[0]
    assert torch.equal(large.query(texts), Index.build(chan, images).query(texts))


def test_int8_of_features_that_are_not_finite_is_refused(chan):
    images, texts = prepared(chan)
    broken = images.features.clone()
    broken[3, 2, 1] = float("inf")
    index = Index.build(chan, Fragments.unchecked(broken, images.mask, images.extras), dtype="int8")
    with pytest.raises(InvalidSimilarity, match="not finite"):
        index.query(texts)


@pytest.mark.parametrize("backend", ["float32_mm", "int8_mm"])
def test_sums_of_codes_are_exact(backend):
    random = torch.Generator().manual_seed(0)
    left, right = (torch.randint(-127, 128, (rows, 96), generator=random, dtype=torch.int8) for rows in (37, 16))
    sums = products.BACKENDS[backend](right, 37)(left)
    assert torch.equal(sums.long(), left.long() @ right.long().T)
