"""From tokens to words and from fragments to places, whatever tokenizer and whatever picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.alignments.places import boxes_of, joined, words_of
from harness.backbones.grid import Grid
from harness.datasets.images import ArrayImages
from harness.fragments import Tokens

CASES = {
    "whole words": (["<start>", "a", "dog", "<end>"], "A dog", ["<start>", "a", "dog", "<end>"]),
    "WordPiece": (["sky", "##div", "##ers", "!"], "Skydivers!", ["skydivers", "!"]),
    "byte pairs that say where a word ends": (
        ["sky", "divers</w>", "jump</w>"],
        "skydivers jump",
        ["skydivers", "jump"],
    ),
    "byte pairs without a mark": (["sky", "divers", "jump"], "skydivers jump", ["skydivers", "jump"]),
    "SentencePiece": (["▁sky", "divers", "▁jump"], "skydivers jump", ["skydivers", "jump"]),
    "marks stand alone": (["decoy", "-", "animal", "'", "s"], "decoy-animal's", ["decoy", "-", "animal", "'", "s"]),
    "accents and capitals": (["cafe", "##s"], "CAFÉS", ["cafes"]),
    "an unknown word": (["a", "<unk>", "runs"], "a zyx runs", ["a", "<unk>", "runs"]),
    "unknown, then pieces": (["<unk>", "sky", "##divers"], "zyx skydivers", ["<unk>", "skydivers"]),
    "a word that begins as the one before": (["the", "there"], "the there", ["the", "there"]),
    "equal words": (["a", "dog", "a", "dog"], "a dog a dog", ["a", "dog", "a", "dog"]),
    "a caption that is cut": (["sky", "##div"], "skydivers jump", ["skydiv"]),
    "an empty piece": (["", "a"], "a", ["", "a"]),
    "only marks": (["##"], "##", ["##"]),
    "another script": (["一", "只", "狗"], "一 只 狗", ["一", "只", "狗"]),
}


@pytest.mark.parametrize(("pieces", "text", "words"), CASES.values(), ids=CASES)
def test_pieces_of_a_word_are_joined(pieces, text, words):
    found = joined(pieces, text)
    assert [word.text for word in found] == words
    assert [place for word in found for place in word.places] == list(range(len(pieces)))


def test_tokens_that_take_no_part_are_left_out():
    pieces = ["[CLS]", "sky", "##divers", "[SEP]", "[PAD]"]
    encoder = SimpleNamespace(tokenizer=SimpleNamespace(piece=pieces.__getitem__))
    tokens = Tokens(torch.arange(5)[None], torch.tensor([[True, True, True, True, False]]))
    found = words_of(encoder, tokens, torch.tensor([False, True, True, True, False]), "skydivers")
    assert found == [("skydivers", [1, 2]), ("[SEP]", [3])]


def places(grid, fragments, resize="plain", size=(3, 8, 8)):
    from harness.backbones.base import ImageEncoder

    class Encoder(ImageEncoder):
        image_size = 4

    encoder = Encoder(None)
    encoder.grid, encoder.resize = grid, resize
    images = ArrayImages(np.zeros((1, *size), np.uint8), np.ones((1, 1, 2), np.float32), np.ones(1, int))
    return boxes_of(encoder, images, 0, fragments)


def test_cells_lie_row_by_row_and_a_class_token_has_no_place():
    assert places(Grid(2, 2, first=1), 5) == (
        None, (0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1),
    )  # fmt: skip


def test_a_cropped_picture_is_covered_in_its_middle():
    (box,) = places(Grid(1, 1), 1, "crop", (3, 8, 16))  # twice as wide as high
    assert box == (0.25, 0, 0.75, 1)


def test_fragments_that_fit_no_grid_have_no_place():
    assert places(Grid(2, 2), 5) is None
    assert places(None, 4) is None
