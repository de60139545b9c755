"""What a probe is: named levels of questions that every model of a comparison is asked alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.probes.model import Model
from harness.records.outcomes import Measure


@dataclass(frozen=True)
class Level:
    """One level of a probe.

    Args:
        name: as tables show it.
        value: its place on the probe's axis, such as a severity or a number of objects.
    """

    name: str
    value: float


#: The level of probes that have one.
ONLY = (Level("all", 0.0),)


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model answered to one probe; the fields are those of `harness.records.outcomes`.

    Args:
        measures: at least one.
        counts: images, items, missing images and the like.
        partial: why these are not all items of the probe; empty = they are.
        remarks: what a reader must know.
    """

    measures: tuple[Measure, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    partial: str = ""
    remarks: tuple[str, ...] = ()


class Probe(ABC):
    """Questions to trained models, made once and asked of every model.

    What a probe generates, it generates from its identity alone, so that models get equal questions; it may keep that
    while several models answer.

    Attributes:
        family: the folder of its outcomes: images, captions, regions, clutter, strata, composition, grounding, truth.
        name: of the probe within its family, as a file can be called.
        title: in a few words, for tables.
        axis: what the values of the levels count; empty for one level.
        levels: at least one.
        needs_model: whether the model itself is asked; else its run's ranks are enough, as of results of other code.
    """

    family: str
    name: str
    title: str
    axis: str = ""
    levels: Sequence[Level] = ONLY
    needs_model: bool = True

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that decides the questions, as JSON values: hash of the data, sample, seed, settings, generator's version."""

    def refusal(self, model: Model) -> str:
        """Why a model cannot be asked, in words; empty = it can. Such a model has no outcomes of this probe."""
        return ""

    @abstractmethod
    def answers(self, model: Model) -> Answers:
        """Ask one model.

        Raises:
            ItmError: the questions or the answers cannot be had; the message says why.
        """

    def forget(self) -> None:  # noqa: B027 - most keep nothing
        """Drop what was generated: no model will be asked for now."""
