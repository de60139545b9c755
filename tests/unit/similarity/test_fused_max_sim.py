"""The fused kernel against the unfused form: on a GPU, or with TRITON_INTERPRET=1 and Triton installed on any machine."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="no GPU, and TRITON_INTERPRET is not 1"),
]
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("items", "fragments", "words", "width"), [(3, 5, 7, 16), (70, 4, 140, 100), (1, 1, 1, 1), (5, 36, 130, 64)]
)
def test_fused_is_unfused(dtype, items, fragments, words, width):
    from harness.similarity.triton_maxsim import best_rows

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(items, fragments, width, generator=generator).to(DEVICE, dtype)
    columns = torch.randn(words, width, generator=generator).to(DEVICE, dtype)
    best, index = best_rows(rows, columns, True)
    similarity = torch.einsum("cfd,pd->cfp", rows.double(), columns.double())
    torch.testing.assert_close(best.double(), similarity.amax(1), rtol=1e-5, atol=1e-4)
    chosen = similarity.gather(1, index[:, None].long()).squeeze(1)
    torch.testing.assert_close(chosen, similarity.amax(1), rtol=1e-5, atol=1e-4)
    assert best_rows(rows, columns, False)[1] is None
    assert torch.equal(best_rows(rows, columns, False)[0], best), "not deterministic"


def test_the_first_of_equal_fragments_is_taken():
    from harness.similarity.triton_maxsim import best_rows

    rows = torch.ones(2, 6, 8, device=DEVICE)
    _, index = best_rows(rows, torch.ones(3, 8, device=DEVICE), True)
    assert not bool(index.any())
