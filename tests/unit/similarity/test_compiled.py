"""The compiled kernels against torch's own: equal scores within rounding, and bits that depend on the pair alone."""

from __future__ import annotations

import builtins
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from similarity_cases import ragged

from harness.errors import InvalidSimilarity
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


def with_nan(side: Fragments) -> Fragments:
    features = side.features.clone()
    features[3, int(side.mask[3].nonzero()[0]), 2] = float("nan")
    return Fragments.unchecked(features, side.mask, side.extras)


@pytest.mark.parametrize(("name", "config"), SCORERS)
def test_a_query_that_is_not_a_number_is_refused(name, config):
    scorer, images, texts = prepared(name, config, 20, 40)
    for queries in (with_nan(texts), with_nan(texts)[[3]]):  # right items in lanes, and left ones
        with pytest.raises(InvalidSimilarity, match="finite"):
            Index.build(scorer, images).query(queries)


@pytest.mark.parametrize("others", [40, 1])
@pytest.mark.parametrize(("name", "config"), SCORERS[:3])
def test_no_maximum_drops_what_is_not_a_number(name, config, others):
    kernel = best_kernel(packed_form(create(name, **config)).terms[0][1], Operands(CPU, torch.float32, 9))
    left = ragged(1, 20, 9, 32)
    scores = scores_by(kernel, with_nan(left), ragged(2, others, 7, 32))
    assert torch.equal(scores.isnan().any(1), scores.isnan().all(1))
    assert int(scores.isnan().all(1).sum()) == 1


def in_lanes(function, x):
    """`function` of every value of `x`, a float32 array of whole vectors."""
    from numba import njit

    from harness.similarity.compiled.lanes import WIDTH, load, store

    @njit
    def run(x, found):
        for at in range(0, len(x), WIDTH):
            store(found, at, function(load(x, at)))

    found = np.empty_like(x)
    run(x, found)
    return found


def test_a_power_of_two_is_exact_to_the_last_place():
    from harness.similarity.compiled.arithmetic import power_of_two

    x = np.linspace(-30, 30, 1 << 17, dtype=np.float32)
    assert np.abs(in_lanes(power_of_two, x) / np.exp2(x.astype(np.float64)) - 1).max() < 2**-23
    whole = np.arange(-64, 64, dtype=np.float32)
    assert np.array_equal(in_lanes(power_of_two, whole), np.exp2(whole))
    assert np.isnan(in_lanes(power_of_two, np.full(16, np.nan, np.float32))).all()


@pytest.mark.parametrize("fragments", [1, 4, 7])
def test_a_triangle_holds_the_quadratic_form(fragments):
    from harness.similarity.compiled.attention import ROWS, triangle_places

    rng = np.random.default_rng(0)
    vectors, weights = rng.normal(size=(fragments, 9)), rng.normal(size=fragments)
    gram = vectors @ vectors.T
    places, factors = triangle_places(fragments)
    triangle = (gram.ravel()[places] * factors).reshape(-1, ROWS)
    padded = np.pad(weights, (0, -fragments % ROWS))
    columns = [(first, g) for first in range(0, len(padded), ROWS) for g in range(first, len(padded))]
    found = sum(padded[f : f + ROWS] @ row * padded[g] for (f, g), row in zip(columns, triangle, strict=True))
    assert found == pytest.approx(weights @ gram @ weights, rel=1e-6)


@pytest.mark.parametrize("missing", [0, 3])
def test_columns_are_rows_transposed_and_the_last_row_stands_for_those_that_are_missing(missing):
    from numba import njit

    from harness.similarity.compiled.lanes import WIDTH, store_columns

    @njit
    def run(rows, stride, found, step, count):
        store_columns(rows, 2, stride, found, 5, step, count)

    stride, step = WIDTH + 3, WIDTH + 1
    rows = np.arange(2 + WIDTH * stride, dtype=np.float32)
    found = np.zeros(5 + WIDTH * step, np.float32)
    run(rows, stride, found, step, WIDTH - missing)
    read = np.stack([rows[2 + min(j, WIDTH - missing - 1) * stride :][:WIDTH] for j in range(WIDTH)])
    assert np.array_equal(found[5:].reshape(WIDTH, step)[:, :WIDTH], read.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("product_columns", [16, 12, 7])
@pytest.mark.parametrize("first_row", [0, 4])
def test_a_tile_is_read_in_whole_vectors_wherever_it_lies(dtype, product_columns, first_row):
    product = torch.randn(6 + first_row, product_columns).to(dtype)
    similarity = product[first_row:, :7].unflatten(0, (3, 2))
    values, stride = compiled._tile(similarity, 4)
    read = np.lib.stride_tricks.as_strided(values, (6, 8), (4 * stride, 4))[:, :7]
    assert np.array_equal(read, similarity.flatten(0, 1).float().numpy())
    is_shared = values.ctypes.data == product[first_row:].data_ptr()
    assert is_shared == (dtype == torch.float32 and product_columns >= 8)


@pytest.mark.parametrize("later", [-1, 1])
def test_code_that_is_older_than_the_package_is_compiled_anew(tmp_path, later):
    def kernel():
        pass

    module, name = kernel.__module__.rpartition(".")[2], kernel.__name__
    kept = tmp_path / f"{module}.{name}-1.nbi"
    kept.touch()
    newest = max(file.stat().st_mtime for file in Path(compiled.__file__).parent.glob("*.py"))
    os.utime(kept, (newest + later, newest + later))
    compiled._forget_stale(tmp_path, kernel)
    assert kept.exists() == (later > 0)


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


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def taken(items: int) -> list[int]:
    """How often each item of a tile is computed."""
    times = [0] * items

    def run(part: tuple[int, int]) -> None:
        for item in range(*part):
            times[item] += 1

    compiled._in_threads(run, (), items)
    return times


def test_threads_take_every_item_once_in_a_forked_process_too(two_threads):
    assert [taken(items) for items in (1, 2, 37)] == [[1], [1, 1], [1] * 37]
    child = os.fork()
    if not child:
        code = 2
        try:
            code = int(taken(37) == [1] * 37)
        finally:  # whatever happens, no second process runs the other tests
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    with ThreadPoolExecutor(4) as several:
        assert list(several.map(taken, [9] * 40)) == [[1] * 9] * 40


def test_an_error_of_any_piece_is_raised(two_threads):
    def run(part: tuple[int, int]) -> None:
        if part[0]:
            raise ValueError("of the second piece")

    with pytest.raises(ValueError, match="of the second piece"):
        compiled._in_threads(run, (), 8)
