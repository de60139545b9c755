"""Protocols: which images, captions and positives a number is about. One scored matrix gives the numbers of all.

`full` and `coco_5k` have one gallery; `coco_1k` is the mean over five of 1,000 images in file order. `cxc`,
`eccv_caption`, `pmrp`, `human`, `human_crowd` and `scenes_relevance` know more correct pairs than the dataset's own.
`human@3.5` sets the threshold of the experts' mean grade.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from harness.errors import InvalidProtocol, UnknownName
from harness.protocols.base import Evaluation, Protocol, Subject
from harness.protocols.coco import CocoJudgements
from harness.protocols.folds import FoldProtocol
from harness.protocols.human import HumanJudgements
from harness.protocols.scenes import ExactRelevance
from harness.records.ties import Ties

__all__ = [
    "PROTOCOLS",
    "SAME_NUMBERS",
    "Evaluation",
    "Protocol",
    "Subject",
    "evaluate",
    "fitting",
    "get",
    "report",
    "summary",
]

log = logging.getLogger(__name__)
_JUDGED = "every image and caption that was judged"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        FoldProtocol(
            name="full",
            description="every image of the test split against every caption (Flickr30K 1K, Flickr8k 1K, scenes)",
        ),
        FoldProtocol(
            name="flickr30k_1k",
            description="Flickr30K: 'full' on its 1,000 test images",
            count=1000,
            title="flickr30k",
        ),
        FoldProtocol(
            name="coco_1k",
            description="COCO: mean over five folds of 1,000 images in file order",
            gallery="the captions and images of the query's fold",
            count=5000,
            folds=5,
        ),
        FoldProtocol(name="coco_5k", description="COCO: all 5,000 test images in one gallery", count=5000),
        CocoJudgements(
            name="cxc",
            description="Crisscrossed Captions: COCO 5K with the pairs that people graded as matching",
            queries="5,000 images, 24,972 captions",
            positives="CxC's pairs (package eccv_caption)",
            stem="cxc",
            headline=("rsum", "i2t_r1", "t2i_r1"),
        ),
        CocoJudgements(
            name="eccv_caption",
            description="ECCV Caption: COCO 5K with matches found by machines and verified by people",
            queries="1,261 images, 1,332 captions",
            positives="ECCV Caption's pairs (package eccv_caption)",
            stem="eccv",
        ),
        CocoJudgements(
            name="pmrp",
            description="Plausible matches on COCO 5K: R-Precision where the files pm_*.json are given",
            positives="pairs that share object classes (pm_image_to_caption.json, pm_caption_to_image.json)",
            stem="pm",
            packaged=False,
            headline=("i2t_r_precision", "t2i_r_precision"),
        ),
        HumanJudgements(
            name="human",
            description="Flickr8k: pairs that experts graded 3 or better on average (human@3.5: another threshold)",
            queries=_JUDGED,
            positives="own pairs, and mean expert grade >= 3 (ExpertAnnotations.txt)",
            metric="mAP@R, R-Precision, R@1, 5, 10; Kendall, Spearman of scores with grades",
            judges="expert",
            threshold=3.0,
            headline=("rsum", "human_expert_kendall", "human_expert_spearman"),
        ),
        HumanJudgements(
            name="human_crowd",
            description="Flickr8k: pairs that most crowd workers called right",
            queries=_JUDGED,
            positives="own pairs, and a majority of yes (CrowdFlowerAnnotations.txt)",
            metric="mAP@R, R-Precision, R@1, 5, 10; Kendall, Spearman of scores with grades",
            judges="crowd",
            threshold=0.5,
            strict=True,
            headline=("rsum", "human_crowd_kendall", "human_crowd_spearman"),
        ),
        ExactRelevance(
            name="scenes_relevance",
            description="exact relevance of generated data: how often is a wrong first item right in truth?",
            positives="every true pair (Split.relevance)",
            headline=("rsum", "i2t_map_at_r", "t2i_map_at_r"),
        ),
    )
}

#: Protocols with the same queries, gallery and positives wherever they fit, so that the ranks of one are those of all.
SAME_NUMBERS = frozenset(("full", "flickr30k_1k", "coco_5k"))


def report(names: Iterable[str], subject: Subject) -> None:
    """Say in the log how the files of some protocols fit a test set, one line a protocol that has any."""
    for name in names:
        line = get(name).report(subject)
        if line:
            log.info("%s", line)


def get(name: str) -> Protocol:
    """The protocol of that name; `human@X` is `human` with X as the smallest mean grade of a relevant pair.

    Raises:
        UnknownName: there is none.
        InvalidProtocol: a threshold that no grade can reach, or of a protocol that has none.
    """
    base, at, text = name.partition("@")
    if base not in PROTOCOLS:
        raise UnknownName("protocol", base, PROTOCOLS)
    protocol = PROTOCOLS[base]
    if not at:
        return protocol
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not isinstance(protocol, HumanJudgements) or protocol.judges != "expert" or not 1 < threshold <= 4:
        raise InvalidProtocol(
            f"protocol '{name}': only human takes a threshold, above 1 and at most 4, as in human@3.5"
        )
    return replace(
        protocol, name=name, threshold=threshold, positives=f"own pairs, and mean expert grade >= {threshold:g}"
    )


def evaluate(
    name: str,
    similarity: Tensor | np.ndarray,
    caption_image: np.ndarray,
    image_ids: Sequence[str],
    caption_ids: Sequence[str],
    ties: Ties = "pessimistic",
    *,
    relevance: np.ndarray | None = None,
    title: str = "",
    root: Path | None = None,
) -> Evaluation:
    """Evaluate one protocol on a scored matrix.

    Args:
        name: of the protocol.
        similarity: (I, T).
        caption_image: (T,) image row of each caption.
        image_ids: I ids.
        caption_ids: T ids.
        ties: see `harness.metrics.RankCounts.ranks`.
        relevance, title, root: see `Subject`.

    Returns:
        The metrics, the per-query ranks and what the numbers rest on.

    Raises:
        UnknownName: no such protocol.
        InvalidProtocol: the protocol does not fit; the message says what is missing.
        InvalidSimilarity: as `harness.metrics.ranks`.
    """
    subject = Subject(
        image_ids=image_ids,
        caption_ids=caption_ids,
        caption_image=np.asarray(caption_image),
        relevance=relevance,
        title=title,
        root=root,
    )
    return get(name).evaluate(similarity, subject, ties)


def fitting(subject: Subject) -> tuple[list[str], dict[str, str]]:
    """The protocols that fit a test set, and the others with the reason why each does not."""
    fit, refused = [], {}
    for name, protocol in PROTOCOLS.items():
        try:
            protocol.check(subject.images, subject)
            fit.append(name)
        except InvalidProtocol as error:
            refused[name] = str(error)
    return fit, refused


def summary(metrics: dict[str, dict[str, float]]) -> str:
    """The headline of every protocol of a record on one line, also of protocols that no longer exist."""
    parts = []
    for name, values in metrics.items():
        base = name.partition("@")[0]
        protocol = PROTOCOLS.get(base, PROTOCOLS["full"])
        parts.append(f"{name} {protocol.summary(values)}".strip())
    return "; ".join(parts)
