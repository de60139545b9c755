"""Flickr8k's human judgements: captions of other images that people found right, and how well scores agree with people.

Hodosh, Young and Hockenmaier, JAIR 47, 2013. Three experts gave 5,822 pairs of the test split 1 (unrelated) to 4 (describes
the image without errors); crowd workers answered yes or no for 47,830. Each caption judged is the third of its image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from harness.errors import InvalidProtocol
from harness.metrics.counting import PairScores
from harness.metrics.positives import Positives
from harness.protocols.base import Asked, Evaluation, Protocol, Subject
from harness.protocols.judged import Judged, JudgedProtocol, of_queries, own_pairs
from harness.records.ties import Ties

Judges = Literal["expert", "crowd"]
FILES: dict[Judges, str] = {"expert": "ExpertAnnotations.txt", "crowd": "CrowdFlowerAnnotations.txt"}


@dataclass(frozen=True, eq=False)
class Judgements:
    """Graded judgements of J pairs.

    Args:
        image: (J,) image rows.
        caption: (J,) caption columns.
        grade: (J,) the experts' mean, 1..4, or the crowd's share of yes, 0..1.
        votes: (J, 3) the experts' single grades; (J, 1), the grade again, of the crowd.
        unmatched: pairs of the file whose image or caption the subject lacks.
        sha256: of the file.
    """

    image: np.ndarray
    caption: np.ndarray
    grade: np.ndarray
    votes: np.ndarray
    unmatched: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class HumanJudgements(JudgedProtocol):
    """Relevance: the own pairs, and every pair whose grade reaches a threshold. Queries: every image and caption that was judged.

    Args:
        judges: whose file.
        threshold: smallest grade of a relevant pair.
        strict: the grade must exceed the threshold (a majority of yes).
    """

    judges: Judges
    threshold: float
    strict: bool = False
    count: int | None = None
    title: str = "flickr8k"
    pairs_hold: bool = True

    def at(self, threshold: str) -> Protocol:
        """See `Protocol.at`; only experts gave grades."""
        try:
            smallest = float(threshold)
        except ValueError:
            smallest = math.nan
        if self.judges != "expert" or not 1 < smallest <= 4:
            return super().at(threshold)
        return replace(
            self,
            name=f"{self.name}@{threshold}",
            threshold=smallest,
            positives=f"own pairs, and mean expert grade >= {smallest:g}",
        )

    def judged(self, subject: Subject) -> Judged:
        """Relevance of the judged images and captions."""
        found = self._judgements(subject)
        good = found.grade > self.threshold if self.strict else found.grade >= self.threshold - 1e-9
        images, captions = own_pairs(subject)
        rows, columns = np.append(images, found.image[good]), np.append(captions, found.caption[good])
        pairs = int(np.count_nonzero(np.asarray(subject.caption_image)[found.caption[good]] != found.image[good]))
        return Judged(
            of_queries(Positives.from_pairs(rows, columns), found.image),
            of_queries(Positives.from_pairs(columns, rows), found.caption),
            {
                "judgements": len(found.grade),
                "judgements_left_out": found.unmatched,
                "relevant_outside_pairs": pairs,
                "threshold": self.threshold,
                "files": self.files(subject),
            },
        )

    def settled(self, subject: Subject) -> Judged:
        """The own pairs and the judged ones, of the judged images and captions: most pairs nobody looked at."""
        found = self._judgements(subject)
        images, captions = own_pairs(subject)
        rows, columns = np.append(images, found.image), np.append(captions, found.caption)
        return Judged(
            of_queries(Positives.from_pairs(rows, columns), found.image),
            of_queries(Positives.from_pairs(columns, rows), found.caption),
        )

    def ask(self, subject: Subject) -> Asked:
        """The metrics of relevance sets, and rank correlations of scores with grades (-1..1, not percent).

        `kendall` (tau-b) and `spearman` over all judged pairs; `kendall_other` without the own pairs; `kendall_c`, of
        experts only, tau-c against each single grade, without the own pairs. Constant scores have none.
        """
        base, found = super().ask(subject), self._judgements(subject)

        def evaluation(answers: Sequence[Any], ties: Ties) -> Evaluation:
            result = base.evaluation(answers[:-1], ties)
            return replace(result, metrics=result.metrics | self._correlations(answers[-1], found, subject))

        return Asked((*base.questions, PairScores(found.image, found.caption)), evaluation)

    def _correlations(self, scores: np.ndarray, found: Judgements, subject: Subject) -> dict[str, float]:
        """Those that are defined, of the judged pairs' scores (J,)."""
        other = np.asarray(subject.caption_image)[found.caption] != found.image
        metrics = {
            "kendall": _correlation("kendall", scores, found.grade),
            "spearman": _correlation("spearman", scores, found.grade),
            "kendall_other": _correlation("kendall", scores[other], found.grade[other]),
        }
        if self.judges == "expert":  # as the captioning literature prints it: own pairs out, each vote on its own
            votes = found.votes[other]
            metrics["kendall_c"] = _correlation("kendall_c", np.repeat(scores[other], votes.shape[1]), votes.ravel())
        return {f"human_{self.judges}_{key}": value for key, value in metrics.items() if value is not None}

    def files(self, subject: Subject) -> dict[str, str]:
        """See `Protocol.files`: the judgement file."""
        return {FILES[self.judges]: self._judgements(subject).sha256}

    def report(self, subject: Subject) -> str:
        """How many judged pairs are about the subject, and how many are not."""
        found = self._judgements(subject)
        return (
            f"protocol {self.name}: of {len(found.grade) + found.unmatched:,} judged pairs in {FILES[self.judges]}, "
            f"{len(found.grade):,} are of this split and {found.unmatched:,} name an image or a caption that it lacks"
        )

    def _judgements(self, subject: Subject) -> Judgements:
        name = FILES[self.judges]
        path = (subject.root or Path()) / name
        if subject.root is None or not path.is_file():
            where = f"it is not in {subject.root}" if subject.root else "this dataset has no folder"
            raise InvalidProtocol(
                f"protocol {self.name} needs Flickr8k's {name} in the dataset's folder, {where}; it comes with "
                "Flickr8k_text.zip"
            )
        return read_judgements(path, self.judges, subject)


