"""Reading weights without executing anything: safetensors, or pickles that hold tensors and plain values only."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.errors import InvalidCheckpoint, one_line, reported_as
from harness.files.kinds import identify, mismatch

_NESTED = ("state_dict", "model", "model_state_dict")  #: keys under which training scripts keep the weights
#: Keys of the moving average of the weights, taken where a file holds nothing else.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
#: Parts of a name that wrappers put in: DataParallel, torch.compile, FSDP, activation checkpointing.
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
#: What torch's and others' moving averages keep beside the weights, and the prefix of theirs.
_COUNTERS = frozenset(("n_averaged", "initted", "step"))
_AVERAGE = "ema_model."
#: What a file may be that PyTorch's restricted reader gets to see; tar is PyTorch's own before version 0.1.10.
_READABLE = frozenset(("torch", "pickle", "tar", "damaged-zip"))
_ADVICE = {
    "safetensors": "give it the suffix .safetensors",
    "torch": "give it the suffix .pt or .pth",
    "yaml": "give the file of weights, not the experiment",
    "zip": "unpack it and give the file of weights in it",
}
_log = logging.getLogger(__name__)


def read_state_dict(path: str | Path, *, bare: bool = True) -> dict[str, Tensor]:
    """Named tensors of a `.safetensors` file or of a PyTorch file, on the CPU.

    Args:
        path: local file. A PyTorch file is read with `weights_only=True`: a pickle that asks for code is refused.
        bare: whether names lose what wrappers add to them, see `bare_names`.

    Raises:
        InvalidCheckpoint: missing, truncated, unsafe, without named tensors, or with NaN or infinite weights.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        if identify(path).key != "safetensors":
            raise _stranger(path, "a safetensors file")
        with reported_as(InvalidCheckpoint, f"{path} is not a readable safetensors file"):
            tensors = load_file(path)
    else:
        tensors = _named_tensors(read_safe_pickle(path), path)
    tensors = bare_names(tensors) if bare else tensors
    require_finite(tensors, str(path))
    return tensors


def read_safe_pickle(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """The content of a PyTorch file, read by PyTorch's restricted unpickler.

    Args:
        path: local file; also one that Python 2 wrote.
        allowed: classes and functions that may be rebuilt besides tensors and plain values, or pairs of one and the name
            that it stands in for; each must be harmless.

    Raises:
        InvalidCheckpoint: missing, truncated, another kind of file, or asking for anything that is not allowed.
    """
    if identify(path).key not in _READABLE:
        raise _stranger(path, "a PyTorch file")
    with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the encoding is unusual, and that the protocol is not the default
        try:
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")  # Python 2's text
        except Exception as error:  # the unpickler meets arbitrary bytes: whatever it stumbles over, the file is bad
            raise InvalidCheckpoint(_refusal(path, error)) from None


def bare_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under the names of the bare model, without what wrappers add at any depth.

    A moving average's counter is dropped. Where two names would become one, all stay as they are.

    >>> list(bare_names({"module._orig_mod.fc.weight": 1, "encoder.module.fc.weight": 2}))
    ['fc.weight', 'encoder.fc.weight']
    """
    plain = {str(name): value for name, value in state.items()}
    averaged = {name.removeprefix(_AVERAGE): value for name, value in plain.items() if name.startswith(_AVERAGE)}
    plain = averaged or plain
    weights = {name: value for name, value in plain.items() if name not in _COUNTERS}
    if weights and all(_WRAPPERS & set(name.split(".")[:-1]) for name in weights):
        plain = weights
    names = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in plain}
    if len(set(names.values())) < len(names) or "" in names.values():
        return plain
    return {names[name]: value for name, value in plain.items()}


def require_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that are NaN or infinite: every score would be NaN.

    Args:
        state: named tensors.
        what: where they came from, for the message.

    Raises:
        InvalidCheckpoint: names the first such tensor. A mask may hold -inf.
    """
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not _is_finite(name, tensor)]
    if bad:
        tensor = state[bad[0]]
        count = int((~torch.isfinite(tensor.float())).sum())
        raise InvalidCheckpoint(
            f"{what}: '{bad[0]}' holds {count} NaN or infinite value{'s' * (count > 1)} of {tensor.numel():,}"
            f"{_others(bad, 'tensors too')}; its training diverged, take an earlier checkpoint"
        )


