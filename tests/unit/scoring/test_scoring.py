"""The scoring engine: both routes, every block size, what it refuses, and what it leaves as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import InvalidFragments, InvalidSimilarity, ItmError, UnknownName
from harness.fragments import Fragments
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.registry import create
from harness.runs.experiment import run_experiment
from harness.scorer import Scorer
from harness.scoring import memory, packed_form, product_backends, score_blocks, similarity_matrix
from harness.similarity import settings
from harness.similarity.packed import products
from harness.spec import load_experiment


def fragments(items: int, longest: int, seed: int, width: int = 8) -> Fragments:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    mask = torch.rand(items, longest, generator=generator) < 0.6
    mask[:, 0] = True
    return Fragments(features, mask)


IMAGES, TEXTS = fragments(7, 5, 1), fragments(11, 6, 2)


class MeanDot(Scorer):
    """A scorer of the plain route: dot product of the means."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)
        self.calls: list[tuple[int, int]] = []

    def score(self, images, texts):
        self.calls.append((len(images), len(texts)))
        means = [(side.features * side.mask[..., None]).sum(1) / side.lengths[:, None] for side in (images, texts)]
        return self.dropout(means[0]) @ means[1].T


class Broken(MeanDot):
    """Returns `value` for image 3 and caption 9, or drops a row."""

    def __init__(self, value: float = 0.0, rows: int = 0):
        super().__init__()
        self.value, self.rows = value, rows

    def score(self, images, texts):
        scores = super().score(images, texts)
        bad = (images.features == IMAGES.features[3]).all(-1).all(-1)[:, None]
        bad = bad & (texts.features[:, 0] == TEXTS.features[9, 0]).all(-1)
        return scores.masked_fill(bad, self.value)[self.rows :]


SCORERS = {
    "plain": MeanDot,
    "chan": lambda: create("chan"),
    "scan t2i": lambda: create("scan"),
    "scan both": lambda: create("scan", direction="both"),
}


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("image_block", [None, 1, 2, 100])
@pytest.mark.parametrize("text_block", [None, 1, 4, 100])
def test_any_block_size_gives_the_scores_of_one_call(name, image_block, text_block):
    scorer = SCORERS[name]().eval()
    expected = scorer.score(IMAGES, TEXTS)
    scores = similarity_matrix(scorer, IMAGES, TEXTS, image_block=image_block, text_block=text_block)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("budget", [1, 2_000, 50_000])
def test_any_memory_budget_gives_the_scores_of_one_call(name, budget):
    scorer = SCORERS[name]().eval()
    scores = similarity_matrix(scorer, IMAGES, TEXTS, memory_budget=budget)
    torch.testing.assert_close(scores, scorer.score(IMAGES, TEXTS), rtol=0, atol=1e-5)


def test_the_budget_bounds_the_blocks():
    scorer, images, texts = MeanDot(), fragments(64, 5, 1), fragments(96, 6, 2)
    similarity_matrix(scorer, images, texts, memory_budget=4 * 8 * 5 * 6 * 1024)  # pairs of 5 x 6 fragments, 8 copies
    assert max(i * t for i, t in scorer.calls) <= 1024
    assert sum(i * t for i, t in scorer.calls) == 64 * 96


@pytest.mark.parametrize("limit", [{"memory_budget": 1}, {"image_block": 1, "text_block": 1}, {"image_block": 3}])
def test_a_call_of_score_is_never_so_small_that_its_size_shows(limit):
    scorer, images, texts = MeanDot(), fragments(40, 5, 1), fragments(19, 6, 2)
    similarity_matrix(scorer, images, texts, **limit)
    assert min(i for i, _ in scorer.calls) >= 16
    assert min(t for _, t in scorer.calls) >= 16


@pytest.mark.parametrize("name", SCORERS)
def test_blocks_cover_every_pair_once(name):
    seen = torch.zeros(7, 11, dtype=torch.int64)
    for block in score_blocks(SCORERS[name](), IMAGES, TEXTS, image_block=3, text_block=4):
        assert len(block.images) <= 3
        assert len(block.texts) <= 4
        seen[block.images[:, None], block.texts] += 1
    assert torch.equal(seen, torch.ones_like(seen))


def test_modes_are_restored_and_dropout_is_off():
    scorer = MeanDot().train()
    scorer.dropout.eval()
    first, second = similarity_matrix(scorer, IMAGES, TEXTS), similarity_matrix(scorer, IMAGES, TEXTS)
    assert torch.equal(first, second)
    assert (scorer.training, scorer.dropout.training) == (True, False)


def test_modes_are_restored_after_an_error():
    scorer = Broken(float("nan")).train()
    with pytest.raises(InvalidSimilarity):
        similarity_matrix(scorer, IMAGES, TEXTS)
    assert scorer.training


