"""Probes of composition: is the true caption told from those in which one thing is wrong?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from harness.composition.asking import Portion, example_scores, portions, read_as_one
from harness.composition.examples import Form, chance, judged
from harness.datasets.base import Images
from harness.errors import counted
from harness.probes.base import Answers, Probe
from harness.probes.model import Model
from harness.records.outcomes import Measure
from harness.spec import sha256_json

#: Part of every identity: raise it when the same examples give other outcomes than before.
VERSION = 1


@dataclass(frozen=True, eq=False)
class Questions:
    """The examples of one kind as they are asked.

    Args:
        suite, kind: their names.
        form: of the examples.
        ids: N, distinct.
        clusters: N ids of the pictures that the examples belong to, the unit of intervals and tests.
        images: I pictures or more, of which the examples show some.
        keys: of each of `images`, what decides its content.
        pictures: (N, P) rows of `images`.
        captions: C texts per example.
        counts: what was left out.
        partial: why these are not all examples of the kind; empty = they are.
        remarks: what a reader must know.
    """

    suite: str
    kind: str
    form: Form
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    images: Images
    keys: Sequence[str]
    pictures: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    partial: str = ""
    remarks: tuple[str, ...] = ()


#: What a kind's pictures (rows of its images) share with the training pictures of a model: counts and remarks.
Shared = Callable[[Model, np.ndarray], tuple[Mapping[str, int], tuple[str, ...]]]


def nothing_known(model: Model, rows: np.ndarray) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Of pictures that are compared with no training pictures."""
    return {}, ()


class CompositionProbe(Probe):
    """The examples of one kind, asked of every model.

    Measures: those of the form (`correct`; `image_to_text`; `text`, `image` and `group`), one hit per example. The identity
    states under `chance`, by measure, how often scores that know nothing are right: a share from 0 to 1.

    Args:
        questions: the examples.
        shared: what they share with a model's training pictures.
    """

    family = "composition"

    def __init__(self, questions: Questions, shared: Shared = nothing_known):
        self.questions, self._shared = questions, shared
        self.name = f"{questions.suite}-{questions.kind}"
        self.title = f"{questions.suite}: {questions.kind.replace('_', ' ').replace('-', ' ')}"
        self._portions: list[Portion] | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The suite, the kind, what is right by which measure with its chance, and a hash of pictures and captions."""
        asked = self.questions
        shown = [[asked.keys[row] for row in rows] for rows in asked.pictures]
        return {
            "suite": asked.suite,
            "kind": asked.kind,
            "examples": len(asked.ids),
            "true": [list(row) for row in asked.form.true],
            "chance": chance(asked.form),
            "sha256": sha256_json([asked.ids, asked.clusters, asked.captions, shown]),
            "version": VERSION,
        }

    def refusal(self, model: Model) -> str:
        """A suite of pictures cannot be put to a model that reads region features."""
        wanted, there = model.scorer.encoders[0].input, self.questions.images.inputs
        if wanted in there:
            return ""
        offered = " and ".join(sorted(there))
        return f"its image backbone takes {wanted}, but pictures of {self.questions.suite} come as {offered} only"

    def answers(self, model: Model) -> Answers:
        """Hits of every example by the measures of the form."""
        asked = self.questions
        scores = np.empty((*asked.pictures.shape, len(asked.captions[0])), np.float32)
        as_one = np.zeros(len(asked.ids), dtype=bool)
        if self._portions is None:
            self._portions = list(portions(asked.images, asked.pictures, asked.captions))
        for part in self._portions:
            images, texts = model.encode(part.split)
            scores[part.examples] = example_scores(model.scorer, images, texts, part.pictures, part.captions)
            as_one[part.examples] = read_as_one(texts, part.captions, _opposed(asked.form))
        shared_counts, shared_remarks = self._shared(model, np.unique(asked.pictures))
        counts = {
            "examples": len(asked.ids),
            "pictures": len(np.unique(asked.pictures)),
            "read_as_one": int(as_one.sum()),
            **asked.counts,
            **shared_counts,
        }
        remarks = (*asked.remarks, *self._lost(model, as_one), *shared_remarks)
        return Answers(self._measures(scores), counts, asked.partial, remarks)

    def forget(self) -> None:
        """Drop the splits."""
        self._portions = None

    def _measures(self, scores: np.ndarray) -> tuple[Measure, ...]:
        asked = self.questions
        ids, clusters = np.asarray(asked.ids), np.asarray(asked.clusters)
        return tuple(
            Measure(name, "hit", ids, clusters, right[None].astype(np.float64))
            for name, right in judged(scores, asked.form).items()
        )

    def _lost(self, model: Model, as_one: np.ndarray) -> tuple[str, ...]:
        """A remark about captions that the text encoder takes for equal."""
        if not as_one.any():
            return ()
        tokenizer = model.scorer.encoders[1].tokenizer
        texts = [text for row in np.flatnonzero(as_one) for text in self.questions.captions[row]]
        cut = tokenizer.losses(texts).cut
        why = f"; {counted(cut, 'caption')} of these cut at {tokenizer.longest} tokens" if cut else ""
        return (
            f"in {int(as_one.sum()):,} of {counted(len(as_one), 'example')} the text encoder reads a true and a false caption "
            f"as one (words that it does not know, or cut off), so they tie, which is wrong{why}",
        )


def _opposed(form: Form) -> list[tuple[int, int]]:
    """Columns of captions of which one is true and the other false of some picture."""
    columns = itertools.combinations(range(len(form.true[0])), 2)
    return [(a, b) for a, b in columns if any(row[a] != row[b] for row in form.true)]
