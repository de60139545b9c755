"""Running the rules on a scorer, by name or from a factory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from harness import registry
from harness.conformance.expect import Violation
from harness.conformance.rules import RULES
from harness.conformance.subject import Subject
from harness.errors import ItmError, one_line
from harness.scorer import Scorer


@dataclass(frozen=True)
class CheckResult:
    """What became of one rule."""

    name: str  #: of the rule
    passed: bool  #: whether it is kept
    detail: str = ""  #: what was expected and what was found; empty if the rule is kept


def subjects() -> list[str]:
    """All registered scorers, each followed by its variants: `scan`, `scan.t2i_avg`, ..."""
    found = []
    for name in registry.names():
        found.append(name)
        try:
            found.extend(f"{name}.{variant}" for variant in registry.variants(name))
        except ItmError:
            continue  # it cannot be loaded; its own checks will say why
    return found


def run_contract(name: str) -> list[CheckResult]:
    """Check a registered scorer or one of its variants.

    >>> [result.detail for result in run_contract("scan.t2i_avg") if not result.passed]
    []

    Args:
        name: `scan`, `scan.t2i_avg`.

    Returns:
        One result per rule, in the order of `RULES`.

    Raises:
        UnknownName: no such scorer or variant.
        InvalidPlugin: its module cannot be imported or defines no scorer.
        InvalidSpec: its config is not valid.
    """
    registry.resolve_config(name, {})
    return run_checks(lambda: registry.create(name))


def run_checks(make: Callable[[], Scorer]) -> list[CheckResult]:
    """Check the scorer that a factory makes; as `run_contract`."""
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a scorer that is random when it should not be is found out every time, or never
        return [_outcome(name, Subject(make)) for name in RULES]


def _outcome(name: str, subject: Subject) -> CheckResult:
    try:
        RULES[name](subject)
    except Violation as violation:
        return CheckResult(name, False, str(violation))
    except Exception as error:  # whatever the scorer raises is its failure
        return CheckResult(name, False, f"raised {type(error).__name__}: {one_line(error)}")
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
