"""Options that several commands share, and what every command on an experiment does with them."""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness import plugins
from harness.cli.terminal import complain

if TYPE_CHECKING:
    import torch

    from harness.executors.choice import Placement
    from harness.records.store import RunStore
    from harness.runs.telling import Outcome
    from harness.spec import Experiment, RunSpec
    from harness.tracking.base import Tracker

logger = logging.getLogger(__name__)


class FiniteRange(click.FloatRange):
    """A number within bounds; `nan` and `inf` pass click's own test of bounds, and are refused here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class NamedPath(click.Path):
    """A path; an empty text is refused, where pathlib would take it for the current folder."""

    def __init__(self, **options: Any):
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; name a file or a folder, or leave the option out.", param, ctx)
        return super().convert(value, param, ctx)


def repeatable(flag: str, name: str, metavar: str, help: str, default: str = "", **options: Any) -> Callable[..., Any]:
    """An option that may be given several times; `default` says what holds without it."""
    help += " Repeatable." + (f"  [default: {default}]" if default else "")
    return click.option(flag, name, multiple=True, metavar=metavar, help=help, **options)


set_option = repeatable(
    "--set",
    "overrides",
    "KEY=VALUE",
    "Override of a key of the experiment, e.g. training.epochs=3 or scorers.chan.config.coding=tha.",
)
results_option = click.option(
    "--results",
    type=NamedPath(file_okay=False),
    default=Path("results"),
    envvar="ITM_RESULTS",
    help="Folder of runs and reports.",
)
plugin_option = repeatable(
    "--plugin",
    "plugins",
    "FILE|FOLDER",
    "Python file with a scorer, dataset, backbone, protocol, metric or report section of the file's name, or a folder of "
    "such files. A plug-in is code that runs.",
    type=NamedPath(),
)
section_option = repeatable(
    "--section", "sections", "NAME", "Section of a plug-in at the end of the page.", "those of --plugin"
)
device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    help="cpu, cuda, cuda:1, ...; auto = a GPU if there is one.",
)
executor_option = click.option(
    "--executor",
    default="local",
    type=click.Choice(["local", "ray", "slurm"]),
    help="Where the runs are trained: processes of this machine, tasks of Ray, jobs of SLURM.",
)
ray_option = click.option(
    "--ray-address",
    default="local",
    envvar="RAY_ADDRESS",
    show_envvar=True,
    metavar="ADDRESS",
    help="Ray cluster: HOST:PORT; auto = that of this machine; local = one that is started for the command.",
)
slurm_option = repeatable(
    "--slurm", "slurm", "KEY=VALUE", "Option of sbatch for each worker's job, e.g. partition=gpu or time=4:00:00."
)
workers_option = click.option(
    "--workers",
    default=None,
    type=click.IntRange(min=1, max=4096),
    envvar="ITM_WORKERS",
    help="Runs side by side, each in a process of its own  [default: as many as fill the CPUs or GPUs]",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only what would run and what is missing, as `itm plan EXP --no-measure`."
)
published_option = click.option(
    "--published",
    is_flag=True,
    help="Published rows of the same dataset and protocol beside the measured ones, marked.",
)


baseline_option = click.option(
    "--baseline",
    default="",
    show_default=False,
    metavar="METHOD|RUN|FILE",
    help="Method that every other one is set against, in a column of differences; PATH:METHOD where a file has several.",
)


def latex_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the LaTeX tables of a leaderboard, handed over as one `paper`, checked before anything runs."""

    @click.option(
        "--columns",
        default="",
        metavar="KEY,KEY,...",
        help="Columns of the LaTeX tables, e.g. shown_scorer,rsum,seeds.",
    )
    @click.option("--intervals", is_flag=True, help="Intervals below the estimates of the LaTeX tables.")
    @click.option("--shrink", is_flag=True, help="LaTeX tables with all columns, shrunk to the width of the text.")
    @click.option(
        "--bold-published", is_flag=True, help="Published rows compete with measured ones for the best value in bold."
    )
    @functools.wraps(command)
    def with_paper(
        *arguments: Any, columns: str, intervals: bool, shrink: bool, bold_published: bool, **own: Any
    ) -> Any:
        from harness.reports.document.latex import require_columns
        from harness.reports.document.model import Paper
        from harness.reports.leaderboard.report import paper_columns

        names = tuple(filter(None, (name.strip() for name in columns.split(","))))
        # Which further metrics there are, the experiment or the records say; a recall is none of them.
        further = [name for name in names if re.fullmatch(r"(i2t|t2i)_(?!r\d).+", name)]
        require_columns(names, [*paper_columns(), *further])
        paper = Paper(columns=names, intervals=intervals, shrink=shrink, published=bold_published)
        return command(*arguments, paper=paper, **own)

    return with_paper


