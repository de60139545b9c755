"""Several results against each other, by the tests of `itm significance`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.models import Model
from harness.api.results import Result
from harness.errors import InvalidSpec

if TYPE_CHECKING:
    import pandas as pd

    from harness.reports.document.figures import Drawing
    from harness.reports.document.model import Report
    from harness.reports.runs.groups import Gallery, Group
    from harness.reports.significance.examine import Result as Examined


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Paired tests of all methods with each other; a notebook shows it as a report.

    Args:
        examined: everything that the tests found, see `harness.reports.significance.examine.Result`.
    """

    examined: Examined

    @property
    def verdicts(self) -> list[str]:
        """What is significantly better than what, in sentences."""
        return list(self.report().sentences)

    def to_frame(self) -> pd.DataFrame:
        """One row per pair and metric: `a`, `b`, `metric`, `difference` in points with `low` and `high`, `p_adjusted`, ..."""
        return self.report().main

    def plot(self) -> Drawing:
        """The differences with their intervals, as a matplotlib figure; many methods as a matrix.

        Raises:
            InvalidSpec: nothing can be drawn.
        """
        from harness.reports.significance import figures

        figure = figures.forest(self.examined.comparison) or figures.matrix(self.examined.comparison)
        if figure is None or isinstance(figure.drawing, bytes):
            raise InvalidSpec("this comparison has no figure; to_frame() has its numbers")
        return figure.drawing

    def report(self) -> Report:
        """The report of `itm significance`, as data."""
        from harness.reports.significance import report

        return report.build(self.examined)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the report as HTML, Markdown, LaTeX, JSON and CSV, with its figures.

        Raises:
            ResultsNotWritable: the folder cannot be written.
        """
        from harness.reports.document import render

        return render.write(self.report(), folder)

    def __repr__(self) -> str:
        return f"<Comparison on {self.examined.subject.title}: {' '.join(self.verdicts)}>"

    def _repr_html_(self) -> str:
        from harness.reports.document.render import fragment

        return fragment(self.report())


def compare(results: Sequence[Result | Model], *, protocol: str = "", **settings: Any) -> Comparison:
    """Test the differences between results on the same queries, with the image as the unit.

    Results that differ only in their seed are one method.

    Args:
        results: two or more, on one dataset and split; a model stands for its run's result.
        protocol: that all of them have; "" = the first one.
        settings: of `itm significance`: `metrics`, `claim`, `reference`, `equivalence` (points by metric), `alpha`,
            `correction`, `resamples`, `seed`, `allow_unequal_seeds`, `bayes`.

    Raises:
        InvalidSpec: results of several galleries, without a common protocol, or two of one name and seed.
        InvalidComparison: a comparison that would give a number nobody should trust.
        UnknownName: a method or a metric that does not exist.
    """
    from harness.reports.runs.groups import groups
    from harness.reports.significance.examine import examine

    found = [Result.of_run(one.store, one.run_id) if isinstance(one, Model) else one for one in results]
    request = _request(settings)
    by_gallery = groups([one.record for one in found])
    name = protocol or _common_protocol(found)
    galleries = [gallery for gallery in by_gallery if gallery.protocol == name]
    if len(galleries) != 1:
        raise InvalidSpec(
            f"results are compared on one dataset, split and protocol '{name:.40}', got "
            f"{'; '.join(g.title for g in galleries or by_gallery) or 'none with an rSum'}"
        )
    (gallery,) = galleries
    return Comparison(examine(_subject(gallery, by_gallery[gallery], found), request))


def _request(settings: dict[str, Any]) -> Any:
    from dataclasses import fields

    from harness.errors import did_you_mean
    from harness.reports.significance.examine import Request

    known = {field.name for field in fields(Request)}
    for key in settings:
        if key not in known:
            raise InvalidSpec(f"compare has no setting '{key:.40}'{did_you_mean(key, known)}")
    if "metrics" in settings:
        settings = {**settings, "metrics": tuple(settings["metrics"])}
    return Request(**settings)


def _common_protocol(results: Sequence[Result]) -> str:
    if not results:
        raise InvalidSpec("compare needs two results or more, got none")
    common = [name for name in results[0].tables if all(name in one.tables for one in results)]
    if not common:
        raise InvalidSpec("these results have no protocol in common; evaluate them under one")
    return common[0]


def _subject(gallery: Gallery, members: Sequence[Group], results: Sequence[Result]) -> Any:
    from harness.reports.runs.groups import Gallery
    from harness.reports.runs.loading import runs_of_table
    from harness.reports.runs.queries import all_seeds
    from harness.reports.runs.subjects import Subject

    tables = {one.run_id: one for one in results}
    methods = []
    for group in members:
        if group.replaced:
            raise InvalidSpec(
                f"{group.label} has two results of one seed; give each a name of its own, or its own seed"
            )
        seeds = [
            runs_of_table(
                tables[record.run_id].tables[gallery.protocol],
                name=f"{group.label} seed {record.seed}",
                seed=record.seed,
                gallery=Gallery(gallery.dataset, gallery.split, gallery.data_sha256, gallery.protocol),
                ties=record.ties,
                depths=record.source.depths if record.source else None,
            )
            for record in group.records
        ]
        methods.append(all_seeds(group.label, seeds))
    return Subject(
        dataset=gallery.dataset,
        protocol=gallery.protocol,
        title=gallery.title,
        slug=gallery.slug,
        images_key=f"{gallery.dataset} {gallery.split}",
        methods=tuple(methods),
        bases={group.label: group.first.label for group in members},
        backbones={group.label: group.first.backbone for group in members},
    )
