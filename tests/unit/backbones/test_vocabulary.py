"""Words, vocabularies and their files."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.backbones.words.tokenizers import NoTokenizer, WordTokenizer, restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary, words
from harness.errors import CannotEncode, InvalidCheckpoint, InvalidDataset

# What nltk.word_tokenize gives for the lower-cased caption.
TREEBANK = {
    "A man in a blue T-shirt, running.": ["a", "man", "in", "a", "blue", "t-shirt", ",", "running", "."],
    "The man's dog doesn't bark!": ["the", "man", "'s", "dog", "does", "n't", "bark", "!"],
    "Two dogs can't swim; they're wet": ["two", "dogs", "ca", "n't", "swim", ";", "they", "'re", "wet"],
    'A sign reads "stop" (red).': ["a", "sign", "reads", "``", "stop", "''", "(", "red", ")", "."],
    "a 3/4 view of 10 people...": ["a", "3/4", "view", "of", "10", "people", "..."],
    "the dogs' bowls & toys": ["the", "dogs", "'", "bowls", "&", "toys"],
    "": [],
}


@pytest.mark.parametrize(("caption", "expected"), TREEBANK.items())
def test_words_follow_the_treebank(caption, expected):
    assert words(caption) == expected


def test_vocabulary_counts_words_and_orders_them_by_frequency_then_alphabet():
    vocabulary = Vocabulary.from_captions(["b a", "b c", "b a d"], min_count=2)
    assert vocabulary.entries == ("<pad>", "<start>", "<end>", "<unk>", "<mask>", "b", "a")
    assert vocabulary.mask_id == 4


def test_vocabulary_does_not_depend_on_the_order_of_the_captions():
    captions = ["a red dog", "the red cat", "a blue dog sits"]
    assert Vocabulary.from_captions(captions) == Vocabulary.from_captions(captions[::-1])


def test_scan_layout_is_read_as_it_is_and_masks_with_unknown(tmp_path):
    entries = ["<pad>", "<start>", "<end>", "<unk>", "dog", "a"]
    layout = {"idx2word": dict(enumerate(entries)), "word2idx": {w: i for i, w in enumerate(entries)}, "idx": 6}
    (tmp_path / "vocab.json").write_text(json.dumps(layout))
    vocabulary = Vocabulary.load(tmp_path / "vocab.json")
    assert vocabulary.entries == tuple(entries)
    assert vocabulary.mask_id == 3


@given(st.lists(st.text(max_size=20), max_size=8))
def test_saving_and_loading_changes_nothing(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("vocabulary") / "v.json"
    vocabulary = Vocabulary.from_captions(captions)
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert json.loads(path.read_text(encoding="utf-8"))["idx"] == len(vocabulary)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"word2idx": {"<pad>": 0', "as JSON: it is not valid"),
        ("[1, 2]", "word2idx"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 5}}', "ids 0 to 3"),
        ('{"word2idx": {"a": 0, "<start>": 1, "<end>": 2, "<unk>": 3}}', "must start with <pad>"),
    ],
)
def test_broken_vocabulary_files_are_refused(tmp_path, content, complaint):
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(InvalidDataset, match=complaint):
        Vocabulary.load(tmp_path / "v.json")


def test_missing_vocabulary_file_is_named(tmp_path):
    with pytest.raises(InvalidDataset, match=r"nowhere\.json"):
        Vocabulary.load(tmp_path / "nowhere.json")


def test_tokenizer_frames_pads_cuts_and_marks_unknown_words():
    tokenizer = WordTokenizer(Vocabulary.from_captions(["a dog runs"]), max_words=5)
    tokens = tokenizer(["a dog", "A CAT runs and runs"])
    a, dog, runs = (tokenizer.vocabulary.ids[w] for w in ("a", "dog", "runs"))
    assert tokens.ids.tolist() == [[1, a, dog, 2, 0], [1, a, 3, runs, 2]]
    assert tokens.mask.tolist() == [[True] * 4 + [False], [True] * 5]


def test_an_empty_caption_keeps_its_start_and_end():
    tokens = WordTokenizer(Vocabulary.from_captions([]), max_words=5)([""])
    assert tokens.ids.tolist() == [[1, 2]]


def test_tokenizer_state_survives_json():
    tokenizer = WordTokenizer(Vocabulary.from_captions(["a dog runs", "naïve café"]), max_words=7)
    restored = restore_tokenizer(json.loads(json.dumps(tokenizer.state())))
    captions = ["a naïve dog runs far"]
    assert torch.equal(restored(captions).ids, tokenizer(captions).ids)


@pytest.mark.parametrize("state", [{}, {"kind": "huggingface"}, {"kind": "words"}, {"kind": "words", "words": ["x"]}])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(InvalidCheckpoint):
        restore_tokenizer(state)


def test_weights_without_a_vocabulary_say_so_when_captions_come():
    restored = restore_tokenizer(NoTokenizer(50).state())
    assert restored.vocabulary_size == 50
    with pytest.raises(CannotEncode, match="vocabulary"):
        restored(["a dog"])
