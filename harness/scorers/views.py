"""Views of a scorer: the same parameters under other settings of its own, for levels that rank alone."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from harness.scorer import Scorer

ScorerT = TypeVar("ScorerT", bound=Scorer)


def view(scorer: ScorerT, **settings: Any) -> ScorerT:
    """A scorer that shares every parameter with `scorer` but has other values for some plain attributes.

    Only for scoring: both are one model, so a view is neither trained nor saved.

    >>> class Scaled(Scorer):
    ...     factor = 1.0
    >>> scorer = Scaled()
    >>> view(scorer, factor=2.0).factor, scorer.factor
    (2.0, 1.0)
    """
    other = copy.copy(scorer)
    for name, value in settings.items():
        setattr(other, name, value)
    return other
