"""Edits of single captions: what each may touch, how much of it, and what stays."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets.scenes.world import Draws
from harness.robustness.perturbations import edits
from harness.robustness.perturbations.captions import KINDS
from harness.robustness.perturbations.edits import NEIGHBOURS, Context
from harness.robustness.perturbations.lexicon import Lexicon, key_of, of_photographs, of_scenes
from harness.robustness.perturbations.words import Words, parse, with_article

PHOTOGRAPHS = Context(of_photographs())
NAMES = tuple(KINDS)
WORDS = (
    "a",
    "the",
    "man",
    "red",
    "two",
    "puppy",
    "on",
    "T-shirt",
    "caf\u00e9",
    "in",
    "front",
    "of",
    "small",
    "dog",
    "7",
    "\u72d7",
)
GAPS = (" ", "  ", ", ", " - ", "\u2009", '" ')
captions = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=25).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
anything = st.one_of(captions, st.text(max_size=60))
shares = st.sampled_from((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0))
seeds = st.integers(0, 2**64)


def edited(name: str, caption: str, share: float, seed: int = 0, context: Context = PHOTOGRAPHS) -> Words:
    return KINDS[name].edit(parse(caption), share, Draws(seed), context)


def differing(one: Words, other: Words) -> list[int]:
    assert len(one.words) == len(other.words)
    return [place for place, (a, b) in enumerate(zip(one.words, other.words, strict=True)) if a != b]


def within_one(number: int, exact: float) -> bool:
    """Whether a number is an exact one rounded down or up."""
    return math.floor(exact + 1e-9) <= number <= math.ceil(exact - 1e-9)


@given(anything)
def test_a_caption_is_its_words_and_the_gaps_between_them(caption):
    found = parse(caption)
    assert found.text == caption
    assert len(found.gaps) == len(found.words) + 1
    assert all(word == word.strip() and any(map(str.isalnum, word)) for word in found.words)
    assert not any(re.search(r"[a-zA-Z0-9]", gap) for gap in found.gaps)


@settings(max_examples=60)
@given(st.sampled_from(NAMES), anything, seeds)
def test_a_share_of_0_changes_nothing(name, caption, seed):
    assert edited(name, caption, 0.0, seed).text == caption


@settings(max_examples=150)
@given(st.sampled_from(NAMES), anything, shares, seeds)
def test_no_caption_becomes_empty_or_gets_blanks_at_its_ends(name, caption, share, seed):
    text = edited(name, caption, share, seed).text
    assert bool(text.strip()) == bool(caption.strip())
    assert len(text) - len(text.rstrip()) <= len(caption) - len(caption.rstrip())
    assert len(text) - len(text.lstrip()) <= len(caption) - len(caption.lstrip())
    assert text == edited(name, caption, share, seed).text  # equal draws, equal text


@settings(max_examples=80)
@given(st.sampled_from(("typos", "wrong_attribute", "swapped_words", "reordered")), anything, shares, seeds)
def test_where_no_word_comes_or_goes_all_gaps_stay(name, caption, share, seed):
    assert edited(name, caption, share, seed).gaps == parse(caption).gaps


@settings(max_examples=100)
@given(st.sampled_from(NAMES), captions, st.tuples(shares, shares), seeds)
def test_a_larger_share_changes_the_same_and_more(name, caption, two, seed):
    if name in ("typos", "wrong_attribute"):
        less, more = (differing(parse(caption), edited(name, caption, share, seed)) for share in sorted(two))
        assert set(less) <= set(more)
    elif name in ("dropped_words", "repeated_words"):
        less, more = (len(edited(name, caption, share, seed).words) for share in sorted(two))
        assert less >= more if name == "dropped_words" else less <= more


@given(captions, shares, seeds)
def test_dropped_words_are_the_share_and_the_rest_keeps_its_order(caption, share, seed):
    before, after = parse(caption), edited("dropped_words", caption, share, seed)
    count = len(before.words)
    dropped = count - len(after.words)
    assert within_one(dropped, min(share * count, max(count - 1, 0)))
    rest = iter(before.words)
    assert all(word in rest for word in after.words)
    punctuation = [Counter("".join("".join(w.gaps).split())) for w in (before, after)]
    assert punctuation[0] == punctuation[1]


@given(captions, shares, seeds)
def test_repeated_words_stand_twice_in_a_row(caption, share, seed):
    before, after = parse(caption), edited("repeated_words", caption, share, seed)
    assert within_one(len(after.words) - len(before.words), share * len(before.words))
    for word in before.words:
        assert after.words.count(word) >= before.words.count(word)
    assert [k for k, _ in itertools.groupby(after.words)] == [k for k, _ in itertools.groupby(before.words)]


@given(captions, st.sampled_from((0.1, 0.2, 0.3, 0.4, 0.5)), seeds)
def test_swapped_words_exchange_disjoint_pairs_of_neighbours(caption, share, seed):
    # Words are numbered, so that equal words are told apart.
    count = len(parse(caption).words)
    numbered = parse(" ".join(f"{place}x" for place in range(count)))
    after = [int(word[:-1]) for word in edits.swapped_words(numbered, share, Draws(seed), PHOTOGRAPHS).words]
    moved = [place for place, word in enumerate(after) if word != place]
    assert sorted(after) == list(range(count))
    assert all(after[after[place]] == place and abs(after[place] - place) == 1 for place in moved)
    assert within_one(len(moved) // 2, min(share * count / 2, count // 2))


@given(captions, shares, seeds)
def test_reordered_words_are_the_same_words_and_the_share_leaves_its_place(caption, share, seed):
    before, after = parse(caption), edited("reordered", caption, share, seed)
    assert Counter(before.words) == Counter(after.words)
    count = len(before.words)
    numbered = parse(" ".join(f"{place}x" for place in range(count)))
    moved = len(differing(numbered, edits.reordered(numbered, share, Draws(seed), PHOTOGRAPHS)))
    if count >= 2:
        assert moved != 1
        assert within_one(moved, share * count) or (moved == 2 and share * count < 2)
        assert share < 1 or moved == count
    else:
        assert moved == 0


def test_shares_are_exact_on_average_in_short_captions_too():
    """Of five words, half is two as often as three; of 4,000 draws the mean is within five standard errors."""
    caption = "a red dog runs home"
    for share in (0.1, 0.3, 0.5):
        dropped = [5 - len(edited("dropped_words", caption, share, seed).words) for seed in range(4000)]
        assert abs(sum(dropped) / 4000 - 5 * share) < 5 * 0.5 / math.sqrt(4000)


def slips(word: str) -> set[str]:
    """All words that one slip behind the first letter makes, by brute force."""
    found = set()
    for place in range(1, len(word)):
        if not word[place].isalpha():
            continue
        found.add(word[:place] + word[place + 1 :])
        if place + 1 < len(word) and word[place + 1].isalpha():
            found.add(word[:place] + word[place + 1] + word[place] + word[place + 2 :])
        for key in NEIGHBOURS.get(word[place].lower(), ""):
            found.add(word[:place] + (key.upper() if word[place].isupper() else key) + word[place + 1 :])
    return found - {word}


@settings(max_examples=150)
@given(anything, shares, seeds)
def test_typos_are_one_slip_behind_the_first_letter_of_words_of_three_letters(caption, share, seed):
    before, after = parse(caption), edited("typos", caption, share, seed)
    places = differing(before, after)
    assert all(after.words[place] in slips(before.words[place]) for place in places)
    able = [word for word in before.words if len(word) >= 3 and word.replace("-", "").replace("'", "").isalpha()]
    assert len(places) <= math.ceil(share * len(before.words))
    if all(word in WORDS for word in before.words):
        assert within_one(len(places), share * len([word for word in able if sum(map(str.isalpha, word)) >= 3]))


@pytest.mark.parametrize(("key", "beside"), [("g", "tyfhvb"), ("q", "wa"), ("p", "ol"), ("m", "njk")])
def test_keys_lie_beside_each_other_as_on_a_keyboard(key, beside):
    assert set(NEIGHBOURS[key]) == set(beside)
    assert all(key in NEIGHBOURS[other] for other in beside)


@pytest.mark.parametrize(
    ("caption", "lexicon", "expected"),
    [
        ("A puppy in a T-shirt, sitting next to a couch .", "photographs", "A young dog in a T-shirt, sitting beside a sofa ."),
        ("The  infant WOMEN, a big dog", "photographs", "The  baby LADIES, a large dog"),
        ("An airplane", "photographs", "An aeroplane"),
        ("a gigantic wave", "photographs", "a huge wave"),
        ("next, to a dog", "photographs", "next, to a dog"),  # punctuation within a phrase makes it none
        ("there\u2019s a purse", "photographs", "there is a handbag"),
        ("an ocean", "photographs", "a sea"),
        ("a small red circle to the left of a big blue ring", "scenes", "a little red circle left of a large blue ring"),
        ("a red star left of a cross", "scenes", "a red star to the left of a cross"),
        ("a red star at the top and a cross at the top left", "scenes",
         "a red star in the top middle and a cross in the top left corner"),
        ("a picture of a puppy", "scenes", "a scene with a puppy"),
    ],
)  # fmt: skip
def test_synonyms_of_a_whole_caption(caption, lexicon, expected):
    found: Lexicon = {"photographs": of_photographs, "scenes": of_scenes}[lexicon]()
    assert edited("synonyms", caption, 1.0, context=Context(found)).text == expected


@given(captions, shares, seeds)
def test_wrong_attributes_change_attributes_and_their_articles_alone(caption, share, seed):
    before, after = parse(caption), edited("wrong_attribute", caption, share, seed)
    attributes = PHOTOGRAPHS.lexicon.attributes
    able = [place for place, word in enumerate(before.words) if key_of(word) in attributes]
    changed = differing(before, after)
    replaced = [place for place in changed if place in able]
    assert within_one(len(replaced), share * len(able))
    for place in replaced:
        old, new = (attributes[key_of(words.words[place])] for words in (before, after))
        assert old.kind == new.kind
        assert not set(old.same) & set(new.same)
    for place in set(changed) - set(replaced):
        assert before.words[place].lower() in ("a", "an")
        assert place + 1 in replaced


def test_a_wrong_attribute_is_none_that_another_caption_of_the_picture_has():
    said = frozenset(("a", "yellow", "green", "gray", "violet", "white"))
    found = {
        edited("wrong_attribute", "a red ball", 1.0, seed, Context(of_photographs(), said)).words[1]
        for seed in range(200)
    }
    assert found == {"blue", "purple", "brown", "black"}  # neither those nor what people also call red


def test_a_wrong_attribute_has_the_case_and_the_article_of_the_old_one():
    said = frozenset(of_scenes().attributes) - {"orange"}
    context = Context(Lexicon(of_scenes().synonyms, of_scenes().attributes), said)
    assert edited("wrong_attribute", "A Red ball, an RED one", 1.0, context=context).text == (
        "An Orange ball, an ORANGE one"
    )
    assert with_article(["a", "open", "door"], 1, "old") == [
        "a",
        "open",
        "door",
    ]  # an article that was wrong before stays


def test_the_lexicon_has_no_pair_that_an_attribute_contradicts():
    """A synonym may not say another colour, size, number, material or pattern, nor lose it."""
    lexicon = of_photographs()
    for phrase, texts in lexicon.synonyms.items():
        for text in texts:
            kinds = [
                {(found.kind, found.same) for word in words if (found := lexicon.attributes.get(word))}
                for words in (phrase, text.split())
            ]
            added = kinds[1] - kinds[0]
            assert not kinds[0] - kinds[1], (phrase, text)
            assert not added or phrase[0] in ("tiny", "boulder", "boulders"), (phrase, text)  # small or large by nature


def test_the_lexicon_is_well_formed():
    for lexicon in (of_photographs(), of_scenes()):
        for phrase, texts in lexicon.synonyms.items():
            assert all(word == key_of(word) and parse(word).words == (word,) for word in phrase)
            assert texts
            assert all(text and tuple(text.split()) != phrase for text in texts)
            assert len(set(texts)) == len(texts)
        for word, attribute in lexicon.attributes.items():
            assert word in attribute.same
            assert len(attribute.others) >= 1
            for other in attribute.others:
                assert word not in lexicon.attributes[other].same
                assert lexicon.attributes[other].kind == attribute.kind
    assert len(of_photographs().synonyms) > 100
    assert set(of_scenes().attributes) == {
        "red", "orange", "yellow", "green", "blue", "purple", "white", "black",
        "small", "little", "large", "big", "striped", "spotted",
    }  # fmt: skip
