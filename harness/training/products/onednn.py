"""Products of a training step by oneDNN instead of the library that torch was built with.

On a CPU torch multiplies float32 matrices by MKL, which takes its widest instructions on Intel's processors only. oneDNN
takes what a processor has. `OneDnnProducts` sends it the products of a block, those of the backward pass, of recurrent
layers and of towers among them, wherever they are written. It depends on layout and shape alone what is sent: a product
that is too small to repay its copies stays with torch.

`TorchDispatchMode` is imported from where torch's manual ("Extending PyTorch") has it, despite the underscore.

Shape letters: m rows and n columns of a product, k terms of each sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: Smallest product that is sent: operations, and extent of each side.
LEAST_WORK, LEAST_EXTENT = 2**24, 64
#: Fewest terms of a sum over rows of both operands: their product is as large as a weight, and is copied.
LEAST_TERMS_OVER_ROWS = 256

_mm, _addmm = torch.ops.aten.mm.default, torch.ops.aten.addmm.default


def available() -> bool:
    """Whether this build of torch has oneDNN, with products for training."""
    wanted = ("mkldnn_linear_backward_input", "mkldnn_linear_backward_weights")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.aten, name) for name in wanted)


class OneDnnProducts(TorchDispatchMode):
    """A context in which float32 matrices on a CPU are multiplied by oneDNN.

    Products with a whole tensor on each side count: `mm`, `addmm`, `linear`, and what they are in the backward pass.
    Others (`bmm`, other types) stay with torch. It holds for the thread that enters it.

    >>> left, right = torch.rand(300, 300), torch.rand(300, 300)
    >>> with OneDnnProducts():
    ...     product = left @ right
    >>> torch.allclose(product, left @ right, rtol=1e-5)
    True
    """

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if (func is _mm or func is _addmm) and not kwargs:
            product = multiplied(*args[-2:])
            if product is not None:
                return product if func is _mm else product.add_(args[0])
        return func(*args, **(kwargs or {}))


def multiplied(left: Tensor, right: Tensor) -> Tensor | None:
    """`left` (m, k) times `right` (k, n) -> (m, n); None where torch should multiply."""
    if not _worth_it(left, right):
        return None
    if _by_rows(left):
        if _by_rows(right.T):
            return F.linear(left.to_mkldnn(), right.T).to_dense()
        if _by_rows(right):
            shape = [len(left), right.shape[1]]
            return torch.ops.aten.mkldnn_linear_backward_input(shape, left.to_mkldnn(), right).to_dense()
    elif _by_rows(left.T) and _by_rows(right) and len(right) >= LEAST_TERMS_OVER_ROWS:
        like = right.new_empty(left.shape[0], right.shape[1])
        sides = left.T.to_mkldnn(), right.to_mkldnn()
        product = torch.ops.aten.mkldnn_linear_backward_weights(*sides, like, False)[0]
        return product.to_dense() if product.is_mkldnn else product
    return None


def _worth_it(left: Tensor, right: Tensor) -> bool:
    if not all(side.dtype == torch.float32 and side.device.type == "cpu" for side in (left, right)):
        return False
    (m, k), n = left.shape, right.shape[1]
    return min(m, k, n) >= LEAST_EXTENT and 2 * m * k * n >= LEAST_WORK


def _by_rows(matrix: Tensor) -> bool:
    """Whether a matrix lies row after row, without gaps."""
    return matrix.stride() == (matrix.shape[1], 1)
