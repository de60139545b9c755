"""What the commands on results of other code share: how files, dataset and protocols are named, and what is said of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness.cli.options import NamedPath, add_plugins, plugin_option, repeatable
from harness.cli.scored import dataset_component, dataset_set_option
from harness.cli.terminal import say

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.outputs.opening import Reading
    from harness.runs.foreign import FileResults
    from harness.spec import Component


@dataclass(frozen=True)
class Given:
    """Files of results, and what a user says of them.

    Args:
        paths: the files named as arguments.
        reading: how they are read.
        component, dataset: what was scored.
        split: of the dataset.
        protocols: to evaluate; none = all that fit.
        metrics: further ones, of every protocol.
    """

    paths: tuple[Path, ...]
    reading: Reading
    component: Component
    dataset: Dataset
    split: str
    protocols: tuple[str, ...]
    metrics: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """All files, those of embeddings included."""
        return [path for path in (*self.paths, self.reading.images, self.reading.captions) if path is not None]

    @property
    def title(self) -> str:
        """The files by name, for a sentence."""
        mean = " (ensemble)" if self.reading.ensemble else ""
        return f"{' + '.join(path.name for path in self.files)}{mean} on {self.dataset.title} {self.split}"

    def evaluated(self, rules: tuple[Any, ...]) -> FileResults:
        """The numbers under some tie rules; errors as `harness.runs.foreign.evaluate_files`."""
        from harness.runs.foreign import evaluate_files

        return evaluate_files(self.paths, self.dataset, self.split, self.protocols, rules, self.reading, self.metrics)


def given_options(command: Callable[..., Any], *, averages: bool = False) -> Callable[..., Any]:
    """The files as arguments and the options that say how they are read, handed over as one `given`.

    Files of averages are refused without `averages`.
    """

    @click.argument("files", nargs=-1, type=NamedPath(), metavar="[RESULTS]...")
    @click.option("--dataset", required=True, metavar="D", help="Dataset, or experiment whose dataset is meant.")
    @dataset_set_option
    @click.option("--split", default="test", type=click.Choice(["train", "val", "test"]), help="Split of the dataset.")
    @repeatable("--protocol", "names", "P", "Protocol to evaluate.", "all that fit the dataset and the results")
    @repeatable("--metric", "metrics", "M", "Further metric to compute, such as mrr (`itm ls metrics`).")
    @plugin_option
    @click.option("--ensemble", is_flag=True, help="Mean of the matrices, marked as an ensemble.")
    @click.option(
        "--rows", type=click.Choice(["images", "captions"]), help="What the rows of a square score matrix are."
    )
    @click.option("--distances", is_flag=True, help="Scores that are distances: lower is better.")
    @click.option("--images", type=NamedPath(), metavar="FILE", help="Embeddings of the images; needs --captions.")
    @click.option("--captions", type=NamedPath(), metavar="FILE", help="Embeddings of the captions; needs --images.")
    @click.option(
        "--measure", default="cosine", type=click.Choice(["cosine", "dot"]), help="How embeddings are compared."
    )
    @click.option(
        "--ranks-from",
        type=click.Choice(["0", "1"]),
        help="First place in a rank CSV; needed only where no query has rank 0.",
    )
    @functools.wraps(command)
    def with_given(
        *arguments: Any,
        files: tuple[Path, ...],
        dataset: str,
        overrides: tuple[str, ...],
        split: str,
        names: tuple[str, ...],
        metrics: tuple[str, ...],
        plugins: tuple[Path, ...],
        ensemble: bool,
        rows: Any,
        distances: bool,
        images: Path | None,
        captions: Path | None,
        measure: Any,
        ranks_from: str | None,
        **own: Any,
    ) -> Any:
        from harness import datasets
        from harness.metrics.catalogue import METRICS
        from harness.outputs.opening import Reading, require_readable

        add_plugins(plugins)
        for name in metrics:
            METRICS.get(name)

        reading = Reading(
            rows=rows,
            measure=measure,
            ensemble=ensemble,
            distances=distances,
            images=images,
            captions=captions,
            ranks_from=None if ranks_from is None else cast(Any, int(ranks_from)),
        )
        require_readable(files, reading, averages=averages)
        component = dataset_component(dataset, overrides)
        given = Given(files, reading, component, datasets.open_dataset(component), split, names, metrics)
        return command(*arguments, given=given, **own)

    return with_given


def say_not_evaluated(found: FileResults) -> None:
    """Which protocols have no number: those of other data in one line, a reason for each that the results do not decide."""
    for name, reason in found.refused.items():
        say(f"not evaluated: {name}: {reason}", err=True)
    if found.unfit:
        say(
            f"not evaluated: {', '.join(found.unfit)}, which are defined on other data (--protocol NAME says why)",
            err=True,
        )
