"""Small runs to compare: built from per-image hits, so that a test's numbers can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.reports.statistics.runs import MethodRuns
from tests.studies.simulation import World


@pytest.fixture
def make_runs() -> Callable[..., MethodRuns]:
    """Runs of 40 images x 5 captions with random ranks 0 to 19; any argument of MethodRuns can be replaced."""

    def make(name: str = "a", *, draw: int = 0, size: int = 1, images: int = 40, captions: int = 5, **changes):
        generator = np.random.default_rng(draw)
        total = images * captions
        arguments = {
            "name": name,
            "seeds": list(range(size)),
            "i2t_ranks": generator.integers(0, 20, (size, images)),
            "t2i_ranks": generator.integers(0, 20, (size, total)),
            "caption_image": np.repeat(np.arange(images), captions),
            "image_ids": [f"i{n:03}" for n in range(images)],
            "caption_ids": [f"c{n:03}" for n in range(total)],
        }
        return MethodRuns(**{**arguments, **changes})

    return make


@pytest.fixture
def world() -> Callable[..., list[MethodRuns]]:
    """Draw correlated methods from a made-up world."""

    def draw(draw_seed: int = 0, **settings) -> list[MethodRuns]:
        return World(**{"images": 60, **settings}).draw(np.random.default_rng(draw_seed))

    return draw
