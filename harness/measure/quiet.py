"""Quiet measurement: while one process measures what a scorer costs, the trainings of the same user on the same machine
wait between two steps.

Runs that train beside each other would otherwise be timed beside each other. A measurement takes seconds, and a training
that waits loses no more; step timings and seconds of epochs leave the wait out (`working_time`). A process that does not
pass by within `PATIENCE_SECONDS`, and programs of others, are not waited for: `other_cpu_percent` tells of them.

Those that compute on one device wait for each other: on the CPU, or on one GPU. A measurement on a GPU does not stop
trainings on another one, whose work takes little of a CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.machine.turnstile import Turnstile, is_on, pass_by, working_time

__all__ = ["alone", "pass_by", "working", "working_time"]


@contextmanager
def working(device: torch.device | str, leads: bool = True) -> Iterator[None]:
    """This block computes on a device, and lets others measure between two pieces of work: see `pass_by`.

    Blocks within each other count as one.

    Args:
        device: what is computed on.
        leads: whether this process is the first of those that train one model together. The others wait for the first
            one in every step, so it alone passes by; a measurement would wait in vain for one that waits for another.
    """
    if not is_on() or not leads:
        yield
        return
    with _turnstile(_name(torch.device(device))).inside():
        yield


@contextmanager
def alone(device: torch.device | str) -> Iterator[bool]:
    """This block measures: it begins when those that compute on the same device wait, and at the latest after
    `harness.machine.turnstile.PATIENCE_SECONDS`.

    Yields:
        Whether all of them wait.
    """
    if not is_on():
        yield False
        return
    with _turnstile(_name(torch.device(device))).alone() as quiet:
        yield quiet


def _name(device: torch.device) -> str:
    """One name for a device, whichever number it has in this process."""
    if device.type != "cuda":
        return device.type
    return f"gpu-{torch.cuda.get_device_properties(device).uuid}"


@functools.cache
def _turnstile(name: str) -> Turnstile:
    return Turnstile(name)
