"""Units of metrics, for the columns of frames."""

from __future__ import annotations

import re

_PERCENT = re.compile(r"(i2t|t2i)_(r\d+(_own_pair)?|map_at_r|r_precision|top1_outside_pair_correct)")


def unit_of(metric: str) -> str:
    """The unit of a metric; "" where it has none, or its own name says it.

    >>> [unit_of(name) for name in ("t2i_r1", "rsum", "i2t_medr", "tie_rate")]
    ['percent', '0 to 600', 'rank, from 1', '0 to 1']
    """
    if _PERCENT.fullmatch(metric):
        return "percent"
    if metric.endswith(("_medr", "_meanr")):
        return "rank, from 1"
    return {"rsum": "0 to 600", "tie_rate": "0 to 1"}.get(metric, "")
