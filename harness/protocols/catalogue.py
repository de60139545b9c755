"""Protocols by name. One pass over the scores gives the numbers of all that fit them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import InvalidProtocol, UnknownName
from harness.protocols.base import Evaluation, Protocol, Subject
from harness.records.ties import Ties
from harness.settings.components import Catalogue

if TYPE_CHECKING:
    from harness.metrics import Question, Similarity

logger = logging.getLogger(__name__)


class Protocols(Catalogue[Protocol]):
    """Protocols by name; `human@3.5` is `human` with 3.5 as the smallest mean grade of a relevant pair."""

    def get(self, name: str) -> Protocol:
        """The protocol of that name.

        Raises:
            UnknownName: there is none.
            InvalidProtocol: a threshold that no grade can reach, or of a protocol that has none.

        >>> PROTOCOLS.get("human@3.5").positives
        'own pairs, and mean expert grade >= 3.5'
        """
        base, at, threshold = name.partition("@")
        protocol = super().get(base)
        return protocol.at(threshold) if at else protocol


PROTOCOLS = Protocols(
    "protocol",
    {
        "full": "harness.protocols.folds:FULL",
        "flickr30k_1k": "harness.protocols.folds:FLICKR30K_1K",
        "coco_1k": "harness.protocols.folds:COCO_1K",
        "coco_5k": "harness.protocols.folds:COCO_5K",
        "cxc": "harness.protocols.coco:CXC",
        "eccv_caption": "harness.protocols.coco:ECCV_CAPTION",
        "pmrp": "harness.protocols.coco:PMRP",
        "human": "harness.protocols.human:HUMAN",
        "human_crowd": "harness.protocols.human:HUMAN_CROWD",
        "scenes_relevance": "harness.protocols.scenes:SCENES_RELEVANCE",
    },
)
#: Protocols with the same queries, gallery and positives wherever they fit, so that the ranks of one are those of all.
SAME_NUMBERS = frozenset(("full", "flickr30k_1k", "coco_5k"))
get = PROTOCOLS.get


def report(names: Iterable[str], subject: Subject) -> None:
    """Log how the files of some protocols fit a test set, one line per protocol that has any."""
    for name in names:
        line = get(name).report(subject)
        if line:
            logger.info("%s", line)


def evaluate(
    name: str,
    similarity: Similarity,
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

    Raises:
        UnknownName: no such protocol.
        InvalidProtocol: the protocol does not fit; the message says what is missing.
        InvalidSimilarity: as `harness.metrics.ranks`.

    >>> evaluate("full", np.eye(3), np.arange(3), ["a", "b", "c"], ["x", "y", "z"]).metrics["rsum"]
    600.0
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


def evaluate_all(
    names: Iterable[str], similarity: Similarity, subject: Subject, ties: Sequence[Ties] = ("pessimistic",)
) -> dict[str, dict[Ties, Evaluation]]:
    """Several protocols under several tie rules, from one pass over the scores.

    Args:
        names: of the protocols.
        similarity: (I, T); a matrix, or a source that gives it tile by tile.
        subject: what was scored.
        ties: the rules.

    Raises:
        UnknownName, InvalidProtocol, InvalidSimilarity: as `evaluate`.

    >>> subject = Subject(image_ids=["a", "b"], caption_ids=["x", "y"], caption_image=np.arange(2))
    >>> evaluate_all(["full"], np.eye(2), subject)["full"]["pessimistic"].metrics["rsum"]
    600.0
    """
    return evaluate_with(names, similarity, subject, ties)[0]


def evaluate_with(
    names: Iterable[str],
    similarity: Similarity,
    subject: Subject,
    ties: Sequence[Ties] = ("pessimistic",),
    questions: Sequence[Question] = (),
) -> tuple[dict[str, dict[Ties, Evaluation]], list[Any]]:
    """As `evaluate_all`, and the answers of further questions, from the same pass over the scores."""
    found = {name: get(name) for name in names}
    of_rule, answers = counted(tuple(found.values()), similarity, subject, questions)
    return {name: {rule: one(rule) for rule in ties} for name, one in zip(found, of_rule, strict=True)}, answers


def counted(
    protocols: Sequence[Protocol], similarity: Similarity, subject: Subject, questions: Sequence[Question] = ()
) -> tuple[list[Callable[[Ties], Evaluation]], list[Any]]:
    """What each protocol makes of one pass over the scores, as a function of the tie rule, and answers of further questions.

    Raises:
        InvalidProtocol, InvalidSimilarity: as `evaluate`.
    """
    from harness.metrics import count, source_of  # here, not above: the list of protocols needs no torch

    source = source_of(similarity)
    for protocol in protocols:
        protocol.check(subject)
    asked = [protocol.ask(subject) for protocol in protocols]
    answers = iter(count(source, [*(question for one in asked for question in one.questions), *questions]))
    return [partial(one.evaluation, [next(answers) for _ in one.questions]) for one in asked], list(answers)


def fitting(subject: Subject) -> tuple[list[str], dict[str, str]]:
    """The protocols that fit a test set, and the others with the reason why each does not."""
    fit, refused = [], {}
    for name in PROTOCOLS:
        try:
            get(name).check(subject)
            fit.append(name)
        except InvalidProtocol as error:
            refused[name] = str(error)
    return fit, refused


def fits(name: str, subject: Subject) -> bool:
    """Whether a protocol of that name exists, perhaps with a threshold, and fits a test set."""
    try:
        get(name).check(subject)
    except (UnknownName, InvalidProtocol):
        return False
    return True


def summary(metrics: dict[str, dict[str, float]]) -> str:
    """The headline of every protocol of a record on one line, also of protocols that no longer exist."""
    parts = []
    for name, values in metrics.items():
        base = name.partition("@")[0]
        protocol = get(base if base in PROTOCOLS else "full")
        parts.append(f"{name} {protocol.summary(values)}".strip())
    return "; ".join(parts)
