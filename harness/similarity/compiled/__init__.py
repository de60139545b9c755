"""Kernels for a CPU, compiled by numba: what torch would compute in many passes over a tile, in one."""
