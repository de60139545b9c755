"""Tests of the image backbone `example`."""

from pathlib import Path

import torch

from harness import plugins
from harness.backbones import build_image
from harness.conformance import check_file

FILE = Path(__file__).with_name("example.py")


def test_it_keeps_the_rules_of_image_backbones():
    assert [checked.broken for checked in check_file(FILE)] == [[]]


def test_each_patch_is_a_fragment():
    plugins.add(FILE)
    encoder = build_image({"name": "example", "width": 16, "image_size": 32, "patch_size": 8})
    found = encoder(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert found.features.shape == (2, 16, 16)
