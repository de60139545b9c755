"""The contract of every kind of part, by kind and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import plugins, registry
from harness.backbones import IMAGE_BACKBONES, TEXT_BACKBONES, build_image, build_text
from harness.conformance import backbones, datasets, metrics, protocols, sections, suite
from harness.conformance.outcomes import CheckResult, outcomes
from harness.datasets import DATASETS, open_dataset
from harness.errors import InvalidSpec, UnknownName
from harness.metrics.catalogue import METRICS
from harness.plugins import KINDS
from harness.protocols import PROTOCOLS
from harness.sections.catalogue import SECTIONS
from harness.settings.components import Component, plain

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Checked:
    """What became of the rules of one part."""

    kind: str
    name: str
    results: tuple[CheckResult, ...]

    @property
    def broken(self) -> list[CheckResult]:
        """The rules that are not kept."""
        return [result for result in self.results if not result.passed]


def check_part(kind: str, name: str, options: Options | None = None) -> Checked:
    """Run the rules of a part's kind on it.

    >>> check_part("text backbone", "bigru").broken
    []

    Args:
        kind: one of `harness.plugins.KINDS`.
        name: of the part; of a scorer, a variant may follow after a dot.
        options: of the part, where it needs any.

    Raises:
        UnknownName: no such part.
        InvalidPlugin: its module cannot be imported, or holds no such part.
        InvalidSpec: an option that it does not have, or a value that is impossible.
    """
    return Checked(kind, name, tuple(_CHECKS[kind](name, dict(options or {}))))


def check_file(path: str | Path, options: Options | None = None) -> list[Checked]:
    """Register what a plug-in file holds, and run the rules of each part on it; as `check_part`."""
    return [check_part(found.kind, found.name, options) for found in plugins.add(path)]


def kinds_of(name: str) -> list[str]:
    """The kinds that have a part of a name.

    Raises:
        UnknownName: none has.
    """
    bare = registry.split(name)[0]
    found = [kind.name for kind in KINDS.values() if (bare if kind.name == "scorer" else name) in kind.parts()]
    if not found:
        raise UnknownName("part", name, sorted({known for kind in KINDS.values() for known in kind.parts()}))
    return found


def _scorer(name: str, options: dict[str, Any]) -> list[CheckResult]:
    registry.resolve_config(name, options)  # an impossible option is bad input, not a broken rule
    return suite.run_checks(lambda: registry.create(name, **options))


def _dataset(name: str, options: dict[str, Any]) -> list[CheckResult]:
    component = DATASETS.resolve(Component(name=name, options=options))
    subject = datasets.Subject(lambda: open_dataset(component), component.plain)
    return outcomes(datasets.RULES, lambda: subject)


def _image(name: str, options: dict[str, Any]) -> list[CheckResult]:
    component = IMAGE_BACKBONES.resolve(Component(name=name, options=options))

    def again(encoder: Any) -> Any:
        saved = Component(name=name, options=plain(encoder.config))
        return build_image(saved, region_width=encoder.input_width, load_pretrained=False)

    subject = backbones.Subject("image", lambda: build_image(component, region_width=backbones.REGION_WIDTH), again)
    return outcomes(backbones.RULES, lambda: subject)


def _text(name: str, options: dict[str, Any]) -> list[CheckResult]:
    component = TEXT_BACKBONES.resolve(Component(name=name, options=options))

    def again(encoder: Any) -> Any:
        state = backbones.json_round_trip(encoder.tokenizer_state())
        return build_text(Component(name=name, options=plain(encoder.config)), state=state)

    subject = backbones.Subject("text", lambda: build_text(component, captions=backbones.CAPTIONS), again)
    return outcomes(backbones.RULES, lambda: subject)


def _protocol(name: str) -> list[CheckResult]:
    subject = protocols.subject(PROTOCOLS.get(name))
    return outcomes(protocols.RULES, lambda: subject)


def _metric(name: str) -> list[CheckResult]:
    subject = metrics.Subject(METRICS.get(name))
    return outcomes(metrics.RULES, lambda: subject)


def _section(name: str) -> list[CheckResult]:
    subject = sections.Subject(name, SECTIONS.get(name))
    return outcomes(sections.RULES, lambda: subject)


def _without_options(check: Callable[[str], list[CheckResult]]) -> Callable[[str, dict[str, Any]], list[CheckResult]]:
    """The check of a kind whose parts have no options."""

    def checked(name: str, options: dict[str, Any]) -> list[CheckResult]:
        if options:
            raise InvalidSpec(f"'{name}' takes no options, got {', '.join(options)}; leave out --set")
        return check(name)

    return checked


_CHECKS: dict[str, Callable[[str, dict[str, Any]], list[CheckResult]]] = {
    "scorer": _scorer,
    "dataset": _dataset,
    "image backbone": _image,
    "text backbone": _text,
    "protocol": _without_options(_protocol),
    "metric": _without_options(_metric),
    "section": _without_options(_section),
}
