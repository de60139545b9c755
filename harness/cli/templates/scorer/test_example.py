"""Tests of the scorer `example`."""

from pathlib import Path

import pytest
import torch

from harness import registry
from harness.conformance import check_file
from harness.fragments import Fragments

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_scorers():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_each_word_takes_its_best_region():
    registry.add_plugin(FILE)
    image = Fragments(torch.eye(2)[None], torch.tensor([[True, True]]))
    caption = Fragments(torch.tensor([[[1.0, 0.0], [3.0, 4.0]]]), torch.tensor([[True, True]]))
    scorer = registry.create("example")
    score = scorer.score(scorer.prepare_images(image), scorer.prepare_texts(caption))
    assert score.item() == pytest.approx((1.0 + 0.8) / 2)
