"""Two processes that share each batch, against one that takes the whole of it."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from steps_of_scorers import CASES, TOGETHER, distances, rank, steps

from harness.errors import InvalidDataset
from harness.fragments import Fragments
from harness.training.ranks import joined

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


def test_a_process_that_fails_says_why_before_the_others_lose_it(tmp_path):
    with pytest.raises(InvalidDataset), joined(0, 1, torch.device("cpu"), str(tmp_path / "meeting")):
        raise InvalidDataset("a broken photograph")
    assert dist.is_initialized()
    dist.destroy_process_group()


def test_fragments_of_all_ranks_come_together_with_what_belongs_to_them(tmp_path):
    side = Fragments(
        torch.rand(2, 3, 4), torch.ones(2, 3).bool(), {"gates": torch.rand(2, 3), "count": torch.arange(2)}
    )
    with joined(0, 1, torch.device("cpu"), str(tmp_path / "meeting")) as group:
        found = group.gathered(side)
        assert group.averaged([torch.ones(2), torch.ones(1).double()])[1].dtype == torch.float64
        assert group.agreed(3)
    assert torch.equal(found.features, side.features)
    assert torch.equal(found.mask, side.mask)
    assert {name: extra.tolist() for name, extra in found.extras.items()} == {
        name: extra.tolist() for name, extra in side.extras.items()
    }


@pytest.mark.parametrize(("name", "micro_batch"), TOGETHER)
def test_losses_gradients_and_weights_are_those_of_one_process(together, name, micro_batch):
    whole = steps(CASES[name])
    found = [torch.load(together / f"{name}-{micro_batch}-{number}.pt") for number in range(COUNT)]
    assert max(distances(found[0], whole).values()) < 1e-5
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), f"the ranks differ in {key}"
