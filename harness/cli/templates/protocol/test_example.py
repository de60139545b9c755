"""Tests of the protocol `example`."""

from pathlib import Path

import numpy as np

from harness import plugins, protocols
from harness.conformance import check_file

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_protocols():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_only_images_with_two_captions_ask():
    plugins.add(FILE)
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.3]])
    found = protocols.evaluate("example", scores, np.array([0, 0, 1]), ["a", "b"], ["x", "y", "z"])
    assert found.ranks.i2t_image_id.tolist() == ["a"]
    assert found.metrics["i2t_r1"] == 100.0
