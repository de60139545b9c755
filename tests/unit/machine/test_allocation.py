"""Memory that is freed stays with the process for a while, and goes back afterwards."""

import platform
import resource

import pytest
import torch

from harness.machine import allocation
from harness.machine.allocation import freed_memory_kept
from harness.runs.computing import computing

BLOCK = 40 * 2**20  #: bytes; above what glibc keeps by itself
PAGES = BLOCK // resource.getpagesize()

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")


def new_pages(repeats: int) -> int:
    """Pages that the system hands out while a block is taken and freed several times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        torch.ones(BLOCK // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_freed_block_is_not_handed_out_anew():
    with freed_memory_kept():
        new_pages(16)  # small blocks that fall between large ones have some more of these taken, until they fit
        inside = new_pages(16)
    assert inside < 4 * PAGES  # instead of 16 times


def test_a_block_within_a_block_leaves_memory_kept():
    with freed_memory_kept():
        with freed_memory_kept():
            new_pages(16)
        new_pages(16)
        assert new_pages(16) < 4 * PAGES


@pytest.mark.parametrize(("device", "kept"), [("cpu", True), ("meta", False)])
def test_a_run_on_a_cpu_keeps_it(device, kept):
    with computing(1, device):
        assert bool(allocation._depth) is kept
    assert not allocation._depth


def test_an_error_passes_and_the_rest_is_as_before():
    with pytest.raises(ValueError, match="inside"), freed_memory_kept():
        raise ValueError("inside")
    with freed_memory_kept():
        pass
    assert float(torch.ones(BLOCK // 4).sum()) == BLOCK // 4
