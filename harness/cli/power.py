"""`itm power`: how many seeds and test images see a difference, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    FiniteRange,
    NamedPath,
    add_plugins,
    plugin_option,
    repeatable,
    results_option,
    set_option,
)
from harness.cli.refreshing import follow, refreshes_site
from harness.cli.terminal import say_file, show_page
from harness.errors import InvalidSpec

if TYPE_CHECKING:
    from harness.reports.power.plan import Plan, Question
    from harness.reports.runs.subjects import Subject


@click.command()
@click.argument("source", metavar="[EXP|RESULTS]", required=False)
@click.option(
    "--difference",
    type=FiniteRange(min=0, min_open=True, max=600),
    help="True difference to find, in points of the metric  [default: 5 of rSum, 1 of a recall]",
)
@click.option("--metric", default="rsum", metavar="NAME", help="rsum or a recall such as t2i_r1.")
@click.option("--power", type=float, default=0.8, help="Chance of finding it.")
@click.option("--alpha", type=float, default=0.05, help="Level of the family of tests.")
@click.option("--comparisons", type=click.IntRange(1), metavar="M", help="Tests in the family  [default: all pairs]")
@click.option("--images", type=click.IntRange(30), metavar="N", help="Test images  [default: those of the test split]")
@click.option("--seeds", type=click.IntRange(1), metavar="S", help="Planned seeds  [default: those of EXP or RESULTS]")
@click.option(
    "--sd-images",
    type=FiniteRange(min=0, min_open=True, max=1e6),
    metavar="POINTS",
    help="Guess: SD over images of their contributions to a difference.",
)
@click.option(
    "--sd-seeds", type=FiniteRange(min=0, max=600), metavar="POINTS", help="Guess: SD of a method's score over seeds."
)
@click.option(
    "--disagreement",
    type=FiniteRange(min=0, max=1, min_open=True),
    metavar="SHARE",
    help="Guess for a t2i recall: share of captions that only one of two methods finds; needs --icc.",
)
@click.option("--icc", type=FiniteRange(min=-1, max=1), help="Guess: correlation of an image's captions in that.")
@click.option("--captions", type=click.IntRange(1), default=5, help="Captions per image, for --disagreement.")
@repeatable("--dataset", "datasets", "NAME", "Dataset to plan for.", "all")
@repeatable("--protocol", "protocols", "NAME", "Protocol to plan for.", "all; the first of EXP")
@click.option("--out", type=NamedPath(file_okay=False), help="Folder of the report  [default: RESULTS/power]")
@click.option("--json", "as_json", type=NamedPath(dir_okay=False), metavar="FILE", help="File for all numbers as JSON.")
@set_option
@plugin_option
@results_option
@refreshes_site
def power(
    source: str | None,
    difference: float | None,
    metric: str,
    power: float,
    alpha: float,
    comparisons: int | None,
    images: int | None,
    seeds: int | None,
    sd_images: float | None,
    sd_seeds: float | None,
    disagreement: float | None,
    icc: float | None,
    captions: int,
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    out: Path | None,
    as_json: Path | None,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    results: Path,
) -> None:
    """Show how many seeds and test images find a difference between methods, and what a planned set-up finds.

    Variances come from recorded runs: those of RESULTS, or those of EXP that lie in --results. What is not recorded is
    guessed by you (--sd-images, --sd-seeds, --disagreement with --icc), never by the command. Without EXP and RESULTS, a
    guess and --images are enough. Writes power.md, .html, .csv, .json, .tex and a figure below RESULTS/power/.
    """
    from harness.files.names import safe_name
    from harness.records.documents import write_json
    from harness.reports.document import render
    from harness.reports.power import report
    from harness.reports.power.plan import Guess, Question

    guess = Guess(sd_images=sd_images, sd_seeds=sd_seeds, disagreement=disagreement, icc=icc, captions=captions)
    question = Question(
        metric=metric, difference=difference, alpha=alpha, power=power, comparisons=comparisons, guess=guess
    )
    add_plugins(plugins)
    wanted = _Wanted(results, images, seeds, datasets, protocols)
    plans = list(wanted.plans(source, overrides, question))
    if as_json and len(plans) > 1:
        raise InvalidSpec(
            f"--json takes one plan, and {source} has {len(plans)} galleries: choose by --dataset and --protocol"
        )
    follow(wanted.root(source))
    root = out or wanted.root(source) / "power"
    for plan in plans:
        page = report.build(plan)
        folder = root if out and len(plans) == 1 else root / safe_name(plan.setup.slug)
        render.write(page, folder)
        show_page(page, folder)
        if as_json:
            write_json(as_json, page.data)
            say_file("written", as_json)


class _Wanted:
    """What is planned for, from what the user named."""

    def __init__(
        self,
        results: Path,
        images: int | None,
        seeds: int | None,
        datasets: tuple[str, ...],
        protocols: tuple[str, ...],
    ):
        self.results, self.images, self.seeds = results, images, seeds
        self.datasets, self.protocols = datasets, protocols

    def root(self, source: str | None) -> Path:
        """The results folder of the reports."""
        from harness.reports.runs.stores import results_folder

        return results_folder([source] if source else [], self.results)

    def plans(self, source: str | None, overrides: tuple[str, ...], question: Question) -> Iterator[Plan]:
        """One plan for each gallery."""
        if source is None:
            yield self._guessed(question)
        elif _is_experiment(source):
            yield self._experiment(source, overrides, question)
        elif overrides:
            raise InvalidSpec(f"--set changes an experiment, and {source} is none: leave it out")
        else:
            yield from self._recorded(source, question)

    def _guessed(self, question: Question) -> Plan:
        from harness.reports.power.plan import Setup, checked_images, plan_of_guess, require_guess

        require_guess(question, "neither an experiment nor recorded runs are named")
        setup = Setup(title="A guess", slug="guess", images=checked_images(self.images, None), seeds=self.seeds)
        return plan_of_guess(setup, question)

    def _recorded(self, source: str, question: Question) -> Iterator[Plan]:
        for subject in self._subjects([source], question):
            yield self._of_subject(self.root(source), subject, subject.title, subject.slug, question)

    def _experiment(self, source: str, overrides: tuple[str, ...], question: Question) -> Plan:
        """The set-up of an experiment, with the variances of its runs that are recorded."""
        from harness.estimates.plan import plan_document
        from harness.records.store import RunStore
        from harness.reports.power.plan import Setup, checked_images, plan_of_guess, require_guess
        from harness.spec import load_experiment

        experiment = load_experiment(source, overrides)
        store = RunStore(self.results) if self.results.is_dir() else None
        document = plan_document(experiment, store, None)
        test = document.data.splits.get("test")
        shape = {"seeds": self.seeds or len(experiment.seeds), "methods": len(document.entries)}
        recorded = [cell.run_id for cell in document.cells if cell.state.startswith("recorded") and cell.run_id]
        subjects = self._subjects(recorded, question) if recorded else []
        first = [subject for subject in subjects if subject.protocol == experiment.protocols[0]]
        if chosen := (subjects if self.protocols else first or subjects)[:1]:
            known = test.images if test and not self.protocols else None
            return self._of_subject(self.results, chosen[0], experiment.name, experiment.name, question, known, **shape)
        require_guess(question, f"no run of {experiment.name} is recorded below {self.results}")
        images = checked_images(self.images, test.images if test else None)
        setup = Setup(title=experiment.name, slug=experiment.name, images=images, **shape)
        return plan_of_guess(setup, question)

    def _subjects(self, sources: list[str], question: Question) -> list[Subject]:
        from harness.reports.runs.sources import read_sources
        from harness.reports.statistics.hits import components

        depth = max(k for _, k in components(question.metric))
        return read_sources(sources, self.results, datasets=self.datasets, protocols=self.protocols, depth=depth)

    def _of_subject(
        self,
        results: Path,
        subject: Subject,
        title: str,
        slug: str,
        question: Question,
        images: int | None = None,
        seeds: int | None = None,
        methods: int | None = None,
    ) -> Plan:
        from harness.records.store import RunStore
        from harness.reports.power.plan import Setup, checked_images, plan_of_runs

        known = images or (len(subject.methods[0].image_ids) if subject.methods else None)
        fewest = min((len(runs.seeds) for runs in subject.methods), default=None)
        setup = Setup(
            title=title,
            slug=slug,
            images=checked_images(self.images, known),
            seeds=self.seeds or seeds or fewest,
            methods=methods or max(len(subject.methods), 2),
        )
        store = RunStore(results)
        ids = dict.fromkeys(item.source for item in subject.evidence)
        records = [store.require(run) for run in ids if (store.folder(run) / "record.json").is_file()]
        return plan_of_runs(subject, setup, question, records)


def _is_experiment(source: str) -> bool:
    """Whether the name is that of an experiment: a built-in one where no folder has its name, or a YAML file."""
    from harness.spec import builtin_experiments

    return source.endswith((".yaml", ".yml")) or (source in builtin_experiments() and not Path(source).exists())
