"""What one evaluation found: metrics with intervals, and the rank of every query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from harness.errors import UnknownName
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from harness.reports.document.model import Report
    from harness.reports.statistics.intervals import Interval

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The numbers of one run: `evaluate` makes it, `compare` tests several, and a notebook shows it as a table.

    `result["t2i_r1"]` is a metric of the first protocol, and `result.interval("t2i_r1")` its 95 % interval for new images.

    Args:
        record: everything that is recorded of the run: settings, costs, training, environment.
        tables: by protocol the rank of every query, both directions.
    """

    record: RunRecord
    tables: Mapping[str, RankTable]

    @classmethod
    def of_run(cls, store: RunStore, run_id: str) -> Result:
        """The result of a recorded run.

        Raises:
            InvalidRecord: missing, damaged, not finished, or with averages only, which have no ranks.
        """
        record = store.require(run_id)
        return cls(record, store.ranks_of(record) if record.has_ranks else {})

    @property
    def run_id(self) -> str:
        """Id of the run, as the commands give it."""
        return self.record.run_id

    @property
    def name(self) -> str:
        """The scorer with its variant, as tables show it."""
        return self.record.label

    @property
    def protocol(self) -> str:
        """The first protocol, which `result[...]` reads."""
        return next(iter(self.record.metrics))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """By protocol: recalls in percent, `rsum` from 0 to 600, `medr` and `meanr` as ranks from 1, `tie_rate` from 0 to 1."""
        return self.record.metrics

    def __getitem__(self, metric: str) -> float:
        return _looked_up(self.metrics[self.protocol], metric, "metric")

    @cached_property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """By protocol and metric, the 95 % interval for new images, with the image as the unit; recalls and rSum have one."""
        from harness.reports.runs.intervals import intervals_of

        depths = self.record.source.depths if self.record.source else None
        return {
            protocol: intervals_of(self.tables[protocol], metrics, self.record.ties, depths)
            for protocol, metrics in self.metrics.items()
            if protocol in self.tables
        }

    def interval(self, metric: str, protocol: str = "") -> tuple[float, float]:
        """The 95 % interval of a metric, in its unit.

        Args:
            metric: a recall or `rsum`.
            protocol: "" = the first.

        Raises:
            UnknownName: no such protocol, or a metric without an interval.
        """
        rows = _looked_up(self.intervals, protocol or self.protocol, "protocol")
        found = _looked_up(rows, metric, "metric with an interval")
        return found.low, found.high

    def to_frame(self) -> pd.DataFrame:
        """One row per protocol and metric: `protocol`, `metric`, `value`, `low`, `high`, `unit`."""
        import pandas as pd

        from harness.records.units import unit_of

        rows = [
            (protocol, metric, value, interval.low if interval else None, interval.high if interval else None)
            for protocol, metrics in self.metrics.items()
            for metric, value in metrics.items()
            for interval in [self.intervals.get(protocol, {}).get(metric)]
        ]
        frame = pd.DataFrame(rows, columns=["protocol", "metric", "value", "low", "high"])
        frame[["low", "high"]] = frame[["low", "high"]].astype("float64")
        return frame.assign(unit=frame["metric"].map(unit_of))

    def report(self) -> Report:
        """The numbers as a report, which `harness.reports.document` renders."""
        from harness.reports.document.model import Column, Report, Section, Table

        columns = [
            Column("protocol", "protocol"),
            Column("metric", "metric"),
            Column("value", "value [95 % CI]", "estimate", digits=2),
            Column("unit", "unit"),
        ]
        frame = self.to_frame().rename(columns={"low": "value_low", "high": "value_high"})
        table = Table(frame, columns, "Metrics with 95 % intervals for new images", "metrics")
        title = f"{self.record.title} on {self.record.dataset} {self.record.split}"
        sentence = f"{title}, run {self.run_id}, ties {self.record.ties}."
        return Report(title=title, stem="result", sentences=[sentence], sections=[Section(title=title, tables=[table])])

    def __repr__(self) -> str:
        record, metrics = self.record, self.metrics[self.protocol]
        number = f"rSum {metrics['rsum']:.1f}" if "rsum" in metrics else f"{len(metrics)} metrics"
        return f"<Result of {record.title} on {record.dataset} {record.split}, {self.protocol}: {number}>"

    def _repr_html_(self) -> str:
        from harness.reports.document.render import fragment

        return fragment(self.report())


def _looked_up(known: Mapping[str, T], name: str, kind: str) -> T:
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]
