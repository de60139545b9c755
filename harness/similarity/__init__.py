"""The fine-grained similarity kernels that scorers share, imported only when used.

`max_sim` and `cross_attention` take padded tensors with masks and are differentiable; the poolings and attention
normalisations they are built from are tables from a config value to a component.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.similarity.assignment import max_sim
    from harness.similarity.attention import ATTENTION_NORMS, cross_attention
    from harness.similarity.attention_kernel import CrossAttentionKernel
    from harness.similarity.kernels import Kernel, MaxSimKernel, PackedForm
    from harness.similarity.pooling import LogSumExp, Max, Mean, Pooling, SoftmaxMean, Sum

__all__ = [
    "ATTENTION_NORMS",
    "CrossAttentionKernel",
    "Kernel",
    "LogSumExp",
    "Max",
    "MaxSimKernel",
    "Mean",
    "PackedForm",
    "Pooling",
    "SoftmaxMean",
    "Sum",
    "cross_attention",
    "max_sim",
]

_MODULES = {
    "ATTENTION_NORMS": "attention",
    "CrossAttentionKernel": "attention_kernel",
    "Kernel": "kernels",
    "MaxSimKernel": "kernels",
    "PackedForm": "kernels",
    "cross_attention": "attention",
    "max_sim": "assignment",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'pooling')}")
    value = globals()[name] = getattr(module, name)
    return value
