"""Running the rules on a scorer, by name or from a factory."""

from __future__ import annotations

from collections.abc import Callable

from harness import registry
from harness.conformance.outcomes import CheckResult, outcomes
from harness.conformance.rules import RULES
from harness.conformance.subject import Subject
from harness.errors import ItmError
from harness.scorer import Scorer


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
    return outcomes(RULES, lambda: Subject(make))
