"""A gallery in half precision or as int8 codes, and the shortlists that exact scores rank again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gallery_sides import GALLERIES, expected, prepared, sides

from harness import registry
from harness.errors import InvalidIndex, InvalidSimilarity
from harness.fragments import Fragments
from harness.scoring import Index, packed_form, similarity_matrix
from harness.similarity.packed import codes, products
from harness.similarity.packed.scores import Plan, TileSize, pack_side, packed_scores


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_that_of_the_engine(chan, dtype):
    images, texts = prepared(chan)
    index = Index.build(chan, images, dtype=dtype)
    assert index.nbytes < 0.6 * Index.build(chan, images).nbytes
    wanted = similarity_matrix(chan, images, texts, dtype=getattr(torch, dtype)).T
    torch.testing.assert_close(index.query(texts), wanted, atol=2e-5, rtol=1e-4)
    assert not torch.equal(index.query(texts), Index.build(chan, images).query(texts))


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
