"""Weights under another implementation's names: matched one by one where both list the same tensors in the same order.

Two implementations of an architecture often define its layers in the same order and only call them differently. Order
and shape then say which tensor is which, and the last part of each name (`weight`, `bias`, `running_mean`) must agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from harness.errors import InvalidCheckpoint

_COUNTER = "num_batches_tracked"  #: of batch normalisation; evaluation and training with a momentum never read it
_CLASSIFIER = ("weight", "bias")


def shares_names(module: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether any tensor of a file has the name of one of the module's."""
    return bool(module.state_dict().keys() & state.keys())


def load_in_order(module: nn.Module, state: Mapping[str, Tensor], what: str) -> int:
    """Load the tensors of a file into a module in the order in which both list them.

    Batch normalisation's counters are left out on both sides, and a linear classifier at the file's end where the module
    has none.

    Args:
        module: receives the values.
        state: named tensors in the file's order.
        what: where they came from, for the message.

    Returns:
        The number of tensors loaded.

    Raises:
        InvalidCheckpoint: names the first pair that differs in shape or kind; the module is then unchanged.
    """
    own = {name: tensor for name, tensor in module.state_dict().items() if _kind(name) != _COUNTER}
    given = {name: tensor for name, tensor in state.items() if _kind(name) != _COUNTER}
    surplus = list(given)[len(own) :]
    if surplus and tuple(map(_kind, surplus)) == _CLASSIFIER and _is_linear(given[surplus[0]], given[surplus[1]]):
        given = {name: tensor for name, tensor in given.items() if name not in surplus}
    for place, (mine, theirs) in enumerate(zip(own, given, strict=False), start=1):
        if own[mine].shape != given[theirs].shape or _kind(mine) != _kind(theirs):
            raise InvalidCheckpoint(
                f"{what}: its names are not those of the model, and its tensors do not match in order either: number "
                f"{place} is '{theirs}' of shape {tuple(given[theirs].shape)}, where the model has '{mine}' of shape "
                f"{tuple(own[mine].shape)}; give weights of this architecture"
            )
    if len(own) != len(given):
        raise InvalidCheckpoint(
            f"{what}: its names are not those of the model, and it has {len(given)} tensors, where the model has "
            f"{len(own)}; give weights of this architecture"
        )
    loaded = dict(zip(own, given.values(), strict=True))
    counters = {name: tensor for name, tensor in module.state_dict().items() if _kind(name) == _COUNTER}
    module.load_state_dict({**counters, **loaded})
    return len(loaded)


def _kind(name: str) -> str:
    """`_blocks.0._bn1.running_mean` -> `running_mean`."""
    return name.rpartition(".")[2]


def _is_linear(weight: Tensor, bias: Tensor) -> bool:
    return weight.ndim == 2 and bias.shape == weight.shape[:1]
