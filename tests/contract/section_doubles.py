"""Sections of reports that break one rule of the contract each on purpose."""

import itertools
from dataclasses import replace

import pandas as pd

from harness.reports.document.model import Column, Section, Table
from harness.sections.base import ReportSection

BROKEN: dict[str, list[type]] = {}
CALLS = itertools.count()


def breaks(rule):
    """Registers a double that the rule must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


class Sound(ReportSection):
    """A row per run."""

    description = "rSum of every run"

    def build(self, runs):
        frame = runs.frame[["label", "full.rsum"]].rename(columns={"full.rsum": "rsum"})
        columns = (Column("label", "Method"), Column("rsum", "rSum", "number"))
        return Section(title="Sums", sentences=["As recorded."], tables=[Table(frame, columns, "rSum", "sums")])


@breaks("declared")
class SaysNotWhatItIs(Sound):
    description = ""


@breaks("many_runs")
class Empty(Sound):
    def build(self, runs):
        return Section(title="Sums")


@breaks("many_runs")
class GivesATable(Sound):
    def build(self, runs):
        return super().build(runs).tables[0]


@breaks("many_runs")
class ShowsAColumnThatIsNotThere(Sound):
    def build(self, runs):
        section = super().build(runs)
        return replace(section, tables=[replace(section.tables[0], columns=(Column("rsun", "rSum", "number"),))])


@breaks("many_runs")
class UsesAKeyTwice(Sound):
    def build(self, runs):
        section = super().build(runs)
        return replace(section, tables=[*section.tables, *section.tables])


@breaks("one_run")
class ComparesTheFirstTwo(Sound):
    def build(self, runs):
        first, second = runs.frame["full.rsum"][:2]
        return replace(super().build(runs), sentences=[f"{first:.1f} and {second:.1f}"])


@breaks("averages_only")
class AsksEveryRunForItsRanks(Sound):
    def build(self, runs):
        means = [runs.ranks(record.run_id)["full"].t2i_rank.mean() for record in runs.records]
        return replace(super().build(runs), sentences=[f"{max(means):.1f}"])


@breaks("rendered")
class ShowsATextAsANumber(Sound):
    def build(self, runs):
        frame = pd.DataFrame({"label": ["scan"]})
        table = Table(frame, (Column("label", "Method", "number"),), "Names", "names")
        return Section(title="Names", tables=[table])


@breaks("deterministic")
class CountsItsCalls(Sound):
    def build(self, runs):
        return replace(super().build(runs), sentences=[f"call {next(CALLS)}"])


@breaks("runs_kept")
class RoundsTheRecords(Sound):
    def build(self, runs):
        for record in runs.records:
            record.metrics["full"]["rsum"] = float(round(record.metrics["full"]["rsum"]) + 1)
        return super().build(runs)


@breaks("runs_kept")
class SortsTheFrame(Sound):
    def build(self, runs):
        runs.frame.sort_values("full.rsum", inplace=True)
        return super().build(runs)
