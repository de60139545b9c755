"""`itm site`: static pages of all that a results folder holds."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath
from harness.cli.terminal import say


@click.command()
@click.argument("results", type=NamedPath())
def site(results: Path) -> None:
    """Write the site of RESULTS into RESULTS/site/: open index.html there, from a file or any web server.

    Leaderboards and all other reports stand in one frame, linked with each other. Every command that writes into a results
    folder refreshes its site (`--no-site` leaves it out).
    """
    from harness.errors import InvalidRecord
    from harness.records.store import RunStore
    from harness.reports.site.build import write_site

    if not results.is_dir():
        raise InvalidRecord(f"no folder at {results}; name a results folder, such as results")
    say(f"site: {write_site(RunStore(results))}")
