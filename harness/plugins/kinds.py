"""The kinds of parts that a plug-in can add: what makes a class or an object one, and where its catalogue is."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where a name leads: a module (`package.module:attribute`), an entry point, or a plug-in file."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    Places are `package.module:attribute`, so that nothing is imported to know the kinds.

    Args:
        name: in messages, and as `itm new` and `itm check` take it.
        group: of the entry points that add parts of this kind.
        base: the class that makes a class, or an object, a part.
        catalogue: the parts by name.
        config: the class that the part's `Config` extends; "" where a part has no options.
        is_object: whether a part is an object with a `name`, not a class.
    """

    name: str
    group: str
    base: str
    catalogue: str
    config: str = ""
    is_object: bool = False

    @property
    def base_name(self) -> str:
        """`Dataset` of `harness.datasets.base:Dataset`."""
        return self.base.partition(":")[2]

    def holds(self, cls: type) -> bool:
        """Whether a class extends the base; nothing is imported, since whoever extends it has done so."""
        return any(f"{parent.__module__}:{parent.__qualname__}" == self.base for parent in cls.__mro__[1:])

    def made(self, value: object) -> bool:
        """Whether an object is of the base, or of a class that extends it."""
        return any(f"{parent.__module__}:{parent.__qualname__}" == self.base for parent in type(value).__mro__)

    def parts(self) -> Any:
        """The catalogue of this kind."""
        return attribute(self.catalogue)


def attribute(place: str) -> Any:
    """What stands at `package.module:attribute`; imports the module."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "scorer",
            "itm_harness.scorers",
            "harness.scorer:Scorer",
            "harness.registry:SCORERS",
            "harness.scorer:ScorerConfig",
        ),
        Kind(
            "dataset",
            "itm_harness.datasets",
            "harness.datasets.base:Dataset",
            "harness.datasets.catalogue:DATASETS",
            "harness.datasets.base:DatasetConfig",
        ),
        Kind(
            "image backbone",
            "itm_harness.image_backbones",
            "harness.backbones.base:ImageEncoder",
            "harness.backbones.build:IMAGE_BACKBONES",
            "harness.backbones.base:BackboneConfig",
        ),
        Kind(
            "text backbone",
            "itm_harness.text_backbones",
            "harness.backbones.base:TextEncoder",
            "harness.backbones.build:TEXT_BACKBONES",
            "harness.backbones.base:BackboneConfig",
        ),
        Kind(
            "protocol",
            "itm_harness.protocols",
            "harness.protocols.base:Protocol",
            "harness.protocols.catalogue:PROTOCOLS",
            is_object=True,
        ),
        Kind(
            "metric",
            "itm_harness.metrics",
            "harness.metrics.base:Metric",
            "harness.metrics.catalogue:METRICS",
        ),
        Kind(
            "section",
            "itm_harness.sections",
            "harness.sections.base:ReportSection",
            "harness.sections.catalogue:SECTIONS",
        ),
    )
}
