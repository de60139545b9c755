"""The command `itm`: finds the subcommand, and turns every error of a user into one line and an exit code.

A subcommand's module is imported when it is called or asked for its help; `itm --help` imports none of them.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys

import click

from harness import __version__
from harness.cli.terminal import complain, one_line, say
from harness.errors import InvalidPlugin, ItmError, did_you_mean
from harness.files import extras
from harness.machine import turnstile
from harness.machine.interruptions import Interruptions, interruptions
from harness.machine.waiting import sleep_while_waiting
from harness.plugins import place_of
from harness.similarity import settings

#: Name -> one line for the list; each command lies in the module of its name.
COMMANDS = {
    "plan": "Show what an experiment will run, which files are missing, and what it will cost.",
    "power": "Show how many seeds and test images find a difference, before anything is trained.",
    "leaderboard": "Train, evaluate and rank the scorers of an experiment.",
    "ablate": "Measure what each component of a scorer contributes.",
    "significance": "Test which differences between recorded methods are real.",
    "gate": "Let a pipeline pass only if a result is no worse than a baseline: exit code 0 or 1.",
    "sweep": "Tune a scorer on the validation split, at a recorded budget.",
    "profile": "Measure accuracy against throughput, latency and memory; find the Pareto front.",
    "robustness": "Measure robustness, composition and grounding of trained scorers: harder inputs, harder negatives.",
    "features": "Compute the outputs of pretrained towers for a dataset once, ahead of the runs that read them.",
    "report": "Write the leaderboards of all runs in a results folder.",
    "freeze": "Freeze a leaderboard as a version with checksums that others can read and extend, or check one.",
    "site": "Write the site of a results folder: all reports, runs and pictures, linked.",
    "evaluate": "Evaluate scores, embeddings, ranks or lists that any code made, on every protocol.",
    "add": "Record results of any code as a run that takes part beside trained ones.",
    "contamination": "Look for test images among what recorded runs were trained on.",
    "show": "Show everything that is recorded of one run.",
    "diagnose": "Show what each level of a run's score ranks alone, and its gates and regions.",
    "explain": "Show where each word of a caption looks in a picture, from a run's saved model.",
    "rescore": "Evaluate further protocols, metrics or tie rules of runs, from their scores, ranks or weights.",
    "ensemble": "Record the mean of the saved scores of several runs.",
    "compare-published": "Set measured recalls beside the printed ones of the same method and backbone.",
    "describe": "Describe a dataset before anything is trained on it: what it holds, and which problems it has.",
    "ls": "List scorers, variants, datasets, backbones, protocols, probes, experiments or runs.",
    "schema": "Print the JSON Schema of an experiment, with which editors complete and check its YAML.",
    "bench": "Measure the speed of the scoring engine on this machine, as ratios.",
    "check": "Run the contract suite on a part (scorer, dataset, backbone, protocol, ...) or a plug-in file.",
    "new": "Write a working plug-in with its test: a scorer, dataset, backbone, protocol, metric or section.",
    "import-checkpoint": "Convert an authors' checkpoint of SCAN or CHAN, without executing its pickle.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        return getattr(importlib.import_module(f"harness.cli.{module}"), module)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise click.UsageError(f"unknown command '{args[0]}'{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="itm")
@click.option(
    "--product",
    envvar=["ITM_PRODUCT", "ITM_PRODUCTS"],
    metavar="rule|tune|NAME",
    help="Matrix product of the scoring engine: a fixed default, the fastest of a timing, or a backend (docs/scoring.md).",
)
@click.option(
    "--fused/--no-fused",
    envvar="ITM_FUSED",
    default=None,
    help="Fused kernels on a GPU, and compiled ones on a CPU with numba.  [default: fused]",
)
@click.option(
    "--measure-alone/--measure-beside",
    envvar="ITM_MEASURE_ALONE",
    default=None,
    help="Trainings of yours on this machine wait while costs are measured.  [default: measure-alone]",
)
def cli(product: str | None, fused: bool | None, measure_alone: bool | None) -> None:
    """Benchmark and ablation harness for fine-grained image-text matching.

    Start with `itm leaderboard quickstart`: it trains SCAN, CHAN, CLIP and GRM on generated scenes and ranks them.
    """
    settings.use(settings.Settings(product or settings.RULE, fused is not False))
    turnstile.use(measure_alone is not False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a run failed (the others are kept), 2 bad input.

    An interrupt (128 + the signal's number: 130, 143 of SIGTERM, 129 of SIGHUP) closes what is open; the same command
    continues later.
    """
    sleep_while_waiting(os.environ)
    _log_to_stderr()
    with interruptions() as signals:
        _run(arguments, signals)


def _run(arguments: list[str] | None, signals: Interruptions) -> None:
    try:
        with signals.told():
            code = cli.main(arguments, prog_name="itm", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except ItmError as error:
        complain(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = extras.explained(error, _called(arguments))
        if missing is None:
            raise
        complain(missing)
        sys.exit(missing.exit_code)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("itm: interrupted; the same command continues where it stopped", err=True)
        signals.leave()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        place = place_of(error)
        if not place:
            raise
        complain(f"plug-in {place}: {type(error).__name__}: {one_line(error)}")
        sys.exit(InvalidPlugin.exit_code)


def _called(arguments: list[str] | None) -> str:
    """`itm leaderboard` of its arguments."""
    name = next((word for word in (sys.argv[1:] if arguments is None else arguments) if word in COMMANDS), "")
    return f"itm {name}".rstrip()


class _Lines(logging.Handler):
    """Each message as one line on whatever is stderr at that moment (a progress display may stand before it)."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = f"itm: {record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(mark + one_line(record.getMessage()), err=True)


def _log_to_stderr() -> None:
    logger, root = logging.getLogger("harness"), logging.getLogger()
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
    if not root.handlers:  # a library that logs to a root without handlers (open_clip) gives it one, which repeats ours
        others = _Lines(logging.WARNING)
        others.addFilter(lambda record: not record.name.startswith("harness"))
        root.addHandler(others)


if __name__ == "__main__":
    main()