def read_judgements(path: Path, judges: Judges, subject: Subject) -> Judgements:
    """The judgements of a file that are about a subject; pairs of other splits are left out and counted.

    Args:
        path: lines of image, caption id (`<file>#<0-4>`) and three numbers, separated by tabs: three grades 1..4 of
            experts; share of yes, number of yes, number of no of the crowd.
        judges: which of the two.
        subject: image ids are file names, caption ids `<file>#k`.

    Raises:
        InvalidProtocol: unreadable, not of that form, with a pair that stands twice, or about none of the subject's pairs.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidProtocol(f"cannot read {path}: {error}") from None
    row = {name: index for index, name in enumerate(subject.image_ids)}
    column = {name: index for index, name in enumerate(subject.caption_ids)}
    lines = list(_lines(text, judges, path))
    chosen = [
        (row[image], column[caption], votes) for image, caption, votes in lines if image in row and caption in column
    ]
    if not chosen:
        raise InvalidProtocol(
            f"none of the {len(lines):,} judged pairs of {path} is in this split (image id '{subject.image_ids[0]}', "
            f"caption id '{subject.caption_ids[0]}'); ids must be Flickr8k's: <file> and <file>#<0-4>"
        )
    rows, columns, votes = (np.array(values) for values in zip(*chosen, strict=True))
    grades = np.array([sum(votes) / len(votes) for _, _, votes in chosen])
    sha256 = hashlib.sha256(content).hexdigest()
    return Judgements(rows, columns, grades, votes, len(lines) - len(chosen), sha256)


def _lines(text: str, judges: Judges, path: Path) -> Iterator[tuple[str, str, list[float]]]:
    """Image, caption id and votes of each line; no pair stands twice."""
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        votes = _votes(fields, judges, f"{path}, line {number}")
        image, caption = fields[:2]
        first = seen.setdefault((image, caption), number)
        if first != number:
            raise InvalidProtocol(
                f"{path}, line {number}: the pair ({image}, {caption}) already stands in line {first} and would count "
                "twice; remove one of the two"
            )
        yield image, caption, votes


def _correlation(kind: str, scores: np.ndarray, grades: np.ndarray) -> float | None:
    """Kendall's tau-b or tau-c, or Spearman's rho; None where it is not defined."""
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(grades) == 0:
        return None
    if kind == "spearman":
        return float(stats.spearmanr(scores, grades).statistic)
    return float(stats.kendalltau(scores, grades, variant="c" if kind == "kendall_c" else "b").statistic)


def _votes(fields: list[str], judges: Judges, where: str) -> list[float]:
    """The votes of a line, whose mean is its grade."""
    try:
        image, caption, *numbers = fields
        a, b, c = (float(number) for number in numbers)
    except ValueError:
        raise InvalidProtocol(f"{where}: expected image, caption id and three numbers separated by tabs") from None
    if judges == "expert":
        if not all(vote in (1, 2, 3, 4) for vote in (a, b, c)):
            raise InvalidProtocol(f"{where}: the grades of ({image}, {caption}) must be 1 to 4, got {numbers}")
        return [a, b, c]
    if b < 0 or c < 0 or not b + c or abs(a - b / (b + c)) > 1e-6:
        raise InvalidProtocol(f"{where}: expected share of yes, yes, no of ({image}, {caption}), got {numbers}")
    return [b / (b + c)]


HUMAN = HumanJudgements(
    name="human",
    description="Flickr8k: pairs that experts graded 3 or better on average (human@3.5: another threshold)",
    queries="every image and caption that was judged",
    positives="own pairs, and mean expert grade >= 3 (ExpertAnnotations.txt)",
    metric="mAP@R, R-Precision, R@1, 5, 10; Kendall, Spearman of scores with grades",
    judges="expert",
    threshold=3.0,
    headline=("rsum", "human_expert_kendall", "human_expert_spearman"),
)


HUMAN_CROWD = HumanJudgements(
    name="human_crowd",
    description="Flickr8k: pairs that most crowd workers called right",
    queries="every image and caption that was judged",
    positives="own pairs, and a majority of yes (CrowdFlowerAnnotations.txt)",
    metric="mAP@R, R-Precision, R@1, 5, 10; Kendall, Spearman of scores with grades",
    judges="crowd",
    threshold=0.5,
    strict=True,
    headline=("rsum", "human_crowd_kendall", "human_crowd_spearman"),
)
