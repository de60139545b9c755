"""The fused kernels against the unfused ones: on a GPU, elsewhere by Triton's interpreter, which runs them on the CPU."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from similarity_cases import ragged

from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import similarity_matrix
from harness.similarity import settings
from harness.similarity.dispatch import best_kernel
from harness.similarity.gpu import fused
from harness.similarity.packed.attention import CrossAttentionKernel
from harness.similarity.packed.kernels import Kernel, MaxSimKernel, Operands, PackedForm, Scratch
from harness.similarity.packed.layout import Group, pack
from harness.similarity.pooling import LogSumExp, Max, Mean, Pooling, Sum

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
GPU = os.environ.get("TRITON_INTERPRET") != "1"
DEVICE = "cuda" if GPU else "cpu"
POOLINGS = [Mean(), Sum(), Max(), LogSumExp(6.0, 1 / 6), LogSumExp(10.0)]


def scores_by(kernel: Kernel, left: Fragments, right: Fragments) -> torch.Tensor:
    """Scores of all right items with each bucket of the left ones, joined."""
    group = Group(tuple(pack(right, torch.arange(len(right), device=DEVICE))))
    columns = group.columns()
    side, scratch, scores = kernel.right_side(group, columns), Scratch(), []
    for bucket in pack(left, torch.arange(len(left), device=DEVICE)):
        rows = bucket.rows()
        tile = rows if kernel.multiplies else rows @ columns.T
        scores.append(kernel.finish(kernel.reduce(tile, kernel.left_side(bucket, rows), side, scratch), side))
    return torch.cat(scores)


def kernel_scores(kernel: Kernel, seed: int, dtype: torch.dtype, items: int = 70, longest: int = 5) -> torch.Tensor:
    """Scores of ragged sides."""
    left = ragged(seed, 9 if GPU else 5, longest, 48, duplicates=True).to(DEVICE, dtype)
    return scores_by(kernel, left, ragged(seed + 1, items, 6, 48).to(DEVICE, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("items", "fragments", "words", "width"),
    [(3, 5, 7, 16), (70, 4, 140, 100), (1, 1, 1, 1), (5, 36, 130, 64), (65, 7, 33, 40)],
)
def test_the_largest_product_and_its_place(dtype, items, fragments, words, width):
    from harness.similarity.gpu.maxsim import best_rows, interleave

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(items, fragments, width, generator=generator).to(DEVICE, dtype)
    columns = torch.randn(words, width, generator=generator).to(DEVICE, dtype)
    best, index = best_rows(interleave(rows), columns, True)
    similarity = torch.einsum("cfd,pd->cfp", rows.double(), columns.double())
    torch.testing.assert_close(best.double(), similarity.amax(1), rtol=1e-5, atol=1e-4)
    chosen = similarity.gather(1, index[:, None].long()).squeeze(1)
    torch.testing.assert_close(chosen, similarity.amax(1), rtol=1e-5, atol=1e-4)
    assert best_rows(interleave(rows), columns, False)[1] is None
    assert torch.equal(best_rows(interleave(rows), columns, False)[0], best), "not deterministic"


@pytest.mark.parametrize("fragments", [2, 5, 6, 40])
def test_the_first_of_equal_fragments_is_taken(fragments):
    from harness.similarity.gpu.maxsim import best_rows, interleave

    rows = torch.ones(2, fragments, 8, device=DEVICE)
    _, index = best_rows(interleave(rows), torch.ones(3, 8, device=DEVICE), True)
    assert not bool(index.any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_max_sim_is_the_unfused_kernel(dtype, pooling):
    got = kernel_scores(fused.FusedMaxSim(pooling, False), 0, dtype)
    expected = kernel_scores(MaxSimKernel(pooling), 0, dtype)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 2e-2)


#: On a GPU every combination; by the interpreter, which takes seconds for each, every pair of two parameters.
ATTENTIONS = [
    pytest.param(dtype, temperature, norm, pooling, id=f"{dtype}-{temperature}-{norm}-{pooling}")
    for i, (dtype, temperature) in enumerate([(torch.float32, 0.5), (torch.float32, 40.0), (torch.float16, 9.0)])
    for j, norm in enumerate(fused.ATTENTION_NORMS)
    for pooling in (POOLINGS[1:4] if GPU else [POOLINGS[2 + (i + j) % 2]])
]


@pytest.mark.parametrize(("dtype", "inverse_temperature", "norm", "pooling"), ATTENTIONS)
def test_cross_attention_is_the_unfused_kernel(dtype, inverse_temperature, norm, pooling: Pooling):
    terms = fused.pooling_terms(pooling)
    assert terms is not None
    kernel = fused.FusedCrossAttention(*fused.ATTENTION_NORMS[norm], inverse_temperature, terms, False)
    got = kernel_scores(kernel, 2, dtype)
    expected = kernel_scores(CrossAttentionKernel(pooling, norm, inverse_temperature), 2, dtype)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5 if dtype == torch.float32 else 3e-2)


@pytest.mark.parametrize("inverse_temperature", [9.0, 20.0, 1000.0])
def test_a_cosine_is_not_clamped_where_all_weights_are_small(inverse_temperature):
    """One region and one word that oppose each other, at any length: their cosine; of 3e-9 the divisor is 1e-8."""
    kernel = fused.FusedCrossAttention("l2", 0.1, inverse_temperature, ("mean", 1.0, 1.0), False)
    for length, cosine in ((1.0, -0.6), (1e-3, -0.6), (1e3, -0.6), (3e-9, -0.18), (0.0, 0.0)):
        region = torch.zeros(1, 1, 16, device=DEVICE)
        word = torch.zeros(1, 1, 16, device=DEVICE)
        region[..., 0] = length
        word[..., 0], word[..., 1] = -0.6, 0.8
        real = torch.ones(1, 1, dtype=torch.bool, device=DEVICE)
        scores = scores_by(kernel, Fragments(region, real), Fragments(word, real))
        assert float(scores) == pytest.approx(cosine, abs=1e-5)


def test_a_large_context_and_many_items():
    kernel = fused.FusedCrossAttention("l2", 0.1, 9.0, ("lse", 6.0, 1 / 6), False)
    got = kernel_scores(kernel, 4, torch.float32, items=150, longest=fused.LARGEST_CONTEXT)
    plain = CrossAttentionKernel(LogSumExp(6.0, 1 / 6), "clipped_l2norm", 9.0)
    expected = kernel_scores(plain, 4, torch.float32, items=150, longest=fused.LARGEST_CONTEXT)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def packed_scores(scorer, dtype: torch.dtype, fuse: bool) -> torch.Tensor:
    """Scores by the kernel of a scorer's packed form, or by its fused form."""
    form = scorer.packed_form()
    images, texts = ragged(10, 9, 70, 32).to(DEVICE), ragged(11, 40, 6, 32).to(DEVICE)
    with torch.no_grad():
        images = form.image_rows(scorer.prepare_images(images)).to(dtype)
        texts = form.text_rows(scorer.prepare_texts(texts)).to(dtype)
        ((_, kernel),) = form.terms
        if fuse:
            kernel = best_kernel(kernel, Operands(torch.device(DEVICE), dtype, 70))
            assert kernel.multiplies
        return scores_by(kernel, images, texts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("grm", {}),
        ("grm", {"regions": 0}),
        ("grm", {"weight_original": 0.0}),
        ("grm", {"weight_uncertain": 0.0}),
        ("grm", {"significance": "hard", "granularity": "off"}),
        *(("late_interaction", {"combination": c}) for c in ("mean", "sum", "i2t", "t2i")),
    ],
)
def test_both_ways_is_the_unfused_kernel(monkeypatch, dtype, name, config):
    monkeypatch.setattr(fused, "available", lambda device, dtype: True)
    torch.manual_seed(0)
    scorer = create(name, **config).eval().to(DEVICE)
    expected = packed_scores(scorer, dtype, fuse=False)
    got = packed_scores(scorer, dtype, fuse=True)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("blocks", [{}, {"image_block": 1}, {"text_block": 3}, {"memory_budget": 50_000}])