@dataclass(frozen=True)
class Setup:
    """The options of every command on an experiment."""

    overrides: tuple[str, ...]
    results: Path
    plugins: tuple[Path, ...]
    device_name: str
    mlflow: bool
    executor: str = "local"
    workers: int | None = None
    executor_options: Mapping[str, Any] = field(default_factory=dict)

    def experiment(self, name: str) -> Experiment:
        """EXP with its overrides, after the plug-ins that it may name are registered."""
        from harness.spec import load_experiment

        add_plugins(self.plugins)
        return load_experiment(name, self.overrides)

    def device(self) -> torch.device:
        """The device of `--device` for what the command itself computes, which is little where runs have workers elsewhere.

        To be asked for before data are opened, which may take minutes.
        """
        from harness.errors import InvalidSpec

        try:
            return torch_device(self.device_name)
        except InvalidSpec:
            if self.executor == "local" or self.device_name != "cuda":
                raise
            logger.info("no GPU on this machine: what the command itself computes, it computes on the CPU")
            return torch_device("cpu")

    def store(self) -> RunStore:
        """The runs of `--results`, in a folder that can be written."""
        from harness.records.store import RunStore

        store = RunStore(self.results)
        store.prepare()
        return store

    def tracker(self) -> Tracker:
        """The mirror of what is recorded."""
        from harness.tracking.tracker import create_tracker

        return create_tracker(self.results, enabled=self.mlflow)

    def run(self, cells: Sequence[RunSpec], experiment: str, device: torch.device) -> Outcome:
        """Run the cells that are not recorded yet, with progress on stderr."""
        from harness.cli.progress import ConsoleObserver
        from harness.cli.refreshing import made_on
        from harness.runs.experiment import run_cells

        made_on(device)
        store, tracker = self.store(), self.tracker()
        with ConsoleObserver() as observer:
            return run_cells(
                cells,
                store,
                device=device,
                tracker=tracker,
                observer=observer,
                experiment=experiment,
                placement=self.placement(),
            )

    def placement(self) -> Placement:
        """Where the work runs."""
        from harness.executors.choice import Placement

        add_plugins(self.plugins)
        return Placement(self.executor, self.workers, self.device_name, plugins.files(), self.executor_options)


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command on an experiment, handed over as one `Setup` in front of its own arguments."""

    @functools.wraps(command)
    def with_setup(
        overrides: tuple[str, ...],
        results: Path,
        plugins: tuple[Path, ...],
        device: str,
        no_mlflow: bool,
        no_feature_store: bool,
        executor: str,
        workers: int | None,
        ray_address: str,
        slurm: tuple[str, ...],
        **own: Any,
    ) -> Any:
        overrides += ("features.store=false",) if no_feature_store else ()
        options = executor_options(executor, ray_address, slurm)
        return command(Setup(overrides, results, plugins, device, not no_mlflow, executor, workers, options), **own)

    no_mlflow = click.option("--no-mlflow", is_flag=True, help="No mirror of the records in MLflow.")
    no_store = click.option(
        "--no-feature-store", is_flag=True, help="Frozen towers run in every step; nothing is kept of their outputs."
    )
    for option in (
        no_mlflow,
        no_store,
        slurm_option,
        ray_option,
        workers_option,
        executor_option,
        device_option,
        plugin_option,
        results_option,
        set_option,
    ):
        with_setup = option(with_setup)
    return with_setup


def executor_options(executor: str, ray_address: str, slurm: tuple[str, ...]) -> dict[str, Any]:
    """The options of the executor that was chosen; those of another one are refused where they were typed."""
    named = click.get_current_context().get_parameter_source("ray_address") is ParameterSource.COMMANDLINE
    for given, flag, of in ((named, "--ray-address", "ray"), (bool(slurm), "--slurm", "slurm")):
        if given and executor != of:
            raise click.UsageError(f"{flag} is an option of --executor {of}; --executor is {executor}.")
    if slurm:
        from harness.executors.batch_options import parse

        parse(slurm)  # before data are opened, which may take minutes
    options: dict[str, dict[str, Any]] = {"ray": {"address": ray_address}, "slurm": {"options": slurm}}
    return options.get(executor, {})


def ended(outcome: Outcome) -> int:
    """One line for each failed run, and the exit code."""
    for failure in outcome.failures:
        complain(f"{failure.title} failed: {failure.error}")
    return outcome.exit_code


def add_plugins(paths: tuple[Path, ...]) -> None:
    """Register the parts of plug-in files, and of those of folders."""
    for path in paths:
        plugins.add(path)


def named_sections(names: tuple[str, ...]) -> list[str]:
    """The sections that a page gets, once the plug-ins are registered; an unknown one is refused before anything runs."""
    from harness.sections.catalogue import SECTIONS, of_named_files

    chosen = list(dict.fromkeys(names)) or of_named_files()
    for name in chosen:
        SECTIONS.get(name)
    return chosen


def torch_device(name: str) -> torch.device:
    """The torch device of a `--device` value.

    Raises:
        InvalidSpec: no such device here.
    """
    import torch

    from harness.errors import InvalidSpec

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSpec(f"device '{name}' cannot be used here: {reason}; use cpu or auto") from None
    return device
