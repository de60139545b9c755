"""Random changes to training batches: their laws, and what they must never do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backbones.words.tokenizers import WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.fragments import Fragments, Tokens
from harness.training import augmentation

START, END = 1, 2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Words:
    vocabulary_size = 100
    mask_id = 4
    special_ids = (0, START, END)


def regions(items=500, count=10):
    lengths = torch.randint(1, count + 1, (items,), generator=generator(1))
    return Fragments(
        torch.randn(items, count, 2), torch.arange(count) < lengths[:, None], {"box": torch.ones(items, 3)}
    )


def captions(items=2000, words=10):
    """Words 10, 11, 12, ... between start and end."""
    row = torch.cat([torch.tensor([START]), torch.arange(10, 10 + words), torch.tensor([END]), torch.zeros(2)]).long()
    return Tokens(row.expand(items, -1).clone(), (torch.arange(words + 4) < words + 2).expand(items, -1).clone())


class TestDropRegions:
    def test_drops_the_asked_share_of_the_real_regions(self):
        whole = Fragments(torch.randn(2000, 10, 1), torch.ones(2000, 10, dtype=torch.bool))
        kept = augmentation.drop_regions(whole, 0.2, generator()).mask.float().mean()
        assert kept == pytest.approx(0.8, abs=0.01)  # standard error 0.003

    def test_shows_no_padding_and_leaves_an_image_at_least_one_region(self):
        batch = regions()
        out = augmentation.drop_regions(batch, 0.9, generator())
        assert not (out.mask & ~batch.mask).any()
        assert out.mask.any(dim=1).all()

    def test_the_region_that_stays_is_any_of_them(self):
        pairs = Fragments(torch.randn(4000, 2, 1), torch.ones(4000, 2, dtype=torch.bool))
        out = augmentation.drop_regions(pairs, 0.99, generator())
        assert out.mask[:, 0].float().mean() == pytest.approx(0.5, abs=0.04)  # standard error 0.008

    def test_changes_neither_features_nor_extras_nor_its_input(self):
        batch = regions()
        before = batch.mask.clone()
        out = augmentation.drop_regions(batch, 0.5, generator())
        assert out.features is batch.features
        assert torch.equal(out.extras["box"], batch.extras["box"])
        assert torch.equal(batch.mask, before)

    def test_the_seed_decides(self):
        batch = regions()
        first, again, other = (augmentation.drop_regions(batch, 0.5, generator(s)).mask for s in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_zero_gives_the_batch_itself(self):
        batch = regions()
        assert augmentation.drop_regions(batch, 0.0, generator()) is batch


class TestMaskWords:
    def test_the_fates_have_the_shares_of_chan(self):
        batch = captions()
        out = augmentation.mask_words(batch, 0.2, Words, generator())
        words = 2000 * 10
        masked = (out.ids[out.mask] == Words.mask_id).sum() / words
        deleted = 1 - (out.mask.sum() - 2 * 2000) / words
        strange = ((out.ids[out.mask] > 4) & ((out.ids[out.mask] < 10) | (out.ids[out.mask] >= 20))).sum() / words
        assert masked == pytest.approx(0.10, abs=0.01)  # 0.2 x 0.5, standard error 0.002
        assert deleted == pytest.approx(0.08, abs=0.01)  # 0.2 x 0.4
        # 0.2 x 0.1, of which 10 of 96 candidates are words that the caption holds already; <unk> is a candidate too
        assert strange == pytest.approx(0.02 * 85 / 95, abs=0.004)

    def test_words_that_are_left_alone_keep_their_order(self):
        out = augmentation.mask_words(captions(300), 0.3, Words, generator())
        for ids, mask in zip(out.ids, out.mask, strict=True):
            row = ids[mask].tolist()
            assert row[0] == START
            assert row[-1] == END
        # without replacements, what is left of 10, 11, ... must ascend
        only = augmentation.mask_words(
            captions(300), 0.3, type("OneWord", (Words,), {"vocabulary_size": 5}), generator()
        )
        for ids, mask in zip(only.ids, only.mask, strict=True):
            originals = [i for i in ids[mask].tolist() if i >= 10]
            assert originals == sorted(originals)

    def test_replacements_are_ordinary_words(self):
        out = augmentation.mask_words(captions(), 0.9, Words, generator())
        inner = out.ids[out.mask & (out.ids != START) & (out.ids != END)]
        assert not torch.isin(inner, torch.tensor([0])).any()
        assert ((out.ids == START) & out.mask).sum() == len(out)
        assert ((out.ids == END) & out.mask).sum() == len(out)

    @given(st.integers(0, 10**6), st.floats(0.01, 0.99), st.integers(0, 4))
    @settings(max_examples=60, deadline=None)
    def test_a_caption_with_words_keeps_one(self, seed, share, words):
        out = augmentation.mask_words(captions(8, words), share, Words, generator(seed))
        assert (out.lengths >= 2 + min(words, 1)).all()
        assert torch.equal(out.mask, torch.arange(out.ids.shape[1]) < out.lengths[:, None])

    def test_the_batch_is_trimmed_to_its_longest_caption(self):
        out = augmentation.mask_words(captions(3), 0.99, Words, generator())
        assert out.ids.shape[1] == int(out.lengths.max())

    def test_the_seed_decides_and_the_input_stays(self):
        batch = captions(50)
        before = batch.ids.clone()
        first, again, other = (augmentation.mask_words(batch, 0.5, Words, generator(s)).ids for s in (0, 0, 1))
        assert torch.equal(first, again)
        assert first.shape != other.shape or not torch.equal(first, other)
        assert torch.equal(batch.ids, before)
        assert augmentation.mask_words(batch, 0.0, Words, generator()) is batch

    def test_a_real_tokenizer_fits(self):
        tokenizer = WordTokenizer(Vocabulary.from_captions(["a red dog runs"]), 20)
        out = augmentation.mask_words(tokenizer(["a red dog runs", "a dog"]), 0.9, tokenizer, generator())
        assert int(out.ids.max()) < tokenizer.vocabulary_size


def test_leading_fragments_that_are_no_places_are_never_dropped():
    batch = regions(items=200, count=60)
    dropped = augmentation.drop_regions(batch, 0.9, generator(), kept=1)
    assert torch.equal(dropped.mask[:, 0], batch.mask[:, 0])
    assert dropped.mask[:, 1:].sum() < 0.2 * batch.mask[:, 1:].sum()
    has_places = batch.mask[:, 1:].any(1)
    assert dropped.mask[:, 1:].any(1).equal(has_places)  # an image is never left with its [CLS] alone
    assert not (dropped.mask & ~batch.mask).any()
