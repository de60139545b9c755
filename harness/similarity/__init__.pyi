from .dispatch import max_sim
from .packed.attention import CrossAttentionKernel
from .packed.kernels import Kernel, MaxSimKernel, PackedForm
from .pooling import LogSumExp, Max, Mean, Pooling, SoftmaxMean, Sum
from .reference.attention import ATTENTION_NORMS, cross_attention, paired_attention

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
    "paired_attention",
]
