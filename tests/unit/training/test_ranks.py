"""Two processes that share each batch, against one that takes the whole of it."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from steps_of_scorers import CASES, TOGETHER, distances, rank, steps

COUNT = 2


@pytest.fixture(scope="module")
def together(tmp_path_factory, _cache_of_their_own):
    """The folder in which two processes left what they found."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=rank, args=(number, COUNT, folder)) for number in range(COUNT)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return folder


@pytest.mark.parametrize(("name", "micro_batch"), TOGETHER)
def test_losses_gradients_and_weights_are_those_of_one_process(together, name, micro_batch):
    whole = steps(CASES[name])
    found = [torch.load(together / f"{name}-{micro_batch}-{number}.pt") for number in range(COUNT)]
    assert max(distances(found[0], whole).values()) < 1e-5
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), f"the ranks differ in {key}"
