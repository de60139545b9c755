"""The study of workers and threads: what it divides by what, and that the command line takes what it asks for."""

from pathlib import Path

import pytest

from harness.cli.main import cli
from tests.studies.scale import Arrangement, Claim, Sample, arrangements, claims, ratios, table, verdicts

ROUNDS = [
    {"slow": Sample(34.0, 1.0), "fast": Sample(17.0, 7.0)},
    {"slow": Sample(30.0, 2.0), "fast": Sample(20.0, 3.0)},
]


def test_a_ratio_is_taken_within_a_round():
    assert ratios(Claim("throughput", "slow", "fast", 1.7), ROUNDS) == [1.5, 2.0]


@pytest.mark.parametrize(
    ("goal", "least", "told"),
    [(1.7, True, ">= 1.70: reached"), (1.8, True, ">= 1.80: MISSED"), (1.6, False, "<= 1.60: MISSED"), (1.75, False, "reached")],
)  # fmt: skip
def test_the_verdict_is_about_the_median(goal, least, told):
    (line,) = verdicts([Claim("throughput", "slow", "fast", goal, least)], ROUNDS)
    assert "throughput: 1.75 (1.50 to 2.00)" in line
    assert told in line


def test_the_table_shows_the_spread_and_the_largest_other_load():
    slow, fast = table(ROUNDS)
    assert "32.0 s (30.0 to 34.0); others up to 2 %" in slow
    assert "others up to 7 %" in fast


@pytest.mark.parametrize("cpus", [2, 8])
def test_every_claim_is_about_arrangements_that_are_timed(cpus):
    names = arrangements(cpus)
    assert all({claim.upper, claim.lower} <= names.keys() for claim in claims(cpus))


@pytest.mark.parametrize("arrangement", arrangements(2).values(), ids=arrangements(2))
def test_the_command_line_takes_its_commands(arrangement: Arrangement, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("ITM_WORKERS")
    command = arrangement.command(tmp_path, epochs=3, seeds=2)
    arguments = command[command.index("leaderboard") + 1 :]
    leaderboard = cli.get_command(None, "leaderboard")
    context = leaderboard.make_context("leaderboard", arguments)
    assert context.params["results"] == tmp_path
    assert f"threads={arrangement.threads}" in context.params["overrides"]
    assert context.params["workers"] == (arrangement.workers or None)
