"""Float32 arithmetic of the compiled kernels: each operation is rounded as written, in every lane of every loop.

A compiler that may contract `a * b + c` does so in one loop and not in its remainder, and equal columns then differ in the last
bit. So nothing may be contracted (numba's default), and a fused multiply-add is one because it is called.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

#: How every kernel is compiled: other Python threads run meanwhile, a zero denominator gives inf, the code is kept on disk.
OPTIONS = {"nogil": True, "error_model": "numpy", "cache": True}
#: How their parts are: put in where they are called, since arrays that are handed over are counted, which takes longer than a
#: short loop.
INLINED = {"inline": "always"}

_LOG2_E = np.float32(1.44269504)
#: ln 2 in two parts, the first of few bits, so that its multiples are exact.
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
#: Added and subtracted, rounds to the nearest integer: 1.5 * 2^23.
_ROUNDS = np.float32(12582912.0)
#: Of exp(r) = 1 + r + r^2 p(r) on |r| <= ln(2) / 2 (Cephes, expf).
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE, _BIAS, _MANTISSA = np.float32(1), np.int32(127), np.int32(23)


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, rounded once."""
    return types.float32(types.float32, types.float32, types.float32), lambda _, builder, __, args: builder.fma(*args)


@njit(**INLINED)
def exp_parts(x, mantissas, exponents, count):
    """exp(x) of |x| < 80 as a float32 in about [0.7, 1.5] and the bits of a power of two, (count,) each."""
    for j in range(count):
        turns = fma(x[j], _LOG2_E, _ROUNDS) - _ROUNDS
        rest = fma(turns, _LN2_LOW, fma(turns, _LN2_HIGH, x[j]))
        p = fma(fma(fma(fma(fma(_P0, rest, _P1), rest, _P2), rest, _P3), rest, _P4), rest, _P5)
        mantissas[j] = fma(p, rest * rest, rest) + _ONE
        exponents[j] = (np.int32(turns) + _BIAS) << _MANTISSA
