"""Files of tensors, read as arrays by torch. No pickle is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.backbones.weights import read_safe_pickle
from harness.errors import InvalidSimilarity, reported_as
from harness.files.pickles import STAND_INS, plain


def read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, as arrays.

    Raises:
        InvalidSimilarity: no readable safetensors file.
    """
    with reported_as(InvalidSimilarity, f"{path} is not a readable safetensors file"):
        return {name: _array(value) for name, value in load_file(path).items()}


def read_torch(path: Path) -> Any:
    """What a PyTorch file holds: a mapping or one value, its tensors as arrays.

    Raises:
        InvalidCheckpoint: no readable PyTorch file, or a pickle that asks for code.
    """
    value = plain(read_safe_pickle(path, [(stand_in, name) for name, stand_in in STAND_INS.items()]))
    return {name: _array(item) for name, item in value.items()} if isinstance(value, Mapping) else _array(value)


def _array(value: Any) -> Any:
    """A tensor as a numpy array; bfloat16, which numpy lacks, as float32."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
