"""Operations counted on paper, memory of a call, and NVML that answers or does not."""

import pytest
import torch

from harness import registry
from harness.fragments import Fragments
from harness.profiles import work
from harness.similarity import settings


def unit(n, f, d):
    generator = torch.Generator().manual_seed(n)
    return Fragments(torch.randn(n, f, d, generator=generator), torch.ones(n, f, dtype=torch.bool)).normalized()


def test_flops_of_a_product():
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert work.flops(lambda: a @ b) == 2 * 3 * 5 * 7
    assert work.flops(lambda: a + 1) is None


@pytest.mark.parametrize(("regions", "words", "width"), [(6, 4, 16), (3, 9, 8)])
def test_one_more_pair_costs_max_sim_one_product(regions, words, width):
    count = work.pair_flops(registry.create("chan"), unit(2, regions, width), unit(2, words, width))
    assert count == 2 * regions * words * width


def test_one_more_pair_of_a_cosine():
    assert work.pair_flops(registry.create("clip"), unit(2, 1, 16), unit(2, 1, 16)) == 2 * 16


def test_the_product_backend_is_as_before_afterwards():
    with settings.using(product="mkl_prepacked"):
        work.pair_flops(registry.create("chan"), unit(2, 3, 8), unit(2, 3, 8))
        assert settings.current().product == "mkl_prepacked"


def test_matrix_rates():
    m, n, k = work.MATRIX
    assert work.matrix_gflops({"matrix torch.float32": 10.0}) == {"float32": pytest.approx(2 * m * n * k / 1e7)}


def test_working_memory_is_what_a_call_needs_above_what_lay_there():
    held = torch.ones(4_000_000)  # 16 MiB that do not count
    peaks = work.peak_of(lambda: torch.ones(16_000_000).sum(), torch.device("cpu"))
    assert 55 < peaks["working_mib"] < 75  # 61 MiB
    assert peaks["peak_rss_mib"] > peaks["working_mib"]
    assert held.sum() == 4_000_000


def test_driver_memory_is_asked_of_the_right_gpu(monkeypatch):
    used = {torch.device("cuda", 0): 9, torch.device("cuda", 1): 3 * 1024**2}
    monkeypatch.setattr(torch.cuda, "device_memory_used", used.__getitem__)
    assert work.driver_memory_mib(torch.device("cuda", 1)) == 3.0


def test_driver_memory_is_absent_where_nothing_answers(monkeypatch):
    def no_package(device):
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "device_memory_used", no_package)
    for device in ("cpu", "cuda"):
        assert work.driver_memory_mib(torch.device(device)) is None
