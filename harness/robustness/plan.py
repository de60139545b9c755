"""All probes that fit a split of a dataset, under the options of a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.composition.catalogue import SUITES
from harness.composition.plan import suite_probes
from harness.composition.scenes import scenes_probes
from harness.datasets.base import Dataset, Split
from harness.datasets.scenes.dataset import Scenes
from harness.errors import InvalidSpec, UnknownName, did_you_mean
from harness.grounding import plan as grounding
from harness.grounding.entities import entities_probes
from harness.probes.base import Probe
from harness.probes.sampling import sample
from harness.robustness.clutter import clutter_probes
from harness.robustness.perturbations.captions import caption_probes
from harness.robustness.perturbations.probes import image_probes, region_probes
from harness.robustness.perturbations.severities import SEVERITIES
from harness.robustness.strata import strata_probes
from harness.robustness.truth import truth_probes

#: Families of probes in the order in which they are asked, with one line on each.
FAMILIES = {
    "strata": "queries of the test split by number of objects or regions, caption length and edge density",
    "truth": "errors that are unlabelled truth, coverage of all correct items, margins",
    "images": "noise, blur, JPEG, brightness, contrast, occlusion and resizing of the pictures",
    "regions": "dropped, jittered, duplicated and shuffled region features",
    "captions": "typos, dropped, repeated, swapped and reordered words, synonyms, a wrong attribute",
    "clutter": "the same targets among more objects, overlap and occlusion (scenes)",
    "composition": "captions that are wrong in one attribute, object, relation or number",
    "grounding": "do words look where their objects are?",
}
#: Pictures of a sample, where a probe does not ask about the whole split.
IMAGES = 250
#: The suite of grounding; those of composition are in their catalogue.
ENTITIES = "entities"


@dataclass(frozen=True)
class Options:
    """What a command asks for; picklable.

    Args:
        only: families, or `family/name` of single probes; empty = all that fit.
        images: pictures of the sample that expensive probes use.
        severities: of perturbations, rising.
        suites: folder of each suite of files, by its name.
    """

    only: tuple[str, ...] = ()
    images: int = IMAGES
    severities: tuple[int, ...] = SEVERITIES
    suites: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        for name in self.only:
            family = name.partition("/")[0]
            if family not in FAMILIES:
                raise InvalidSpec(f"no family of probes '{family}'{did_you_mean(family, FAMILIES)}")
        known = (*SUITES, ENTITIES)
        for suite, _ in self.suites:
            if suite not in known:
                raise UnknownName("suite", suite, known)

    def probes(self, dataset: Dataset, split: str) -> Sequence[Probe]:
        """Those that fit a split of a dataset.

        Raises:
            InvalidSpec: `only` names a probe that there is not, or nothing fits.
            InvalidDataset: the files of a suite cannot be read.
        """
        subject = _Subject(self, dataset, split)
        found = [probe for family in FAMILIES if self._asks(family) for probe in _MAKERS[family](subject)]
        named = {f"{probe.family}/{probe.name}" for probe in found}
        for name in self.only:
            if "/" in name and name not in named:
                raise InvalidSpec(f"no probe '{name}' fits {dataset.title} {split}{did_you_mean(name, named)}")
        chosen = [
            probe
            for probe in found
            if not self.only or probe.family in self.only or f"{probe.family}/{probe.name}" in self.only
        ]
        if not chosen:
            asked = ", ".join(self.only) or "all families"
            raise InvalidSpec(f"no probe fits {dataset.title} {split} (asked for: {asked}); see docs/robustness.md")
        return chosen

    def _asks(self, family: str) -> bool:
        return not self.only or any(name.partition("/")[0] == family for name in self.only)


@dataclass(frozen=True)
class _Subject:
    """What makers of probes are given."""

    options: Options
    dataset: Dataset
    name: str

    @cached_property
    def split(self) -> Split:
        return self.dataset.split(self.name)

    @cached_property
    def part(self) -> Split:
        """The sample that perturbed inputs are made of: one object, so that its unchanged sides are encoded once."""
        return sample(self.split, self.options.images, self.dataset.sha256)


def _strata(subject: _Subject) -> Sequence[Probe]:
    return strata_probes(subject.dataset, subject.split)


def _truth(subject: _Subject) -> Sequence[Probe]:
    return truth_probes(subject.dataset, subject.name, subject.options.images)


def _images(subject: _Subject) -> Sequence[Probe]:
    return image_probes(subject.part, subject.dataset.sha256, subject.options.severities)


def _regions(subject: _Subject) -> Sequence[Probe]:
    return region_probes(subject.part, subject.dataset.sha256, subject.options.severities)


def _captions(subject: _Subject) -> Sequence[Probe]:
    return caption_probes(subject.dataset, subject.part, subject.options.severities)


def _clutter(subject: _Subject) -> Sequence[Probe]:
    return clutter_probes(subject.dataset, subject.name, subject.options.images)


def _composition(subject: _Subject) -> Sequence[Probe]:
    found = []
    if isinstance(subject.dataset, Scenes):
        found += scenes_probes(subject.dataset, subject.name, subject.options.images)
    for name, folder in subject.options.suites:
        if name != ENTITIES:
            found += suite_probes(name, folder, subject.dataset)
    return found


def _grounding(subject: _Subject) -> Sequence[Probe]:
    found = [*grounding.scenes_probes(subject.dataset, subject.name, subject.options.images)]
    for name, folder in subject.options.suites:
        if name == ENTITIES:
            found += entities_probes(folder, subject.dataset, subject.name, subject.options.images)
    return found


_MAKERS: dict[str, Callable[[_Subject], Sequence[Probe]]] = {
    "strata": _strata,
    "truth": _truth,
    "images": _images,
    "regions": _regions,
    "captions": _captions,
    "clutter": _clutter,
    "composition": _composition,
    "grounding": _grounding,
}
assert tuple(_MAKERS) == tuple(FAMILIES)
