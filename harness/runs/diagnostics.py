"""Diagnostics of a trained scorer on a split: what each level of its score ranks alone, and how its readings are distributed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.backbones.words.tokenizers import Tokenizer
from harness.datasets.base import Dataset, Split
from harness.errors import one_line
from harness.fragments import Fragments
from harness.metrics.distributions import distribution, ends, means_by_column, means_by_key
from harness.records.parts import Diagnostics, Distribution, LevelAlone, WordMean
from harness.records.ranks import RankTable
from harness.runs.evaluation import Scored, evaluate
from harness.scorer import Reading, Scorer
from harness.scoring import evaluating, scores_of
from harness.scoring.blocks import slices
from harness.scoring.spilled import SideInFile
from harness.spec import EvaluationSpec

#: Words that are listed at each end of a reading, and the occurrences that a listed word has at least.
LISTED_WORDS, FEWEST_OCCURRENCES = 12, 20
#: Items whose readings are computed at once.
BATCH = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """Diagnostics for the record, and the ranks of each level by `LEVEL/PROTOCOL`."""

    record: Diagnostics = field(default_factory=Diagnostics)
    ranks: dict[str, RankTable] = field(default_factory=dict)


def diagnose(
    scorer: Scorer, scored: Scored, split: Split, names: Sequence[str], spec: EvaluationSpec, dataset: Dataset
) -> Diagnosed:
    """What a scorer offers of itself; nothing where it offers nothing.

    The levels are scored one after the other, so at most one matrix (I, T) is held beside `scored`; tiles where it would
    not fit.

    Args:
        scorer: trained.
        scored: the split, encoded and prepared by it.
        split, names, spec, dataset: as of `harness.runs.evaluation.evaluate`.

    Raises:
        InvalidSimilarity: a level returned another shape or values that are not finite.
    """
    levels: dict[str, LevelAlone] = {}
    ranks: dict[str, RankTable] = {}
    for name, level in scorer.score_levels().items():
        similarity = scores_of(level.scorer, scored.images, scored.texts, spec.streaming)
        found = evaluate(similarity, split, names, spec, dataset)
        levels[name] = LevelAlone(weight=level.weight, metrics=found.metrics)
        ranks |= {f"{name}/{protocol}": table for protocol, table in found.ranks.items()}
    return Diagnosed(Diagnostics(levels=levels, readings=_readings(scorer, scored, split)), ranks)


def diagnose_safely(run: str, make: Callable[[], Diagnosed]) -> Diagnosed:
    """What `make` gives; if it fails, nothing and one line: a report of a scorer's inside must not cost its run."""
    try:
        return make()
    except Exception as error:  # a plug-in may raise anything
        logger.warning("run %s has no diagnostics: %s: %s", run, type(error).__name__, one_line(error))
        return Diagnosed()


def _readings(scorer: Scorer, scored: Scored, split: Split) -> dict[str, Distribution]:
    if not scorer.readings:
        return {}
    with evaluating(scorer):
        values = {**_of_side(scorer.image_readings, scored.images), **_of_side(scorer.text_readings, scored.texts)}
    tokenizer = scorer.encoders[1].tokenizer
    described = {
        name: _described(reading, values[name], tokenizer, split.captions)
        for name, reading in scorer.readings.items()
        if name in values
    }
    return {name: found for name, found in described.items() if found is not None}


def _of_side(
    read: Callable[[Fragments], Mapping[str, Tensor]], side: Fragments | SideInFile
) -> dict[str, NDArray[np.float32]]:
    """The readings of all items, computed in batches, on the CPU; what an item lacks is NaN."""
    take = side.__getitem__ if isinstance(side, Fragments) else side.items
    parts = [
        {name: values.float().cpu() for name, values in read(take(part)).items()} for part in slices(len(side), BATCH)
    ]
    return {name: _joined([part[name] for part in parts]).numpy() for name in parts[0]}


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Batches of a spilled side are padded to their own longest item."""
    if parts[0].ndim == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[1]), value=torch.nan) for part in parts])


def _described(
    reading: Reading, values: NDArray[np.float32], tokenizer: Tokenizer, captions: Sequence[str]
) -> Distribution | None:
    found = distribution(values)
    if found is None:
        return None
    more: dict[str, Any] = {}
    if reading.each == "region" and values.ndim == 2:
        more["by_region"] = means_by_column(values)
    if reading.each == "word" and values.ndim == 2:
        more = _words(values, tokenizer, captions)
    return Distribution(title=reading.title, each=reading.each, **found, **more)


def _words(
    values: NDArray[np.float32], tokenizer: Tokenizer, captions: Sequence[str]
) -> dict[str, tuple[WordMean, ...]]:
    """The words with the lowest and highest means; none where the fragments are not the tokens, one for one."""
    tokens = tokenizer(captions)
    ids, real = tokens.ids.numpy(), tokens.mask.numpy()
    width = min(ids.shape[1], values.shape[1])
    if not np.array_equal(real[:, :width], ~np.isnan(values[:, :width])) or real[:, width:].any():
        return {}
    rows = ends(means_by_key(values[:, :width], ids[:, :width], FEWEST_OCCURRENCES), LISTED_WORDS)
    named = [tuple(WordMean(word=tokenizer.piece(i), mean=m, count=n) for i, m, n in part) for part in rows]
    return dict(zip(("lowest_words", "highest_words"), named, strict=True))
