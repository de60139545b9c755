"""Generalized pooling: one learned weight per rank pools a set of fragments of any size into one vector.

Shape letters: N items, F fragments per item, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Wavelengths of the position code grow to this many positions times two pi, as in a Transformer.
LONGEST_WAVE = 10_000.0


class GeneralizedPooling(nn.Module):
    """GPO: each feature is sorted over the set, and one learned weight per rank serves all features.

    The weights depend only on the size of the set: a GRU reads the codes of the ranks 0..F-1 in both directions.

    Source:
        Chen et al., VSE-infinity, CVPR 2021, section 3, and the authors' code. Differs: padding is -inf in the sort and
        in the softmax, where the code writes -10000; the weights are computed once for each size that occurs.
    """

    def __init__(self, code_width: int = 32, hidden_width: int = 32, temperature: float = 0.1):
        super().__init__()
        self.code_width, self.temperature = code_width, temperature
        self.gru = nn.GRU(code_width, hidden_width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(hidden_width, 1, bias=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Pool `features` (N, F, D) under `mask` (N, F) to (N, D)."""
        hidden = features.masked_fill(~mask[..., None], -torch.inf)
        ranked = hidden.sort(dim=1, descending=True).values
        ranked = ranked.masked_fill(~_first(mask.sum(1), mask.shape[1])[..., None], 0)
        return (self.weights(mask.sum(1), mask.shape[1])[..., None] * ranked).sum(1)

    def weights(self, sizes: Tensor, longest: int) -> Tensor:
        """Weights (N, longest) of the ranks of sets of `sizes` (N,) >= 1; each row sums to 1, 0 beyond its size."""
        # At evaluation all sizes that there could be: the network's last bits show how many it reads at once.
        every = torch.arange(1, longest + 1, device=sizes.device)
        distinct, row = sizes.unique(return_inverse=True) if self.training else (every, sizes - 1)
        # Half precision would spoil a softmax at temperature 0.1.
        with torch.autocast(sizes.device.type, enabled=False):
            codes = position_codes(longest, self.code_width).to(self.output.weight)
            packed = nn.utils.rnn.pack_padded_sequence(
                codes.expand(len(distinct), -1, -1), distinct.cpu(), batch_first=True, enforce_sorted=False
            )
            states, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
            logits = self.output(states.unflatten(-1, (2, -1)).mean(-2)).squeeze(-1) / self.temperature
            return logits.masked_fill(~_first(distinct, longest), -torch.inf).softmax(1)[row]


def position_codes(length: int, width: int) -> Tensor:
    """Sines (even columns) and cosines (odd) of the positions 0..length-1 at falling frequencies, (length, width).

    >>> position_codes(2, 2)  # one frequency: 1 radian per position
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(LONGEST_WAVE) / width))
    angle = torch.arange(length)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def _first(counts: Tensor, longest: int) -> Tensor:
    """(N, longest) bool: True at the first `counts` (N,) positions of each row."""
    return torch.arange(longest, device=counts.device) < counts[:, None]