def _is_finite(name: str, tensor: Tensor) -> bool:
    values = tensor.float() if tensor.element_size() < 2 else tensor  # 8-bit floats have no such test
    if name.endswith("mask"):
        values = values.masked_fill(values == -torch.inf, 0)
    return bool(torch.isfinite(values).all())


def _stranger(path: Path, expected: str) -> InvalidCheckpoint:
    kind = identify(path).key
    if kind == "missing":
        return InvalidCheckpoint(f"no checkpoint at {path}; expected {expected}")
    advice = _ADVICE.get(kind, "give the file that the training script saved")
    return InvalidCheckpoint(mismatch(path, expected, advice))


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load named tensors into a module when names and shapes all agree.

    Args:
        module: receives the values.
        state: named tensors.
        what: where they came from, for the message.

    Raises:
        InvalidCheckpoint: names the first missing, surplus or misshapen tensor; the module is then unchanged.
    """
    own = module.state_dict()
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    misshapen = sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
    if misshapen:
        name = misshapen[0]
        raise InvalidCheckpoint(
            f"{what}: '{name}' has shape {tuple(state[name].shape)} but the model expects {tuple(own[name].shape)}"
            f"{_others(misshapen)}; use the configuration that the weights were made with"
        )
    if missing or surplus:
        kinds = (("missing", missing), ("surplus", surplus))
        complaints = [f"{len(names)} {kind} (first: '{names[0]}')" for kind, names in kinds if names]
        raise InvalidCheckpoint(
            f"{what}: its tensors are not those of the model: {' and '.join(complaints)}; "
            "use the configuration that the weights were made with"
        )
    module.load_state_dict(dict(state))


def _refusal(path: Path, error: Exception) -> str:
    unsafe = _unsafe_globals(path, str(error))
    if unsafe:
        return (
            f"{path} is refused: its pickle asks for {', '.join(unsafe[:3])}, and no pickled code is ever executed; "
            "convert the weights to safetensors with the program that made them"
        )
    return (
        f"{path} is {identify(path).title} but not a readable checkpoint (truncated or another format): "
        f"{type(error).__name__}: {one_line(error)}"
    )


def _unsafe_globals(path: Path, message: str) -> list[str]:
    """What the pickle would import beyond what is allowed; empty where it is damaged rather than unsafe."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # formats before PyTorch 1.6, which that function does not read
        return re.findall(r"GLOBAL ([\w.]+)", message)


def _named_tensors(value: Any, path: Path) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            averaged = [name for name in _AVERAGED if isinstance(value.get(name), Mapping)]
            if averaged:
                _log.warning("%s: its '%s' is read, not the moving average in '%s'", path, key, averaged[0])
            value = value[key]
    for key in _AVERAGED:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            _log.info("%s: the moving average of the weights in its '%s' is read", path, key)
            value = value[key]
    tensors = {str(k): v for k, v in value.items() if isinstance(v, Tensor)} if isinstance(value, Mapping) else {}
    if not tensors:
        content = f"it is a {type(value).__name__}"
        if isinstance(value, Mapping):
            content = f"its keys: {', '.join(map(str, list(value)[:5])) or 'none'}"
        raise InvalidCheckpoint(f"{path} holds no named tensors ({content}); expected a state dict")
    return tensors


def _others(names: Sequence[str], differ: str = "others differ") -> str:
    return f" (and {len(names) - 1} {differ})" if len(names) > 1 else ""
