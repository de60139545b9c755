"""`itm ls`: what is there."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, plugin_option, results_option

KINDS = ("scorers", "variants", "datasets", "backbones", "protocols", "experiments", "runs")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@results_option
@plugin_option
def ls(kind: str, results: Path, plugins: tuple[Path, ...]) -> None:
    """List scorers, variants, datasets, backbones, protocols, experiments, or the runs in a results folder."""
    from harness.cli.terminal import console as terminal_console
    from harness.reports.document.terminal import grid

    add_plugins(plugins)
    header, rows = _LISTS[kind](results)
    console = terminal_console()
    if not console.is_terminal:
        console.width = 500  # a pipe has no width; long cells stay on one line
    console.print(grid(header, rows))


def _scorers(_: Path):
    from harness import registry

    rows = []
    for name, source in registry.sources().items():
        cls = registry.scorer_class(name)
        rows.append((name, len(cls.variants), cls.origin, cls.citation, source.target))
    return ("name", "variants", "origin", "citation", "source"), sorted(rows)


def _variants(_: Path):
    from harness import registry

    rows = [
        (f"{name}.{variant}", ", ".join(f"{k}={v}" for k, v in config.items()))
        for name in registry.names()
        for variant, config in registry.variants(name).items()
    ]
    return ("name", "overrides"), rows


def _datasets(_: Path):
    from harness.datasets import DATASETS

    return ("name", "description"), [(name, _first_line(DATASETS.get(name))) for name in DATASETS]


def _backbones(_: Path):
    from harness.backbones import BACKBONES

    rows = [(name, side, _first_line(parts.get(name))) for side, parts in BACKBONES.items() for name in parts]
    return ("name", "side", "description"), rows


def _protocols(_: Path):
    from harness.protocols import PROTOCOLS

    header = ("name", "description", "queries", "gallery", "positives", "metric", "depth")
    return header, [tuple(getattr(PROTOCOLS.get(name), key) for key in header) for name in PROTOCOLS]


def _experiments(_: Path):
    from harness.spec import builtin_experiments, load_experiment

    rows = [(name, load_experiment(name).description) for name in builtin_experiments()]
    return ("name", "description"), rows


def _runs(results: Path):
    from harness.protocols import summary
    from harness.records.store import RunStore

    rows = [
        (
            record.run_id,
            record.label,
            record.backbone,
            record.dataset,
            record.seed,
            record.status,
            summary(record.metrics) or record.error,
        )
        for record in RunStore(results).records()
    ]
    return ("run", "scorer", "backbone", "dataset", "seed", "status", "result"), rows


def _first_line(part: type) -> str:
    import inspect

    return (inspect.getdoc(part) or "").split("\n")[0]


_LISTS = {
    "scorers": _scorers,
    "variants": _variants,
    "datasets": _datasets,
    "backbones": _backbones,
    "protocols": _protocols,
    "experiments": _experiments,
    "runs": _runs,
}
