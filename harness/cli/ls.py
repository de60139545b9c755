"""`itm ls`: lists of what can be named, and of what is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from harness.cli.options import add_plugins, plugin_option, results_option
from harness.cli.terminal import show_table

if TYPE_CHECKING:
    from harness.files.packages import Packaged

#: Headings and rows.
Listing = tuple[Sequence[str], Sequence[Sequence[object]]]


def _scorers(_: Path) -> Listing:
    from harness import registry

    classes = [(name, registry.scorer_class(name), source) for name, source in sorted(registry.sources().items())]
    rows = [(name, len(cls.variants), cls.origin, cls.citation, source.target) for name, cls, source in classes]
    return ("name", "variants", "origin", "citation", "source"), rows


def _variants(_: Path) -> Listing:
    from harness import registry

    variants = [(name, *item) for name in registry.names() for item in registry.variants(name).items()]
    rows = [(f"{name}.{key}", ", ".join(f"{k}={v}" for k, v in config.items())) for name, key, config in variants]
    return ("name", "overrides"), rows


def _datasets(_: Path) -> Listing:
    from harness.datasets import DATASETS

    return ("name", "description"), [(name, _first_line(DATASETS.get(name))) for name in DATASETS]


def _backbones(_: Path) -> Listing:
    from harness.backbones import BACKBONES

    rows = [(name, side, _first_line(parts.get(name))) for side, parts in BACKBONES.items() for name in parts]
    return ("name", "side", "description"), rows


def _towers(_: Path) -> Listing:
    from harness.backbones.known import KNOWN
    from harness.files.packages import PREFIX, install_command, installed_weights

    found = installed_weights()
    here = {file.package: file for file in found}
    rows: list[Sequence[object]] = [
        (
            f"{PREFIX}{known.name}",
            f"{known.side}, {known.architecture or 'transformer'}, {known.size} "
            f"{'pixels' if known.side == 'image' else 'word pieces'}, width {known.width}; {known.title}; {known.licence}; "
            + (
                f"version {here[known.name].version}"
                if known.name in here
                else f"not installed: {install_command(known.name)}"
            ),
        )
        for known in KNOWN.values()
    ]
    rows += [
        (f"{PREFIX}{file.package}/{_model_or_file(file)}", f"not known to this harness; version {file.version}")
        for file in found
        if file.package not in KNOWN
    ]
    return ("weights", "description"), rows


def _model_or_file(file: Packaged) -> str:
    """A file of weights inside its package, or the folder where that describes a whole model."""
    whole = (file.path.parent / "config.json").is_file()
    return str(PurePosixPath(file.inside).parent) if whole else file.inside


def _protocols(_: Path) -> Listing:
    from harness.protocols import PROTOCOLS

    header = ("name", "description", "queries", "gallery", "positives", "metric", "depth")
    return header, [tuple(getattr(PROTOCOLS.get(name), key) for key in header) for name in PROTOCOLS]


def _probes(_: Path) -> Listing:
    from harness.robustness.plan import FAMILIES

    return ("family", "what is asked"), list(FAMILIES.items())


def _suites(_: Path) -> Listing:
    from harness.composition.catalogue import SUITES
    from harness.grounding import entities
    from harness.robustness.plan import ENTITIES

    rows = [(name, (suite := SUITES.get(name)).description, suite.files, suite.pictures) for name in SUITES]
    rows.append((ENTITIES, entities.DESCRIPTION, entities.FILES, entities.PICTURES))
    return ("name", "description", "files", "pictures"), rows


def _experiments(_: Path) -> Listing:
    from harness.spec import builtin_experiments, load_experiment

    rows = []
    for name in builtin_experiments():
        spec = load_experiment(name)
        first = spec.description.split(". ")[0]
        rows.append((name, len(spec.scorers) * len(spec.seeds), spec.expects or spec.dataset.name, first.rstrip(".")))
    return ("name", "runs", "data", "what it compares"), rows


def _runs(results: Path) -> Listing:
    from harness.protocols import summary
    from harness.records.store import RunStore

    keys = ("run_id", "label", "backbone", "dataset", "seed", "status")
    records = RunStore(results).records()
    rows = [(*(getattr(r, key) for key in keys), summary(r.metrics) or r.error) for r in records]
    return ("run", "scorer", "backbone", "dataset", "seed", "status", "result"), rows


def _first_line(part: type) -> str:
    return (inspect.getdoc(part) or "").split("\n")[0]


#: By kind, of a results folder.
LISTS: dict[str, Callable[[Path], Listing]] = {
    "scorers": _scorers,
    "variants": _variants,
    "datasets": _datasets,
    "backbones": _backbones,
    "towers": _towers,
    "protocols": _protocols,
    "probes": _probes,
    "suites": _suites,
    "experiments": _experiments,
    "runs": _runs,
}


@click.command()
@click.argument("kind", type=click.Choice(list(LISTS)))
@results_option
@plugin_option
def ls(kind: str, results: Path, plugins: tuple[Path, ...]) -> None:
    """List what can be named: scorers, variants, datasets, backbones, pretrained towers in packages, protocols, families of
    probes, suites of hard negatives and boxes, experiments, or the runs in a results folder."""
    add_plugins(plugins)
    show_table(*LISTS[kind](results))
