"""Facts about captions, each against a naive count; and what no caption should hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.backbones.words.vocabulary import Vocabulary, words
from harness.description.captions import Texts, caption_facts, captions_per_image, order
from harness.description.limits import limits_of, usual_limits
from harness.description.oddities import KINDS, oddities, scripts
from harness.description.words import new_words, vocabulary_facts
from harness.spec import Component

TRAIN = ["A man rides a horse .", "a dog runs", "a dog runs", "", "two dogs"]
TEST = ["a zebra runs", "A man rides a horse .", "a zebra and a yak", " "]


def texts(captions: list[str], owners: list[int]) -> Texts:
    return Texts(captions, np.array(owners), max(owners) + 1)


def test_lengths_blanks_and_captions_per_image():
    facts = caption_facts(texts(TRAIN, [0, 0, 1, 1, 1]), None, [], None)
    assert (facts.number, facts.blank, facts.per_image) == (5, 1, {2: 1, 3: 1})
    lengths = [len(caption.split()) for caption in TRAIN]
    assert facts.lengths == dict(sorted(Counter(lengths).items()))
    assert (facts.words.smallest, facts.words.median, facts.words.largest) == (0, sorted(lengths)[2], 6)
    assert facts.words.p95 == pytest.approx(np.quantile(lengths, 0.95))
    assert facts.characters.largest == len(TRAIN[0])
    assert facts.exact.repeats == 1
    assert facts.new_words is None


def test_images_that_differ_in_captions_are_counted():
    assert captions_per_image(np.array([0, 1, 1, 2, 2]), 3) == {1: 1, 2: 2}


def test_words_that_training_captions_lack():
    train, test = texts(TRAIN, [0, 0, 1, 1, 1]), texts(TEST, [0, 0, 1, 1])
    found = caption_facts(test, None, [], train, train.counts()).new_words
    assert found.listed == {"zebra": 2, "and": 1, "yak": 1}
    assert (found.words, found.occurrences, found.captions) == (3, 4, 2)
    assert caption_facts(test, None, [], train, train.counts()).also_in_train == 1


def test_new_words_agree_with_a_naive_count():
    random = np.random.default_rng(0)
    captions = [[f"w{n}" for n in random.integers(0, 40, 8)] for _ in range(60)]
    known = {f"w{n}" for n in range(25)}
    found = new_words(captions, known)
    unknown = [word for caption in captions for word in caption if word not in known]
    assert found.listed == dict(sorted(Counter(unknown).items(), key=lambda item: (-item[1], item[0])))
    assert found.captions == len([1 for caption in captions if set(caption) - known])


def test_a_vocabulary_made_with_test_captions_is_found():
    vocabulary = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "a", "dog", "zebra", "ghost"))
    train, test = Counter(words("a dog runs") * 2), Counter(words("a zebra runs"))
    found = vocabulary_facts(Path("v.json"), vocabulary, train, test)
    assert (found.words, found.not_in_train, found.only_elsewhere, found.listed) == (4, 2, 1, {"zebra": 1})
    assert found.unknown_in_train == 1  # runs
    assert found.unknown_occurrences_percent == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("two/m men/n stand/v", "part-of-speech tags"),
        ("两个/m 男人/n 站/v 着/u", "part-of-speech tags"),
        ("man_NN walks_VBZ", "part-of-speech tags"),
        ("b'a man'", "bytes printed by Python"),
        ("Tom &amp; Jerry", "HTML entities"),
        ("a &#39;quoted&#39; word", "HTML entities"),
        ("a dog<br/>runs", "HTML tags"),
        ("a <unk> dog", "special tokens"),
        ("[/EN#283585/people A man] waves", "phrase marks of Flickr30k Entities"),
        ("first\\nsecond", "escape sequences"),
        ("cafÃ© terrace", "wrongly decoded characters"),
        ("caf\N{REPLACEMENT CHARACTER}", "wrongly decoded characters"),
        ("a\x07dog", "control or invisible characters"),
        ("a\N{ZERO WIDTH SPACE}dog", "control or invisible characters"),
        ("1000.jpg#0 a dog", "file name before the text"),
        ("see http://example.org", "web addresses"),
        ('"a dog runs"', "quotation marks around the text"),
        ("a" * 41, "words of more than 40 characters"),
        ("café terrace", "non-ASCII characters"),
    ],
)
def test_odd_captions_are_found(caption, kind):
    assert kind in [odd.kind for odd in oddities(["a plain dog", caption])]


@pytest.mark.parametrize(
    "caption",
    [
        "he and/or she",
        "a 1/2 full glass w/ ice",
        "black/white dog",
        "a man said \"hello\" to 'bob'",
        "r&b singer",
        "if a < b and c > d",
        "5 o'clock",
        "snake_case is no tag",
        "b's dog",
    ],
)
def test_usual_captions_are_not_odd(caption):
    assert oddities([caption]) == []


def test_oddities_are_counted_with_examples():
    (odd,) = oddities(["a &lt; b", "fine", "a &lt; b", "&quot;"])
    assert (odd.captions, odd.examples) == (3, ["a &lt; b", "&quot;"])
    assert list(KINDS)[-1] == "non-ASCII characters"


def test_scripts_without_spaces_are_told_apart():
    assert scripts(["一只狗", "犬が走る", "сobака"])["CJK"] == 2


SUBJECTS = [f"subject{n}" for n in range(60)]


def sentences(images: int, each: int) -> list[list[str]]:
    return [["a", SUBJECTS[image % 60], f"verb{number}"] for image in range(images) for number in range(each)]


@pytest.mark.parametrize("shift", range(5))
def test_captions_that_lost_lines_are_shifted(shift):
    captions = sentences(81, 5)[shift : shift + 400]
    found = order(captions, np.repeat(np.arange(80), 5))
    assert found.shift == (-shift) % 5


def test_an_order_without_boundaries_is_no_shift():
    random = np.random.default_rng(1)
    captions = [["a", SUBJECTS[n]] for n in random.integers(0, 60, 400)]
    assert order(captions, np.repeat(np.arange(80), 5)).shift == 0
    assert order(sentences(80, 1), np.arange(80)) is None
    assert order(sentences(10, 5), np.repeat(np.arange(10), 5)) is None


def test_limits_are_those_of_the_tokenizers():
    clip = usual_limits()[0].of(["a dog", " ".join(["dog"] * 75), " ".join(["dog"] * 76)])
    assert (clip.text, clip.longest, clip.cut) == ("CLIP", 77, 1)
    (chosen,) = limits_of([Component(name="bigru", options={"max_words": 4})], ["a dog"], None)
    found = chosen.of(["a dog", "a dog a dog", "zebra"])
    assert (found.text, found.longest, found.cut, found.unknown) == ("bigru max_words=4", 4, 1, 1)
