"""Equal inputs have equal scores to the last bit, and no block or budget shows in a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.fragments import Fragments, Tokens
from harness.registry import create, names
from harness.scorer import Scorer
from harness.scoring import score_blocks, similarity_matrix
from harness.scoring.distinct import distinct
from harness.scoring.inputs import encode_split


def ragged(seed: int, items: int, longest: int, width: int = 16) -> Fragments:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    mask = torch.rand(items, longest, generator=generator) < 0.7
    mask[:, 0] = True
    return Fragments(features, mask)


def with_copies(side: Fragments, rows: list[int]) -> Fragments:
    """The items at `rows`, what stands at their padding made different in every copy."""
    copies = side[rows]
    junk = torch.randn(copies.features.shape, generator=torch.Generator().manual_seed(9))
    return Fragments(torch.where(copies.mask[..., None], copies.features, junk), copies.mask)


#: Captions and images in this order; the second half repeats some of the first, far from them.
TEXT_ROWS = [*range(75), *range(74, 0, -3), 0, 0]
IMAGE_ROWS = [*range(37), *range(0, 37, 4)]
TEXTS, IMAGES = with_copies(ragged(1, 75, 14), TEXT_ROWS), with_copies(ragged(2, 37, 9), IMAGE_ROWS)


class Attending(Scorer):
    """A scorer of somebody else: no packed form, sums and products of torch."""

    def score(self, images, texts):
        similarity = torch.einsum("ird,twd->itrw", images.features, texts.features)
        similarity = similarity.masked_fill(~images.mask[:, None, :, None], -torch.inf)
        best = similarity.amax(2).masked_fill(~texts.mask, 0)
        return best.sum(2) / texts.lengths


SCORERS = {
    **{name: (name, {}) for name in names()},
    "blip_itm": ("blip_itm", {"layers": 1, "heads": 1}),  # 85,000 pairs pass its network here
    "sgraf": ("sgraf", {"similarity_width": 16}),  # likewise
    "scan i2t": ("scan", {"direction": "i2t", "attention_norm": "softmax", "pooling": "mean"}),
    "scan both": ("scan", {"direction": "both", "attention_norm": "none", "pooling": "sum"}),
    "chan tha": ("chan", {"coding": "tha", "pooling": "softmax"}),
    "chan mean": ("chan", {"pooling": "mean"}),
    "plain": ("plain", {}),
}
LIMITS = [
    {"memory_budget": 100_000},
    {"memory_budget": 1_000_000},
    {"image_block": 5, "text_block": 7},
    {"text_block": 33},
]


def built(name: str) -> Scorer:
    torch.manual_seed(0)
    scorer, config = SCORERS[name]
    return Attending() if scorer == "plain" else create(scorer, **config).eval()


def assert_copies_tie(scores: torch.Tensor) -> None:
    first_text, first_image = [TEXT_ROWS.index(row) for row in TEXT_ROWS], [IMAGE_ROWS.index(row) for row in IMAGE_ROWS]
    assert torch.equal(scores, scores[:, first_text])
    assert torch.equal(scores, scores[first_image])


#: Scorers with a network per pair, which a matrix library runs on all pairs of a call at once.
PER_PAIR = {"blip_itm", "flair", "sgraf"}


def same(name: str, found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-6) if name in PER_PAIR else torch.equal(found, expected)


@pytest.mark.parametrize("name", SCORERS)
def test_equal_items_tie_to_the_last_bit_and_no_limit_shows(name):
    scorer = built(name)
    scores = similarity_matrix(scorer, IMAGES, TEXTS)
    assert_copies_tie(scores)
    for limit in LIMITS:
        blocks = torch.full_like(scores, torch.nan)
        for block in score_blocks(scorer, IMAGES, TEXTS, **limit):
            blocks[block.images[:, None], block.texts] = block.scores
        assert_copies_tie(blocks)
        assert same(name, blocks, scores), limit
    limit = LIMITS[1]  # the matrix is its blocks put together
    assert same(name, similarity_matrix(scorer, IMAGES, TEXTS, **limit), scores), limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["scan", "scan both", "chan", "late_interaction", "grm"])
def test_a_packed_score_depends_on_its_pair_alone(name, dtype):
    """The score of a pair is that of the pair scored by itself: no tile, no neighbour and no other length shows."""
    scorer, images, texts = built(name), ragged(3, 9, 7).to(dtype), ragged(4, 40, 12).to(dtype)
    scores = similarity_matrix(scorer, images, texts)
    for image, text in ((0, 0), (8, 39), (3, 17), (5, 2)):
        alone = similarity_matrix(scorer, images[[image]], texts[[text]])
        assert torch.equal(alone[0, 0], scores[image, text])


class OfAnotherShape(Scorer):
    """Scores whose last bits depend on the size of the call, as those of a matrix library may."""

    def score(self, images, texts):
        return images.features[:, 0] @ texts.features[:, 0].T + 1e-6 * len(images) + 1e-7 * len(texts)


@pytest.mark.parametrize("limit", [{}, *LIMITS])
def test_equal_items_tie_even_where_the_size_of_a_call_shows(limit):
    assert_copies_tie(similarity_matrix(OfAnotherShape(), IMAGES, TEXTS, **limit))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 30),
    st.sampled_from([1, 3, 20]),
    st.booleans(),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
)
def test_distinct_items_are_those_of_a_comparison_of_all_pairs(seed, items, width, extras, dtype):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(0, 2, (items, 2, width), generator=generator).to(dtype)
    mask = torch.rand(items, 2, generator=generator) < 0.5
    mask[:, 0] = True
    marks = torch.randint(0, 2, (items,), generator=generator)
    side = Fragments(features, mask, {"marks": marks} if extras else {})
    found = distinct(side)

    def content(i: int) -> tuple:
        return (mask[i].tolist(), features[i][mask[i]].tolist(), int(marks[i]) if extras else 0)

    firsts: list[int] = []
    for i in range(items):
        same = [f for f in firsts if content(f) == content(i)]
        firsts += [] if same else [i]
        assert int(found.first[found.copy_of[i]]) == (same[0] if same else i)
    assert found.first.tolist() == firsts
    assert found.repeats == (len(firsts) < items)


def test_items_that_share_the_sampled_columns_are_told_apart():
    features = torch.zeros(6, 1, 64)
    features[1::2, 0, 5] = 1  # no sampled column
    found = distinct(Fragments(features, torch.ones(6, 1, dtype=torch.bool)))
    assert found.first.tolist() == [0, 1]
    assert found.copy_of.tolist() == [0, 1, 0, 1, 0, 1]


class OfItsBatch(Scorer):
    """Encoders whose result shows the size of the batch and the place in it."""

    def __init__(self):
        super().__init__()
        self.sizes: list[int] = []

    @property
    def encoders(self):
        return Pixels(), Words()

    def encode_images(self, batch):
        self.sizes.append(len(batch))
        values = batch.float().flatten(1).mean(1) + torch.arange(len(batch)) + 100 * len(self.sizes)
        return Fragments(values[:, None, None], torch.ones(len(batch), 1, dtype=torch.bool))

    def encode_texts(self, batch):
        values = batch.ids.float() + torch.arange(len(batch))[:, None] * 10
        return Fragments(values[..., None], batch.mask)


class Pixels:
    input, image_size, resize = "pixels", 2, "plain"


class Words:
    @staticmethod
    def tokenizer(captions):
        words = [[len(word) for word in caption.split()] for caption in captions]
        lengths = torch.tensor([len(ids) for ids in words])
        ids = torch.tensor([[*ids, *[0] * (3 - len(ids))] for ids in words])
        return Tokens(ids, torch.arange(3) < lengths[:, None])


class Pictures:
    """Images 0 and 5, and 1 and 2, are the same."""

    inputs = frozenset({"pixels"})
    colours = (3, 7, 7, 9, 1, 3)

    def __len__(self):
        return len(self.colours)

    def pixels(self, rows, size, resize):
        return np.stack([np.full((3, size, size), self.colours[row], dtype=np.uint8) for row in rows])


class Split:
    stored_images = stored_texts = None
    images = Pictures()
    captions = ("a dog", "a cat runs", "a dog", "two", "a cat runs", "a dog")


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_equal_images_and_captions_are_encoded_once(batch):
    scorer = OfItsBatch()
    images, texts = encode_split(scorer, Split(), batch)
    assert sum(scorer.sizes) == 4
    assert torch.equal(images.features[0], images.features[5])
    assert torch.equal(images.features[1], images.features[2])
    assert len(images.features.unique()) == 4
    for one, other in ((0, 2), (0, 5), (1, 4)):
        assert torch.equal(texts.features[one], texts.features[other])
        assert torch.equal(texts.mask[one], texts.mask[other])
    assert texts.lengths.tolist() == [2, 3, 2, 1, 3, 2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("items", "longest", "width"), [((5, 6), (4, 5), 8), ((1, 1), (1, 1), 8), ((3, 2), (4, 1), 1)])
@pytest.mark.parametrize("name", names())
def test_every_scorer_takes_every_type_and_the_smallest_sides(name, items, longest, width, dtype):
    """One image, one word and D = 1 in each type: the engine's scores are those of `score`."""
    images, texts = (ragged(seed, n, f, width).to(dtype) for seed, n, f in zip((7, 8), items, longest, strict=True))
    torch.manual_seed(0)
    scorer = create(name).eval()
    with torch.no_grad():
        expected = scorer.score(images, texts)
    scores = similarity_matrix(scorer, images, texts)
    assert scores.dtype == torch.float32
    tolerance = {torch.bfloat16: 5e-2, torch.float16: 5e-3}.get(dtype, 2e-6)
    torch.testing.assert_close(scores, expected.float(), rtol=0, atol=tolerance)
    with torch.no_grad():
        wide = similarity_matrix(scorer.double(), images, texts)
    torch.testing.assert_close(wide, scores, rtol=0, atol=tolerance)
