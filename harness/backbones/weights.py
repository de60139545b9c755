"""Reading weights without executing anything: safetensors, or pickles that hold tensors and plain values only."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.errors import InvalidCheckpoint

_NESTED = ("state_dict", "model", "model_state_dict")  #: keys under which training scripts keep the weights
_WRAPPERS = ("module.", "_orig_mod.")  #: prefixes of DataParallel and torch.compile


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Named tensors of a `.safetensors` file or of a PyTorch file, on the CPU.

    Args:
        path: local file. A PyTorch file is read with `weights_only=True`: a pickle that asks for code is refused.

    Raises:
        InvalidCheckpoint: missing, truncated, unsafe, or without named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidCheckpoint(f"no weights at {path}; expected a .safetensors or PyTorch file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InvalidCheckpoint(f"{path} is not a readable safetensors file: {one_line(error)}") from None
    return _named_tensors(read_safe_pickle(path), path)


def read_safe_pickle(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """What a PyTorch file holds, by PyTorch's restricted unpickler.

    Args:
        path: local file; also one that Python 2 wrote.
        allowed: classes and functions that may be rebuilt besides tensors and plain values, or pairs of one and the name
            that it stands in for; each must be harmless.

    Raises:
        InvalidCheckpoint: missing, truncated, or asking for anything that is not allowed.
    """
    if not path.is_file():
        raise InvalidCheckpoint(f"no checkpoint at {path}; expected a PyTorch file")
    with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the encoding is unusual, and that the protocol is not the default
        try:
            return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")  # Python 2's text
        except Exception as error:  # the unpickler meets arbitrary bytes: whatever it stumbles over, the file is bad
            raise InvalidCheckpoint(_refusal(path, error)) from None


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
        complaints = [
            f"{len(names)} {kind} (first: '{names[0]}')"
            for kind, names in (("missing", missing), ("surplus", surplus))
            if names
        ]
        raise InvalidCheckpoint(
            f"{what}: its tensors are not those of the model: {' and '.join(complaints)}; "
            "use the configuration that the weights were made with"
        )
    module.load_state_dict(dict(state))


def one_line(error: BaseException) -> str:
    """The first sentence or so of an exception's text, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _refusal(path: Path, error: Exception) -> str:
    unsafe = _unsafe_globals(path, str(error))
    if unsafe:
        return (
            f"{path} is refused: its pickle asks for {', '.join(unsafe[:3])}, and no pickled code is ever executed; "
            "convert the weights to safetensors with the program that made them"
        )
    return (
        f"{path} is not a readable checkpoint (truncated or another format): {type(error).__name__}: {one_line(error)}"
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
            value = value[key]
    tensors = {k: v for k, v in value.items() if isinstance(v, Tensor)} if isinstance(value, Mapping) else {}
    if not tensors:
        raise InvalidCheckpoint(f"{path} holds no named tensors; expected a state dict")
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _others(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} others differ)" if len(names) > 1 else ""
