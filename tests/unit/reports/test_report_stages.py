"""Reports tell how far they are: every stage from nothing to all of it, and the numbers do not depend on who listens."""

from __future__ import annotations

from compared import only

from harness.reports.leaderboard.report import build as build_board
from harness.reports.significance.examine import Request, examine_all
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.telling import silent


class Heard(list[tuple[str, int, int]]):
    """What was told, in its order."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.append((stage, done, total))

    @property
    def stages(self) -> dict[str, tuple[list[int], int]]:
        """The counts of what was done, and the total, by stage in the order of their starts."""
        return {
            stage: ([done for name, done, _ in self if name == stage], total)
            for stage, total in {stage: total for stage, _, total in self}.items()
        }


def compared(runs, tell) -> Comparison:
    (result,), _ = examine_all([only(runs, tell=tell)], Request(resamples=999), tell)
    return result.comparison


def test_a_significance_report_tells_every_stage_to_its_end(three_scorers):
    heard = Heard()
    comparison = compared(three_scorers, heard)
    assert list(heard.stages) == [
        "reading records",
        "checking ranks",
        "reading ranks",
        "resampling",
        "primary tests",
        "secondary tests",
    ]
    totals = {stage: total for stage, (_, total) in heard.stages.items()}
    assert totals == {
        "reading records": 0,
        "checking ranks": 9,  # runs
        "reading ranks": 3,  # methods
        "resampling": comparison.resamples,
        "primary tests": 3,  # pairs
        "secondary tests": 18,  # pairs x recalls
    }
    for stage, (done, total) in heard.stages.items():
        assert done[0] == 0, stage
        assert done[-1] == total, stage
        assert done == sorted(done), stage


def test_who_listens_changes_no_number(three_scorers):
    assert compared(three_scorers, Heard()).rows == compared(three_scorers, silent).rows


def test_a_leaderboard_tells_its_stages(three_scorers):
    heard = Heard()
    build_board(three_scorers.store, three_scorers.ids, title="all", tell=heard)
    assert list(heard.stages) == ["reading ranks", "resampling", "primary tests", "intervals", "making pages"]
    assert heard.stages["intervals"] == ([0, 1, 2, 3], 3)
