"""What all perturbations share: severities 0 to 5, and draws that belong to one item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from harness.errors import InvalidSpec
from harness.probes.base import Level

#: Severities that every perturbation has; 0 is the unchanged input.
SEVERITIES = (1, 2, 3, 4, 5)
AXIS = "severity"


def severity_levels(severities: Sequence[int] = SEVERITIES) -> tuple[Level, ...]:
    """The levels of a probe: the unchanged input, and some severities from mild to severe.

    >>> [level.name for level in severity_levels([5, 1])]
    ['0', '1', '5']

    Raises:
        InvalidSpec: none, one twice, or one that no perturbation has.
    """
    wanted = sorted(severities)
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(SEVERITIES):
        came = ", ".join(map(str, severities)) or "none"
        raise InvalidSpec(f"severities must be distinct whole numbers from 1 to {SEVERITIES[-1]}, got {came}")
    return tuple(Level(str(severity), float(severity)) for severity in (0, *wanted))


def draws_of(*key: str | int) -> np.random.Generator:
    """A stream of draws for one item: equal for equal keys, whichever other items there are and in which order.

    Args:
        key: what the draws are for, such as seed, perturbation and the item's id. A severity in it gives each severity
            draws of its own; without it a severer input is the same damage, only more of it.

    >>> bool(draws_of(0, "noise", "a.jpg").random() == draws_of(0, "noise", "a.jpg").random())
    True
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