@pytest.mark.parametrize(("name", "config"), [("scan", {"direction": "both"}), ("chan", {}), ("grm", {})])
def test_the_engine_scores_with_fused_kernels_as_without(monkeypatch, name, config, blocks):
    images, texts = ragged(12, 7, 6, 16).to(DEVICE), ragged(13, 11, 5, 16).to(DEVICE)
    torch.manual_seed(0)
    scorer = create(name, **config).eval().to(DEVICE)
    with torch.no_grad():
        sides = scorer.prepare_images(images), scorer.prepare_texts(texts)
        monkeypatch.setattr(fused, "available", lambda device, dtype: False)
        expected = similarity_matrix(scorer, *sides, **blocks)
        monkeypatch.setattr(fused, "available", lambda device, dtype: True)
        got = similarity_matrix(scorer, *sides, **blocks)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_a_form_may_mix_kernels_that_multiply_with_others():
    chan = type(create("chan"))

    class Mixed(chan):
        def packed_form(self):
            return PackedForm(((0.25, MaxSimKernel(Mean())), (0.75, fused.FusedMaxSim(Mean(), False))))

        def score(self, images, texts):
            return super().score(images, texts)

    images, texts = ragged(14, 7, 6, 16).to(DEVICE), ragged(15, 11, 5, 16).to(DEVICE)
    with settings.using(fused=False):
        expected = similarity_matrix(create("chan", pooling="mean"), images, texts)
    torch.testing.assert_close(similarity_matrix(Mixed(), images, texts), expected, rtol=0, atol=1e-5)