def test_progress_reaches_the_total():
    seen: list[tuple[int, int]] = []
    similarity_matrix(MeanDot(), IMAGES, TEXTS, image_block=2, text_block=5, progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (77, 77)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("block", [None, 2])
def test_a_score_that_is_not_finite_is_refused_by_name_and_place(value, block):
    with pytest.raises(InvalidSimilarity, match=r"Broken\.score returned .* for image 3 and caption 9"):
        similarity_matrix(Broken(value), IMAGES, TEXTS, image_block=block, text_block=block)


def test_a_wrong_shape_is_refused():
    with pytest.raises(InvalidSimilarity, match=r"Broken\.score returned \(6, 11\) for 7 images and 11 captions"):
        similarity_matrix(Broken(rows=1), IMAGES, TEXTS)


@pytest.mark.parametrize(
    ("images", "texts", "what"), [(slice(0, 0), slice(None), "images"), (slice(None), slice(0, 0), "captions")]
)
def test_an_empty_side_is_refused(images, texts, what):
    with pytest.raises(InvalidFragments, match=f"there are no {what} to score"):
        similarity_matrix(create("chan"), IMAGES[images], TEXTS[texts])


def test_different_widths_are_refused():
    with pytest.raises(InvalidFragments, match="width 8 and captions 4"):
        similarity_matrix(create("chan"), IMAGES, fragments(3, 4, 3, width=4))


@pytest.mark.parametrize("argument", ["memory_budget", "image_block", "text_block"])
def test_a_limit_below_one_is_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        similarity_matrix(create("chan"), IMAGES, TEXTS, **{argument: 0})


def test_inputs_are_not_changed():
    for name in SCORERS:
        before = [side.features.clone() for side in (IMAGES, TEXTS)]
        similarity_matrix(SCORERS[name](), IMAGES, TEXTS)
        assert all(torch.equal(b, side.features) for b, side in zip(before, (IMAGES, TEXTS), strict=True))


def test_overriding_score_alone_leaves_the_packed_route():
    """A subclass that changes the scores must not be scored by the packed form that it inherited."""
    chan = type(create("chan"))

    class Doubled(chan):
        def score(self, images, texts):
            return 2 * super().score(images, texts)

    plain, doubled = create("chan"), Doubled()
    assert packed_form(plain) is not None
    assert packed_form(doubled) is None
    torch.testing.assert_close(
        similarity_matrix(doubled, IMAGES, TEXTS), 2 * similarity_matrix(plain, IMAGES, TEXTS), rtol=0, atol=1e-4
    )
    plain.score = lambda images, texts: torch.zeros(len(images), len(texts))
    assert packed_form(plain) is None


@pytest.fixture
def no_choice_yet(monkeypatch):
    monkeypatch.setattr(products, "_choices", {})


def stopwatch() -> float:
    raise AssertionError("the stopwatch ran")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_product_backend_is_chosen_by_a_rule_and_recorded(monkeypatch, no_choice_yet, dtype):
    monkeypatch.setattr(products.time, "perf_counter", stopwatch)
    right, left = torch.randn(64, 16).to(dtype), torch.randn(24, 16).to(dtype)
    product = products.prepare(right, 24, work=1e15)
    torch.testing.assert_close(product(left).to(dtype), left @ right.T, rtol=2e-2, atol=2e-2)
    (choice,) = product_backends().values()
    assert choice["backend"] in products.BACKENDS
    assert choice["gflops"] == {}


def test_the_rule_takes_what_torch_offers(monkeypatch):
    for offered, name in ((True, "onednn_prepacked"), (False, "torch_mm")):
        monkeypatch.setattr(products, "_offers_onednn", lambda dtype, offered=offered: offered)
        assert products.RULES["cpu", torch.float32]() == name


def test_tuning_times_the_candidates_only_where_it_is_asked_for(no_choice_yet):
    right = torch.randn(64, 16)
    products.prepare(right, 24, work=1e12)
    with settings.using(product="tune"):
        products.prepare(right, 24, work=1e12)
        (choice,) = product_backends().values()
        assert choice["backend"] in choice["gflops"]
        assert all(rate > 0 for rate in choice["gflops"].values())
        products.prepare(right, 24, work=0.0)
        assert list(product_backends().values()) == [choice]  # timed once
    products.prepare(right, 24, work=1e12)
    (choice,) = product_backends().values()
    assert choice["gflops"] == {}


@pytest.mark.parametrize("name", products.CANDIDATES["cpu", torch.float32])
def test_a_product_backend_can_be_pinned_and_is_recorded(no_choice_yet, name):
    before = settings.current()
    right, left = torch.randn(64, 16), torch.randn(24, 16)
    with settings.using(product=name):
        for rows in (24, 7):  # also another number of rows than it was prepared for
            torch.testing.assert_close(products.prepare(right, 24)(left[:rows]), left[:rows] @ right.T)
    assert [choice["backend"] for choice in product_backends().values()] == [name]
    assert settings.current() == before


def test_an_unknown_product_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'torch_mm'"):
        settings.Settings(product="torch_mn")
    assert set(products.BACKENDS) == set(settings.PRODUCTS)


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, [], settings.Settings()),
        ({"ITM_PRODUCT": "mkl_prepacked", "ITM_FUSED": "0"}, [], settings.Settings("mkl_prepacked", fused=False)),
        ({"ITM_PRODUCTS": "tune"}, [], settings.Settings("tune")),
        ({"ITM_PRODUCT": "", "ITM_PRODUCTS": ""}, [], settings.Settings()),
        (
            {"ITM_PRODUCT": "mkl_prepacked"},
            ["--product", "torch_mm", "--no-fused"],
            settings.Settings("torch_mm", False),
        ),
    ],
)
def test_the_command_line_sets_the_engine(monkeypatch, environment, options, expected):
    monkeypatch.setattr(settings, "_current", settings.Settings())
    monkeypatch.delenv("ITM_FUSED", raising=False)
    result = CliRunner().invoke(cli, [*options, "ls", "protocols"], env=environment)
    assert result.exit_code == 0, result.output
    assert settings.current() == expected


