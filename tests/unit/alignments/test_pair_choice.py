"""Which pairs get cards: drawn by the data alone, over all lengths, and named by id or row without a guess."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from harness.alignments.asking import asked_pairs, find
from harness.alignments.choice import COUNT, Pair, sample
from harness.datasets.base import Split
from harness.datasets.images import ArrayImages
from harness.errors import InvalidSpec

SHA = "1234567890abcdef" + "0" * 48


def split(images=40, per_image=5, seed=0):
    generator = np.random.default_rng(seed)
    captions = tuple(" ".join(["word"] * int(n)) for n in generator.integers(3, 30, images * per_image))
    return Split(
        "test",
        ArrayImages(np.zeros((images, 3, 8, 8), np.uint8), np.ones((images, 1, 2), np.float32), np.ones(images, int)),
        tuple(f"{n}.jpg" for n in range(images)),
        captions,
        tuple(f"{n // per_image}.jpg#{n % per_image}" for n in range(images * per_image)),
        np.repeat(np.arange(images), per_image),
    )


def lengths(pairs):
    return [len(pair.text.split()) for pair in pairs]


def test_a_sample_is_of_true_pairs_of_distinct_pictures_from_short_to_long():
    data = split()
    pairs = sample(data, SHA)
    assert len(pairs) == COUNT
    assert len({pair.image for pair in pairs}) == COUNT
    assert all(int(data.caption_image[pair.caption]) == pair.image for pair in pairs)
    assert all(data.captions[pair.caption] == pair.text and pair.chosen == "sample" for pair in pairs)
    assert lengths(pairs) == sorted(lengths(pairs))
    every = sorted(len(caption.split()) for caption in data.captions)
    # One of each twelfth of all captions by length: the shortest is of the first twelfth, the longest of the last.
    assert lengths(pairs)[0] <= every[len(every) // COUNT]
    assert lengths(pairs)[-1] >= every[-len(every) // COUNT]


def test_a_sample_depends_on_the_data_alone():
    assert sample(split(), SHA) == sample(split(), SHA)
    assert sample(split(), SHA) != sample(split(), "f" * 64)


def test_a_small_split_gives_as_many_pairs_as_it_has_pictures():
    pairs = sample(split(images=3, per_image=2), SHA)
    assert sorted(pair.image for pair in pairs) == [0, 1, 2]


def test_captions_of_few_and_of_many_objects_are_drawn_alike():
    data = split(images=60)
    clutter = {row: 1 + row // 20 for row in range(60)}  # three levels, 20 pictures each
    pairs = sample(data, SHA, clutter)
    counts = [clutter[pair.image] for pair in pairs]
    assert counts == sorted(counts)
    assert [counts.count(level) for level in (1, 2, 3)] == [4, 4, 4]


def test_a_caption_is_drawn_as_often_as_any_other_of_its_length():
    data = split(images=24, per_image=1)
    drawn = np.zeros(24)
    for seed in range(400):
        for pair in sample(data, f"{seed:016x}" + "0" * 48):
            drawn[pair.image] += 1
    assert drawn.sum() == 400 * COUNT
    assert 0.35 < (drawn / 400).min() <= (drawn / 400).max() < 0.65  # two captions a group: each in half of the samples


@pytest.mark.parametrize(
    ("image", "caption", "text", "expected"),
    [
        ("3.jpg", None, None, [(3, row) for row in range(15, 20)]),
        ("3", None, None, [(3, row) for row in range(15, 20)]),
        (None, "3.jpg#1", None, [(3, 16)]),
        (None, "row:16", None, [(3, 16)]),
        ("0", "3.jpg#1", None, [(0, 16)]),
        ("2", None, "a <b>cat</b>", [(2, None)]),
    ],
)
def test_pairs_are_named_by_id_or_row(image, caption, text, expected):
    pairs = asked_pairs(split(), image, caption, text)
    assert [(pair.image, pair.caption) for pair in pairs] == expected
    assert all(pair.chosen == "asked" for pair in pairs)
    if text:
        assert pairs == [Pair(2, None, text, "asked")]


@pytest.mark.parametrize(
    ("image", "caption", "text", "said"),
    [
        (None, None, None, "name a picture with --image"),
        ("40", None, None, "no image '40' among the 40 images"),
        ("row:40", None, None, "no image 'row:40'"),
        ("-1", None, None, "no image '-1'"),
        ("\u0663", None, None, "no image"),  # a digit of another script is no row
        ("3.jpgg", None, None, "did you mean '3.jpg'"),
        (None, "3.jpg#9", None, "did you mean '3.jpg#4'"),
        ("zzz", None, None, "ids are such as '0.jpg'"),
        ("x\ny" * 100, None, None, "no image"),
        ("1", "1", "a cat", "either --caption"),
        (None, None, "a cat", "name the picture that the text is matched with"),
        ("1", None, "  ", "--text holds nothing"),
        ("1", None, "cat " * 600, "--text holds 2,400 characters"),
    ],
)
def test_what_the_split_has_not_is_refused_in_one_line(image, caption, text, said):
    with pytest.raises(InvalidSpec) as refused:
        asked_pairs(split(), image, caption, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_number_that_is_an_id_and_a_row_is_an_id_and_says_so(caplog):
    ids = ["5", "1", "0"]
    with caplog.at_level(logging.INFO, "harness"):
        assert find("caption", "0", ids) == 2
    assert "--caption 0 is taken as an id (row 2); for the caption of row 0 write row:0" in caplog.text
    caplog.clear()
    assert find("caption", "row:0", ids) == 0
    assert find("caption", "1", ids) == 1  # both readings agree
    assert find("caption", "2", ids) == 2  # a row alone
    assert not caplog.text
