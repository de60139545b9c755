"""Protocols: which images, captions and positives a number is about.

`full` and `coco_5k` have one gallery; `coco_1k` is the mean over five of 1,000 images in file order. `cxc`,
`eccv_caption`, `pmrp`, `human`, `human_crowd` and `scenes_relevance` know more correct pairs than the dataset's own.
"""

from harness.protocols.base import Asked, Evaluation, Protocol, Subject
from harness.protocols.catalogue import (
    PROTOCOLS,
    SAME_NUMBERS,
    evaluate,
    evaluate_all,
    evaluate_with,
    fits,
    fitting,
    get,
    report,
    summary,
)

__all__ = [
    "PROTOCOLS",
    "SAME_NUMBERS",
    "Asked",
    "Evaluation",
    "Protocol",
    "Subject",
    "evaluate",
    "evaluate_all",
    "evaluate_with",
    "fits",
    "fitting",
    "get",
    "report",
    "summary",
]
