"""What the commands on saved scores share: options, the dataset behind a name, and the table of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import repeatable
from harness.cli.terminal import show_table
from harness.errors import InvalidDataset, InvalidRecord, did_you_mean
from harness.records.ties import ALL_TIES, RECALLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.records.store import RunStore
    from harness.reports.statistics.intervals import Interval
    from harness.spec import Component

#: protocol -> tie rule -> metrics
Numbers = dict[str, dict[str, dict[str, float]]]

ties_option = click.option(
    "--ties",
    type=click.Choice(["pessimistic", "optimistic", "expected", "all"]),
    default=None,
    help="Order of items with the same score; all = the three rules side by side.",
)
dataset_set_option = repeatable("--set", "overrides", "KEY=VALUE", "Option of the dataset, e.g. root=data/flickr8k.")
# Shown first; the other metrics of a protocol follow as `name value`.
_COLUMNS = (*RECALLS, "rsum", "tie_rate")
_NOT_SHOWN = ("medr", "meanr")
#: What the columns mean, for readers who know other code's.
LEGEND = (
    "i2t: an image searches captions, t2i: a caption searches images; r1, r5, r10 in percent: queries with at least one "
    "correct item among the first K; rsum 0 to 600; tie_rate 0 to 1"
)
UNITS = {
    "r1, r5, r10, map_at_r, r_precision": "percent",
    "rsum": "0 to 600",
    "medr, meanr": "rank, from 1",
    "tie_rate": "0 to 1",
}


def tie_rules(ties: str | None, default: str) -> tuple[Any, ...]:
    """The rules that an option names."""

    return ALL_TIES if ties == "all" else (ties or default,)


def dataset_options(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Options of a dataset from `key=value` texts, with or without `dataset.` in front."""
    from harness.spec import parse_setting

    options = {}
    for text in overrides:
        key, value = parse_setting(text, "root=data/flickr8k")
        options[key.removeprefix("dataset.")] = value
    return options


def dataset_component(name: str, overrides: tuple[str, ...]) -> Component:
    """The dataset of this name, in this folder, or of an experiment (a built-in one or a file), with its options.

    Raises:
        InvalidDataset: the name is none of these.
    """
    from harness import datasets
    from harness.spec import Component, builtin_experiments, load_experiment

    options = dataset_options(overrides)
    is_experiment = name in builtin_experiments() or name.endswith((".yaml", ".yml"))
    if name not in datasets.DATASETS and not is_experiment and not Path(name).expanduser().is_dir():
        if Path(name).expanduser().exists():
            raise InvalidDataset(f"{name} is a file; name the folder that holds the dataset")
        known = did_you_mean(name, [*datasets.DATASETS, *builtin_experiments()])
        raise InvalidDataset(f"{name} is neither a folder, nor a dataset or experiment{known}")
    base = load_experiment(name).dataset if name not in datasets.DATASETS and is_experiment else Component(name=name)
    return datasets.DATASETS.resolve(base.changed(options))


def find_run(store: RunStore, run: str) -> str:
    """The id of a run from its id, the beginning of one, or its folder.

    Raises:
        InvalidRecord: no run or several fit.
    """
    path = Path(run)
    if (path / "record.json").is_file():
        if path.resolve().parent != (store.results / "runs").resolve():
            raise InvalidRecord(f"{run} is not below {store.results}/runs; name its results folder with --results")
        return path.resolve().name
    fit = [p.parent.name for p in (store.results / "runs").glob("*/record.json") if p.parent.name.startswith(run)]
    if run in fit:
        return run
    if len(fit) != 1:
        first = ", ".join([*sorted(fit)[:4], *(["..."] if len(fit) > 4 else [])])
        problem = f"{len(fit)} runs begin with '{run}' ({first})" if fit else f"no run '{run}'"
        raise InvalidRecord(f"{problem} below {store.results}/runs; see `itm ls runs`")
    return fit[0]


def print_numbers(numbers: Numbers) -> None:
    """One row per protocol and tie rule; metrics beyond the recalls in the last column."""
    several = any(len(rules) > 1 for rules in numbers.values())
    titles = ["protocol", *(["ties"] if several else []), *_COLUMNS, "further metrics"]
    rows = []
    for name, rules in numbers.items():
        for rule, metrics in rules.items():
            cells = [_shown(key, metrics.get(key)) for key in _COLUMNS]
            rest = [
                f"{key} {_shown(key, value)}"
                for key, value in metrics.items()
                if key not in _COLUMNS and not key.endswith(_NOT_SHOWN)
            ]
            rows.append([name, *([rule] if several else []), *cells, ", ".join(rest)])
    show_table(titles, rows, numeric=[number for number, title in enumerate(titles) if title in _COLUMNS])


def print_intervals(intervals: Mapping[str, Mapping[str, Interval]]) -> None:
    """The 95 % intervals of the recalls and rSum, one row per protocol; nothing where none is known."""
    rows = [
        [name, *(_range(found.get(key)) for key in (*RECALLS, "rsum"))] for name, found in intervals.items() if found
    ]
    if rows:
        show_table(["95 % interval", *RECALLS, "rsum"], rows, numeric=range(1, len(RECALLS) + 2))


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.1f}–{interval.high:.1f}"


def _shown(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if key == "tie_rate" or key.startswith("human_") else f"{value:.2f}"
