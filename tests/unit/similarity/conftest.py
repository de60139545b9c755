"""Without a GPU, the kernels written in Triton run in its interpreter, on the CPU."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a module of kernels is imported
