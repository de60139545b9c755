"""`itm ls`: lists of what can be named, and of what is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import NamedPath, add_plugins, plugin_option, repeatable, results_option
from harness.cli.terminal import say, say_file, show_table

if TYPE_CHECKING:
    from harness.files.packages import Packaged
    from harness.settings.components import Catalogue

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

    return _described(DATASETS)


def _backbones(_: Path) -> Listing:
    from harness.backbones import BACKBONES

    found = [(side, _described(parts)[1]) for side, parts in BACKBONES.items()]
    rows = [(name, side, *more) for side, parts in found for name, *more in parts]
    return ("name", "side", "description", "source"), rows


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
    rows = [
        (*(getattr(PROTOCOLS.get(name), key) for key in header), source.target)
        for name, source in PROTOCOLS.sources.items()
    ]
    return (*header, "source"), rows


def _metrics(_: Path) -> Listing:
    from harness.metrics.catalogue import METRICS

    rows = [
        (name, (metric := METRICS.get(name)).description, metric.better, metric.lowest, metric.highest, source.target)
        for name, source in METRICS.sources.items()
    ]
    return ("name", "description", "better", "lowest", "highest", "source"), rows


def _sections(_: Path) -> Listing:
    from harness.sections.catalogue import SECTIONS

    rows = [(name, SECTIONS.get(name).description, source.target) for name, source in SECTIONS.sources.items()]
    if not rows:
        say(
            "no sections: every one comes from a plug-in; name it with --plugin FILE, or see `itm new section`",
            err=True,
        )
    return ("name", "description", "source"), rows


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


def _described(parts: Catalogue[Any]) -> Listing:
    """Classes by name, with what their docstrings say first and where they come from."""
    rows = [(name, _first_line(parts.get(name)), source.target) for name, source in parts.sources.items()]
    return ("name", "description", "source"), rows


def _first_line(part: type) -> str:
    return (inspect.getdoc(part) or "").split("\n")[0]


#: Columns of runs that go into one line below where all runs share them.
_FOLDED = ("status", "origin", "backbone", "dataset")
#: By kind, of a results folder.
LISTS: dict[str, Callable[[Path], Listing]] = {
    "scorers": _scorers,
    "variants": _variants,
    "datasets": _datasets,
    "backbones": _backbones,
    "towers": _towers,
    "protocols": _protocols,
    "metrics": _metrics,
    "sections": _sections,
    "probes": _probes,
    "suites": _suites,
    "experiments": _experiments,
}
RUNS = "runs"


@click.command()
@click.argument("kind", type=click.Choice([*LISTS, RUNS]))
@repeatable("--scorer", "scorer", "NAME", "Method of the runs, with or without its variant.", "all")
@repeatable("--dataset", "dataset", "NAME", "Dataset of the runs.", "all")
@repeatable("--split", "split", "NAME", "Split that the runs were evaluated on.", "all")
@repeatable("--protocol", "protocol", "NAME", "Protocol that the runs have numbers of.", "all")
@repeatable("--seed", "seed", "N", "Random seed of the runs.", "all")
@repeatable("--status", "status", "S", "State of the runs: finished, failed or running.", "all")
@repeatable("--origin", "origin", "O", "Origin of the runs: measured, foreign or published.", "all")
@repeatable("--where", "where", "KEY=VALUE", "Setting of the runs by dotted key, e.g. training.epochs=3.", "all")
@click.option(
    "--sort", type=click.Choice(["started", "rsum", "scorer", "seed"]), default="started", help="Order of runs."
)
@click.option(
    "--json", "out", type=NamedPath(dir_okay=False), help="File for the runs as JSON, with all their numbers."
)
@results_option
@plugin_option
def ls(
    kind: str,
    where: tuple[str, ...],
    sort: str,
    out: Path | None,
    results: Path,
    plugins: tuple[Path, ...],
    **filters: Any,
) -> None:
    """List what can be named: scorers, variants, datasets, backbones, pretrained towers in packages, protocols, further
    metrics, report sections of plug-ins, families of probes, suites of hard negatives and boxes, experiments, or the runs
    in a results folder.

    Runs can be filtered, by settings too; a column says in which settings the runs of one method differ."""
    add_plugins(plugins)
    if kind == RUNS:
        _list_runs(results, filters, where, sort, out)
        return
    given = [f"--{name}" for name, values in {**filters, "where": where, "json": out}.items() if values]
    if given:
        raise click.UsageError(f"{given[0]} is a filter of runs; `itm ls {kind}` has none")
    show_table(*LISTS[kind](results))


def _list_runs(
    results: Path, values: dict[str, tuple[str, ...]], where: tuple[str, ...], sort: str, out: Path | None
) -> None:
    """Runs by filters: as a table, and as a file of their records' numbers."""
    from harness.protocols import summary
    from harness.records.documents import write_json
    from harness.records.store import RunStore
    from harness.reports.runs.listing import SORTS, Filters, chosen, settings_apart

    settings = dict(_key_value(text) for text in where)
    records = sorted(chosen(RunStore(results).records(), Filters(values, settings)), key=SORTS[sort])
    if not records:
        say(f"no runs below {results}/runs", err=True)
    apart = settings_apart(records)
    columns: dict[str, list[object]] = {
        "run": [r.run_id for r in records],
        "scorer": [r.label for r in records],
        "seed": [r.seed for r in records],
        "result": [summary(r.metrics) or r.error for r in records],
        "differs in": list(apart),
        "status": [r.status for r in records],
        "origin": [r.origin for r in records],
        "backbone": [r.backbone for r in records],
        "dataset": [f"{r.dataset} {r.split}" for r in records],
    }
    alike = (
        {key: cells[0] for key, cells in columns.items() if key in _FOLDED and len(set(cells)) == 1} if records else {}
    )
    shown = {key: cells for key, cells in columns.items() if key not in alike and any(str(cell) for cell in cells)}
    if shown:
        show_table(list(shown), list(zip(*shown.values(), strict=True)))
    if len(records) > 1:
        same = ", ".join(f"{key} {value}" for key, value in alike.items())
        say(f"{len(records):,} runs{f'; all: {same}' if same else ''}", err=True)
    if out:
        keys = ("run_id", "label", "origin", "status", "dataset", "split", "seed", "metrics", "started", "error")
        write_json(out, [{key: getattr(r, key) for key in keys} | {"spec": r.spec} for r in records])
        say_file("written", out)


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--where needs KEY=VALUE, such as training.epochs=3, got '{text}'")
    return key, value
