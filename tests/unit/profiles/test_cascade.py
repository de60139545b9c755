"""Cascades: equal to the fine scorer with the whole gallery, against a cascade written with sorts, both directions."""

import numpy as np
import pytest
import torch

from harness import registry
from harness.errors import InvalidFragments, InvalidSpec, MissingPackage
from harness.fragments import Fragments
from harness.metrics import ranks
from harness.profiles.cascade import ApproximateShortlist, Cascade, ExactShortlist, cascade_scores
from harness.profiles.galleries import GALLERIES
from harness.scoring import Index, similarity_matrix


def items(n, f, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(f) < torch.randint(1, f + 1, (n, 1), generator=generator)
    return Fragments(torch.randn(n, f, 16, generator=generator) * mask[..., None], mask).normalized()


@pytest.fixture
def world():
    coarse, fine = registry.create("clip"), registry.create("scan")
    images, texts = items(40, 6, 1), items(60, 5, 2)
    return coarse, fine, images, texts, coarse.prepare_images(images), coarse.prepare_texts(texts)


def cascade_of(coarse, coarse_gallery, fine, gallery, direction, k):
    first, second = (
        Index.build(scorer, side, gallery=GALLERIES[direction])
        for scorer, side in ((coarse, coarse_gallery), (fine, gallery))
    )
    return Cascade(ExactShortlist(first), second, k)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_a_cascade_of_the_whole_gallery_is_the_fine_scorer_exactly(world, direction):
    coarse, fine, images, texts, vectors, sentences = world
    gallery, queries = (images, texts) if direction == "t2i" else (texts, images)
    coarse_gallery, coarse_queries = (vectors, sentences) if direction == "t2i" else (sentences, vectors)
    cascade = cascade_of(coarse, coarse_gallery, fine, gallery, direction, len(gallery))
    index = Index.build(fine, gallery, gallery=GALLERIES[direction])
    for number in range(5):
        rows, scores = cascade.reranked(queries[[number]], cascade.shortlisted(coarse_queries[[number]]))
        alone = index.query(queries[[number]])[0]
        order = torch.argsort(alone, descending=True, stable=True)
        assert torch.equal(rows, order)
        assert torch.equal(scores, alone[order])


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("k", [1, 7, 39])
def test_a_cascade_re_ranks_the_coarse_shortlist(world, direction, k):
    coarse, fine, images, texts, vectors, sentences = world
    similarity = [similarity_matrix(s, a, b) for s, a, b in ((coarse, vectors, sentences), (fine, images, texts))]
    by_query = [s.T if direction == "t2i" else s for s in similarity]
    gallery, queries = (images, texts) if direction == "t2i" else (texts, images)
    coarse_gallery, coarse_queries = (vectors, sentences) if direction == "t2i" else (sentences, vectors)
    cascade = cascade_of(coarse, coarse_gallery, fine, gallery, direction, k)
    for number in (0, 11):
        rows, _ = cascade.reranked(queries[[number]], cascade.shortlisted(coarse_queries[[number]]))
        kept = np.argsort(-by_query[0][number].numpy())[:k]
        expected = kept[np.argsort(-by_query[1][number].numpy()[kept])]
        assert rows.tolist() == expected.tolist()


def test_scores_of_a_cascade_rank_as_two_sorts_do():
    generator = np.random.default_rng(0)
    coarse, fine = (torch.from_numpy(generator.normal(size=(25, 30)).astype(np.float32)) for _ in range(2))
    for k in (1, 4, 29):
        scores = cascade_scores(coarse, fine, k)
        for row in range(25):
            first = np.argsort(-coarse[row].numpy())
            expected = [*first[:k][np.argsort(-fine[row].numpy()[first[:k]])], *first[k:]]
            assert np.argsort(-scores[row].numpy()).tolist() == expected


def test_recall_against_k_ends_at_the_fine_scorers_and_the_ranks_are_its_own():
    generator = torch.Generator().manual_seed(3)
    owner = np.arange(50)
    fine = torch.randn(50, 50, generator=generator) + 3 * torch.eye(50)
    coarse = torch.randn(50, 50, generator=generator) + 2 * torch.eye(50)
    recall = []
    for k in (1, 5, 20, 50):
        _, t2i = ranks(cascade_scores(coarse.T, fine.T, k).T, owner)
        recall.append(float(np.mean(t2i < 5)))
    _, alone = ranks(fine, owner)
    assert recall[-1] == float(np.mean(alone < 5))
    assert torch.equal(cascade_scores(coarse, fine, 50), fine.double())
    # a rank within the shortlist can only fall with the items that are added
    assert recall[0] < recall[-1]


def test_k_must_be_positive(world):
    with pytest.raises(InvalidSpec, match="k = 0"):
        cascade_of(world[0], world[4], world[1], world[2], "t2i", 0)


def test_an_approximate_shortlist_finds_what_the_exact_one_does(world):
    pytest.importorskip("faiss")
    coarse, _, _, _, vectors, sentences = world
    exact = ExactShortlist(Index.build(coarse, vectors))
    near = ApproximateShortlist(coarse, vectors, "t2i", sentences[:3])
    found = [len(set(exact(sentences[[q]], 10).tolist()) & set(near(sentences[[q]], 10).tolist())) for q in range(20)]
    assert np.mean(found) > 9.5


def test_an_approximate_shortlist_needs_one_vector_per_item(world):
    pytest.importorskip("faiss")
    with pytest.raises(InvalidFragments, match="fragments"):
        ApproximateShortlist(world[1], world[2], "t2i", world[3])


def test_without_faiss_the_error_says_what_to_install(world, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingPackage, match=r"pip install -e '\.\[ann\]'"):
        ApproximateShortlist(world[0], world[4], "t2i", world[5])
