"""A power of two of a vector's lanes. Imported only where numba is."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit

from harness.similarity.compiled.lanes import INLINED, add, fma, multiply, power_of_sum, splat, subtract

#: Added, rounds to the nearest integer, and leaves it in the last bits: 1.5 * 2^23.
_ROUNDS = np.float32(12582912.0)
#: Of 2^r = 1 + r p(r) on |r| <= 1/2, of least relative error (2e-9 before they are rounded).
_P0, _P1, _P2 = np.float32(1.535336341476068e-4), np.float32(1.3398875016719103e-3), np.float32(9.61843691766262e-3)
_P3, _P4, _P5 = np.float32(5.5503323674201965e-2), np.float32(2.4022647738456726e-1), np.float32(6.931471824645996e-1)
_ONE = np.float32(1)


@njit(**INLINED)
def power_of_two(x):
    """2^x of |x| < 126."""
    turns = add(x, splat(_ROUNDS))
    rest = subtract(x, subtract(turns, splat(_ROUNDS)))  # exact
    p = fma(fma(fma(splat(_P0), rest, splat(_P1)), rest, splat(_P2)), rest, splat(_P3))
    p = fma(fma(fma(p, rest, splat(_P4)), rest, splat(_P5)), rest, splat(_ONE))
    return multiply(p, power_of_sum(turns))
