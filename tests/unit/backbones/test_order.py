"""Weights under other names: matched in order, and refused at the first pair that differs."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from harness.backbones.order import load_in_order, shares_names
from harness.errors import InvalidCheckpoint


def tower():
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8))


def foreign(*, counters=True, classifier=0):
    """The tensors of another implementation of the same architecture."""
    torch.manual_seed(1)
    source = tower()
    for tensor in source.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor))
    names = {"0": "_conv_stem", "1": "_bn0", "2": "_conv_head", "3": "_bn1"}
    state = OrderedDict((f"{names[name[0]]}{name[1:]}", tensor) for name, tensor in source.state_dict().items())
    state = OrderedDict((k, v) for k, v in state.items() if counters or not k.endswith("num_batches_tracked"))
    if classifier:
        state.update({"_fc.weight": torch.rand(classifier, 8), "_fc.bias": torch.rand(classifier)})
    return source, state


@pytest.mark.parametrize("options", [{}, {"counters": False}, {"classifier": 10}])
def test_every_tensor_finds_its_place(options):
    source, state = foreign(**options)
    module = tower()
    assert not shares_names(module, state)
    assert load_in_order(module, state, "w.pth") == 11
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(module.eval()(images), source.eval()(images))


def swapped(state, first, second):
    names = list(state)
    a, b = names.index(first), names.index(second)
    names[a], names[b] = names[b], names[a]
    return OrderedDict((name, state[name]) for name in names)


CHANGES = {
    "another shape": (
        lambda s: {**s, "_conv_head.weight": torch.rand(8, 5, 1, 1)},
        r"number 6 is '_conv_head\.weight'",
    ),
    "another kind": (
        lambda s: swapped(s, "_bn0.weight", "_bn0.bias"),
        r"'_bn0\.bias' .* where the model has '1\.weight'",
    ),
    "alphabetical": (lambda s: OrderedDict(sorted(s.items())), r"number 1 is '_bn0\.bias'"),
    "one too few": (lambda s: dict(list(s.items())[:-2]), "10 tensors, where the model has 11"),
    "one too many": (lambda s: {**s, "_more.weight": torch.rand(8)}, "12 tensors, where the model has 11"),
    "no classifier": (lambda s: {**s, "_a.weight": torch.rand(8, 8), "_a.bias": torch.rand(9)}, "13 tensors"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_first_difference_is_named_and_nothing_is_loaded(case):
    change, complaint = CHANGES[case]
    module = tower()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(InvalidCheckpoint, match=complaint) as caught:
        load_in_order(module, change(foreign()[1]), "w.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
