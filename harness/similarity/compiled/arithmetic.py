"""The exponential of a vector's lanes. Imported only where numba is."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.lanes import INLINED, add, fma, multiply, power_of_two, splat, subtract

_LOG2_E = np.float32(1.44269504)
#: ln 2 in two parts, the first of few bits, so that its multiples are exact.
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
#: Added and subtracted, rounds to the nearest integer: 1.5 * 2^23.
_ROUNDS = np.float32(12582912.0)
#: Of exp(r) = 1 + r + r^2 p(r) on |r| <= ln(2) / 2 (Cephes, expf).
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE = np.float32(1)


@njit(**INLINED)
def exponential(x):
    """exp(x) of |x| < 80."""
    turns = subtract(fma(x, splat(_LOG2_E), splat(_ROUNDS)), splat(_ROUNDS))
    rest = fma(turns, splat(_LN2_LOW), fma(turns, splat(_LN2_HIGH), x))
    p = fma(fma(splat(_P0), rest, splat(_P1)), rest, splat(_P2))
    p = fma(fma(fma(p, rest, splat(_P3)), rest, splat(_P4)), rest, splat(_P5))
    return multiply(add(fma(p, multiply(rest, rest), rest), splat(_ONE)), power_of_two(turns))
