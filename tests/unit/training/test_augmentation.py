"""Random changes to training batches: their laws, and what they must never do."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backbones.words.tokenizers import WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import InvalidSpec
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


def pictures(items=4, size=32):
    """Smooth pictures, so that interpolation has one right answer."""
    noise = torch.randn(items, 3, 5, 5, generator=generator(3))
    smooth = F.interpolate(noise, (size, size), mode="bicubic", align_corners=False)
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).round().to(torch.uint8)


class TestPixels:
    def test_flip_mirrors_half_of_the_images(self):
        batch = torch.arange(3 * 4 * 4, dtype=torch.uint8).view(1, 3, 4, 4).expand(2000, -1, -1, -1)
        out = augmentation.augment_pixels(batch, "flip", generator())
        mirrored = (out == batch.flip(-1)).flatten(1).all(dim=1)
        same = (out == batch).flatten(1).all(dim=1)
        assert (mirrored ^ same).all()
        assert mirrored.float().mean() == pytest.approx(0.5, abs=0.05)

    def test_the_whole_image_as_a_crop_is_the_image(self):
        batch = pictures()
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4)
        mirrored = torch.tensor([False, True, False, True])
        out = augmentation.view(batch, whole, mirrored)
        assert torch.equal(out, torch.where(mirrored[:, None, None, None], batch.flip(-1), batch))

    def test_a_crop_equals_cutting_and_enlarging(self):
        batch = pictures()
        box = torch.tensor([[4 / 32, 8 / 32, 16 / 32, 16 / 32]]).expand(4, 4)  # left, top, width, height
        out = augmentation.view(batch, box, torch.zeros(4, dtype=torch.bool)).float()
        cut = batch[:, :, 8:24, 4:20].float()
        expected = F.interpolate(cut, (32, 32), mode="bicubic", align_corners=False).round().clamp(0, 255)
        inner = (
            slice(None),
            slice(None),
            slice(5, 27),
            slice(5, 27),
        )  # the cut does not know what lies beyond its border
        assert (out[inner] - expected[inner]).abs().max() <= 1

    def test_crops_lie_in_the_image_with_the_area_and_ratio_of_laps(self):
        left, top, width, height = augmentation.random_boxes(5000, generator()).unbind(1)
        assert (left >= 0).all()
        assert (top >= 0).all()
        assert (left + width <= 1 + 1e-6).all()
        assert (top + height <= 1 + 1e-6).all()
        assert (width * height).max() <= 1
        # a crop wider than the image is cut at its border, which may take it below 60 % and its ratio towards 1
        assert (width * height).min() >= 0.6 * (3 / 4) ** 0.5
        assert ((width / height >= 3 / 4 - 1e-6) & (width / height <= 4 / 3 + 1e-6)).all()
        assert left.std() > 0.02

    def test_crops_differ_between_images_and_follow_the_seed(self):
        batch = pictures(1).expand(6, -1, -1, -1)
        first, again = (augmentation.augment_pixels(batch, "crop_flip", generator(5)) for _ in range(2))
        assert torch.equal(first, again)
        assert len({tuple(image.flatten().tolist()) for image in first}) == 6
        assert first.dtype == torch.uint8
        assert first.shape == batch.shape

    def test_none_gives_the_batch_itself(self):
        batch = pictures()
        assert augmentation.augment_pixels(batch, "none", generator()) is batch

    def test_another_kind_is_refused(self):
        with pytest.raises(InvalidSpec, match="valid: none, flip, crop_flip"):
            augmentation.augment_pixels(pictures(), "rotate", generator())


def test_leading_fragments_that_are_no_places_are_never_dropped():
    batch = regions(items=200, count=60)
    dropped = augmentation.drop_regions(batch, 0.9, generator(), kept=1)
    assert torch.equal(dropped.mask[:, 0], batch.mask[:, 0])
    assert dropped.mask[:, 1:].sum() < 0.2 * batch.mask[:, 1:].sum()
    has_places = batch.mask[:, 1:].any(1)
    assert dropped.mask[:, 1:].any(1).equal(has_places)  # an image is never left with its [CLS] alone
    assert not (dropped.mask & ~batch.mask).any()
