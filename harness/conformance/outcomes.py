"""What became of rules: the result of each, run alone, in one thread, from one state of every random generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from harness.conformance.expect import Violation
from harness.errors import one_line
from harness.plugins import place_of

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True)
class CheckResult:
    """What became of one rule."""

    name: str  #: of the rule
    passed: bool  #: whether it is kept
    detail: str = ""  #: what was expected and what was found; empty if the rule is kept


def outcomes(rules: Mapping[str, Callable[[SubjectT], None]], subject: Callable[[], SubjectT]) -> list[CheckResult]:
    """The result of each rule, in their order.

    Args:
        rules: by name; each raises a `Violation` where it is broken.
        subject: makes what is examined, anew for each rule.
    """
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a part that is random when it should not be is found out every time, or never
        return [_outcome(name, rule, subject) for name, rule in rules.items()]


def _outcome(name: str, rule: Callable[[SubjectT], None], subject: Callable[[], SubjectT]) -> CheckResult:
    try:
        rule(subject())
    except Violation as violation:
        return CheckResult(name, False, str(violation))
    except Exception as error:  # whatever the part raises is its failure
        place = place_of(error)
        where = f" at {place}" if place else ""
        return CheckResult(name, False, f"raised {type(error).__name__}{where}: {one_line(error)}")
    return CheckResult(name, True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: on a busy machine, threads that wait for each other make the checks eight times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