def test_the_choice_goes_by_real_fragments_and_by_the_type_of_the_operands(monkeypatch):
    monkeypatch.setattr(fused, "available", lambda device, dtype: dtype in fused.DTYPES)
    kernel = CrossAttentionKernel(Mean())
    wide, narrow = (Operands(torch.device(DEVICE), torch.float16, fused.LARGEST_CONTEXT + n) for n in (1, 0))
    assert best_kernel(kernel, wide) is kernel
    assert best_kernel(kernel, Operands(wide.device, torch.float64, 5)) is kernel
    assert not best_kernel(CrossAttentionKernel(Mean(), "softmax"), narrow).multiplies
    assert best_kernel(kernel, narrow).multiplies
    images, texts = ragged(16, 3, 6, 8).to(DEVICE), ragged(17, 4, 5, 8).to(DEVICE)
    padded = Fragments(
        torch.nn.functional.pad(images.features, (0, 0, 0, 90)), torch.nn.functional.pad(images.mask, (0, 90))
    )
    scan = create("scan").eval()
    torch.testing.assert_close(
        similarity_matrix(scan, padded, texts), similarity_matrix(scan, images, texts), rtol=0, atol=1e-5
    )


on_a_gpu = pytest.mark.skipif(not GPU, reason="no GPU")


@on_a_gpu
@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("chan", {"pooling": "mean"}),
        ("chan", {"coding": "tha", "pooling": "max"}),
        ("scan", {}),
        ("scan", {"direction": "i2t", "attention_norm": "softmax"}),
        ("scan", {"direction": "both", "attention_norm": "none"}),
        ("grm", {}),
        ("late_interaction", {}),
    ],
)
@pytest.mark.parametrize("budget", [None, 200_000])
def test_a_gpu_scores_like_a_cpu(monkeypatch, fuse, dtype, tolerance, name, config, budget):
    monkeypatch.setattr(settings, "_current", settings.Settings(fused=fuse))
    images, texts = ragged(6, 40, 9, 32), ragged(7, 90, 8, 32)
    torch.manual_seed(0)
    scorer = create(name, **config).eval()
    with torch.no_grad():
        sides = scorer.prepare_images(images), scorer.prepare_texts(texts)
    # Of the rounded operands: SCAN's attention of a one-word caption takes a similarity's sign alone, so that rounding one
    # across zero changes a score by as much as 0.06.
    rounded = sides if dtype is None else tuple(side.to(dtype).to(torch.float32) for side in sides)
    expected = similarity_matrix(scorer, *rounded)
    on_gpu = scorer.to(DEVICE), *(side.to(DEVICE) for side in sides)
    got = similarity_matrix(*on_gpu, dtype=dtype, memory_budget=budget)
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance)
    kept = similarity_matrix(*on_gpu, dtype=dtype, memory_budget=budget, device=DEVICE)
    assert kept.device.type == DEVICE
    assert torch.equal(kept.cpu(), got), "not deterministic"


@on_a_gpu
@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize(("name", "config"), [("chan", {}), ("chan", {"coding": "tha"}), ("scan", {})])
def test_gradients_on_a_gpu_are_those_of_a_cpu(monkeypatch, fuse, name, config):
    monkeypatch.setattr(settings, "_current", settings.Settings(fused=fuse))
    scorer = create(name, **config)
    weights = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    gradients = []
    for device in ("cpu", DEVICE):
        sides = [ragged(8, 20, 9, 32, junk=0.0).to(device), ragged(9, 30, 8, 32, junk=0.0).to(device)]
        for side in sides:
            side.features.requires_grad_()
        (scorer.score(*sides) * weights.to(device)).sum().backward()
        gradients.append(torch.cat([side.features.grad.flatten().cpu() for side in sides]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-4
