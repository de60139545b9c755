"""Images and captions for galleries that stay packed, and the scores that the engine gives them."""

from __future__ import annotations

import torch

from harness.fragments import Fragments
from harness.scoring import similarity_matrix

IMAGES, CAPTIONS, WIDTH = 41, 23, 32
GALLERIES = ["images", "captions"]


def fragments(count, longest, seed, shortest=None):
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, longest, WIDTH, generator=random)
    lengths = torch.randint(shortest or longest, longest + 1, (count,), generator=random)
    return Fragments(features, torch.arange(longest) < lengths[:, None])


def prepared(scorer, images=IMAGES, captions=CAPTIONS, *, ragged_images=False):
    scorer.eval()
    with torch.no_grad():
        return (
            scorer.prepare_images(fragments(images, 9, 1, 4 if ragged_images else None)),
            scorer.prepare_texts(fragments(captions, 12, 2, 3)),
        )


def sides(gallery, images, texts):
    """The gallery and the queries."""
    return (images, texts) if gallery == "images" else (texts, images)


def expected(scorer, images, texts, gallery):
    scores = similarity_matrix(scorer, images, texts)
    return scores.T if gallery == "images" else scores