def test_the_command_line_refuses_an_unknown_product():
    result = CliRunner().invoke(cli, ["ls", "protocols"], env={"ITM_PRODUCT": "torch_mn"})
    assert isinstance(result.exception, UnknownName)  # which `itm` turns into exit code 2


@pytest.fixture
def little_memory(monkeypatch):
    """As if half a kilobyte were free; returns the matrices that then lie in a file."""
    made = []
    monkeypatch.setattr(memory, "SMALL_MATRIX", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: 512)
    monkeypatch.setattr(
        memory.np, "memmap", lambda *args, **options: made.append(options["shape"]) or MEMMAP(*args, **options)
    )
    return made


MEMMAP = np.memmap


@pytest.mark.parametrize("name", SCORERS)
def test_a_matrix_that_does_not_fit_in_memory_lies_in_a_file(name, little_memory, monkeypatch):
    scorer = SCORERS[name]().eval()
    in_file = similarity_matrix(scorer, IMAGES, TEXTS, memory_budget=50_000)
    assert little_memory == [(7, 11)]
    monkeypatch.undo()
    assert torch.equal(in_file, similarity_matrix(scorer, IMAGES, TEXTS, memory_budget=50_000))
    assert not little_memory[1:]


def test_a_run_whose_scores_do_not_fit_in_memory_has_the_same_numbers(tiny, little_memory, monkeypatch, tmp_path):
    evaluation = {**tiny["evaluation"], "save_scores": True}
    tiny |= {"protocols": ["full", "scenes_relevance"], "evaluation": evaluation, "training": {"epochs": 0}}

    def run(name: str) -> tuple[RunRecord, np.ndarray, dict[str, bytes]]:
        store = RunStore(tmp_path / name)
        (record,) = run_experiment(load_experiment(tiny), store).records
        arrays = np.load(store.folder(record.run_id) / "ranks.npz", allow_pickle=False)
        scores = np.load(store.folder(record.run_id) / "scores.npy", allow_pickle=False)
        return record, scores, {key: arrays[key].tobytes() for key in arrays.files}

    record, scores, files = run("in a file")
    assert (12, 60) in little_memory
    monkeypatch.undo()
    again, same_scores, same_files = run("in memory")
    assert record.metrics == again.metrics
    assert "scenes_relevance" in record.metrics
    assert files == same_files
    # Encoders read smaller batches where memory is little, and some processors round by the size of a batch.
    np.testing.assert_allclose(scores, same_scores, rtol=0, atol=1e-6)


def test_a_matrix_that_fits_nowhere_is_refused(little_memory, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.os, "posix_fallocate", full)
    with pytest.raises(ItmError, match=r"scores of 7 x 11 pairs take .*No space left on device.* set TMPDIR"):
        similarity_matrix(create("chan"), IMAGES, TEXTS, memory_budget=50_000)


@pytest.mark.parametrize("name", ["chan", "scan", "grm", "late_interaction"])
def test_autocast_does_not_reach_the_engine(name):
    torch.manual_seed(0)
    scorer = create(name).eval()
    with torch.no_grad():
        sides = scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
    expected = similarity_matrix(scorer, *sides)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(similarity_matrix(scorer, *sides), expected, rtol=0, atol=1e-6)


def test_a_block_of_the_stream_stays_small_whatever_the_budget():
    images, texts = fragments(1500, 1, 3, width=2), fragments(5000, 1, 4, width=2)
    blocks = list(score_blocks(create("chan"), images, texts, memory_budget=2**40))
    assert max(len(block.images) for block in blocks) <= 1024
    assert max(len(block.texts) for block in blocks) <= 4096
