"""The compiled kernels against torch's own: equal scores within rounding, and bits that depend on the pair alone."""

from __future__ import annotations

import builtins
import itertools

import pytest
import torch
from similarity_cases import ragged

from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import Index, packed_form, similarity_matrix
from harness.similarity import settings
from harness.similarity.compiled import kernels as compiled
from harness.similarity.dispatch import best_kernel
from harness.similarity.packed.attention import CrossAttentionKernel
from harness.similarity.packed.kernels import Kernel, Operands, Scratch
from harness.similarity.packed.layout import Group, pack
from harness.similarity.pooling import Mean

np = pytest.importorskip("numpy")
pytest.importorskip("numba", reason="the compiled kernels need numba")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _compiled():
    with settings.using(fused=True):
        yield


def scores_by(kernel: Kernel, left: Fragments, right: Fragments) -> torch.Tensor:
    group, scratch, scores = Group(tuple(pack(right, torch.arange(len(right))))), Scratch(), []
    columns = group.columns()
    side = kernel.right_side(group, columns)
    for bucket in pack(left, torch.arange(len(left))):
        rows = bucket.rows()
        values = kernel.reduce(rows @ columns.T, kernel.left_side(bucket, rows), side, scratch)
        scores.append(kernel.finish(values, side))
    return torch.cat(scores)


#: Columns of few and of many items, left items of few fragments, of one, and enough items for the loops over them.
SIDES = [(9, 5, 70, 6), (70, 4, 3, 6), (3, 9, 20, 1), (130, 7, 2, 13)]


@pytest.mark.parametrize(("items", "longest", "others", "words"), SIDES)
@pytest.mark.parametrize("norm", compiled.ATTENTION_NORMS)
def test_attention_is_that_of_torch(norm, items, longest, others, words):
    left, right = ragged(1, items, longest, 48, duplicates=True), ragged(2, others, words, 48)
    right.features[0] *= 1e-12  # so that norms fall below the smallest number that is divided by
    plain = CrossAttentionKernel(Mean(), norm, 9.0)
    kernel = best_kernel(plain, Operands(CPU, torch.float32, longest))
    assert isinstance(kernel, compiled.CompiledAttention)
    torch.testing.assert_close(scores_by(kernel, left, right), scores_by(plain, left, right), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("attention_norm", "temperature"), [("softmax", 9.0), ("none", 9.0), ("clipped", 4.0), ("l2norm", 20.0)]
)
def test_weights_that_need_a_maximum_stay_with_torch(attention_norm, temperature):
    plain = CrossAttentionKernel(Mean(), attention_norm, temperature)
    assert best_kernel(plain, Operands(CPU, torch.float32, 4)) is plain


def prepared(name: str, config: dict, images: int, texts: int):
    torch.manual_seed(0)
    scorer = create(name, **config).eval()
    with torch.no_grad():
        sides = scorer.prepare_images(ragged(3, images, 9, 32)), scorer.prepare_texts(ragged(4, texts, 7, 32))
    return scorer, *sides


SCORERS = [
    ("scan", {}),
    ("scan", {"direction": "i2t"}),
    ("late_interaction", {}),
    ("grm", {"leaky_slope": 0.1}),
    ("grm", {"regions": 0}),
]


@pytest.mark.parametrize(("name", "config"), SCORERS)
def test_scores_are_those_without_numba_and_no_tile_or_thread_shows(name, config):
    scorer, images, texts = prepared(name, config, 70, 40)
    kernel = best_kernel(packed_form(scorer).terms[0][1], Operands(CPU, torch.float32, 9))
    assert isinstance(kernel, compiled.CompiledAttention | compiled.BothWays)
    scores = similarity_matrix(scorer, images, texts)
    with settings.using(fused=False):
        torch.testing.assert_close(similarity_matrix(scorer, images, texts), scores, rtol=0, atol=2e-6)
    assert torch.equal(similarity_matrix(scorer, images, texts, image_block=5, text_block=3), scores)
    assert torch.equal(Index.build(scorer, images).query(texts[[7]])[0], scores[:, 7])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(similarity_matrix(scorer, images, texts), scores)
    finally:
        torch.set_num_threads(threads)


def test_the_exponential_is_exact_to_the_last_place():
    from numba import njit

    from harness.similarity.compiled.arithmetic import exp_parts

    @njit
    def parts(x, mantissas, exponents):
        exp_parts(x, mantissas, exponents, len(x))

    x = np.linspace(-20, 20, 100_001, dtype=np.float32)
    mantissas, exponents = np.empty_like(x), np.empty(len(x), np.int32)
    parts(x, mantissas, exponents)
    found = mantissas * exponents.view(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(found / exact - 1).max() < 2**-23


def test_only_float32_and_less_on_a_cpu_where_it_is_wanted(monkeypatch):
    assert compiled.available(CPU, torch.float32)
    assert compiled.available(CPU, torch.bfloat16)
    assert not compiled.available(CPU, torch.float64)
    assert not compiled.available(torch.device("cuda"), torch.float32)
    with settings.using(fused=False):
        assert not compiled.available(CPU, torch.float32)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    assert compiled._numba.__wrapped__() is None


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("numba", ImportError("Numba needs NumPy 2.3 or less. Got NumPy 3.0.")),
        ("harness.similarity.compiled", RuntimeError("cannot cache function 'attend': no locator available")),
    ],
)
def test_a_numba_that_cannot_be_used_is_told(monkeypatch, caplog, module, error):
    imported = builtins.__import__

    def refused(name, *rest):
        if name == module:
            raise error
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refused)
    assert compiled._numba.__wrapped__() is None
    assert f"torch computes in its place: {error}" in caplog.text


@pytest.mark.parametrize(("lengths", "counts"), [([1], [1]), ([2, 3], [50, 31]), ([5, 6, 7], [1, 2, 64])])
def test_runs_cover_every_column_once(lengths, counts):
    from harness.similarity.compiled.attention import CHUNK, runs

    table, starts = runs(np.array(lengths), np.array(counts))
    found = [
        (chunk * CHUNK + place + j, first + j)
        for chunk, (begin, end) in enumerate(itertools.pairwise(starts))
        for place, first, count in table[begin:end]
        for j in range(count)
    ]
    firsts = np.cumsum(counts) - counts
    items = [
        f + j for length, q, f in zip(lengths, counts, firsts, strict=True) for _ in range(length) for j in range(q)
    ]
    assert found == list(enumerate(items))
