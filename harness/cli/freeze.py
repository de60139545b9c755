"""`itm freeze`: a leaderboard as a version with checksums, which others read, extend and compare with."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath, results_option
from harness.cli.terminal import say, say_file


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--version", default="", show_default=False, metavar="VERSION", help="Version, such as 1.0; it only rises."
)
@click.option(
    "--name", default="", show_default=False, metavar="NAME", help="Name  [default: that of the first SOURCE]"
)
@click.option("--title", default="", show_default=False, metavar="TEXT", help="Title  [default: Leaderboard: NAME]")
@click.option(
    "--license", default="", show_default=False, metavar="TEXT", help="License of the results, e.g. CC-BY-4.0."
)
@click.option("--citation", default="", show_default=False, metavar="TEXT", help="Citation of the results.")
@click.option("--out", type=NamedPath(file_okay=False), help="Folder to write  [default: RESULTS/frozen/NAME-VERSION]")
@click.option("--check", is_flag=True, help="Check of the frozen leaderboards SOURCE; nothing is written.")
@click.option(
    "--base",
    default="",
    show_default=False,
    metavar="SOURCE",
    help="With --check: the frozen leaderboard that SOURCE is submitted to.",
)
@results_option
def freeze(
    sources: tuple[str, ...],
    version: str,
    name: str,
    title: str,
    license: str,
    citation: str,
    out: Path | None,
    check: bool,
    base: str,
    results: Path,
) -> int:
    """Freeze the leaderboard of all runs of SOURCE: plain CSV and JSON with checksums, as a version that never changes.

    SOURCE is a results folder, a leaderboards/NAME folder, a run, or a frozen leaderboard: its folder, a zip of it, or the
    http(s) address of either. Frozen ones are extended: itm freeze results BOARD --version 1.1.

    itm freeze --check BOARD --base THEIRS tells every problem of a submission; exit 0 without one, 2 otherwise.
    """
    if check:
        given = {"--version": version, "--name": name, "--title": title, "--license": license, "--citation": citation}
        needless = [flag for flag, value in {**given, "--out": out}.items() if value]
        if needless:
            raise click.UsageError(f"--check writes nothing, so {', '.join(needless)} has no use; leave it out")
        return _check(sources, base)
    if base:
        raise click.UsageError("--base is for --check; name a leaderboard to extend as another SOURCE")
    if not version:
        raise click.UsageError("--version is missing: give the first version of a leaderboard as --version 1.0")
    return _freeze(sources, results, (name, version, title, license, citation), out)


def _freeze(sources: tuple[str, ...], results: Path, said: tuple[str, str, str, str, str], out: Path | None) -> int:
    from harness.reports.frozen.contents import About, frozen_files
    from harness.reports.frozen.text import default_name, frozen_summary
    from harness.reports.frozen.writing import require_name, require_rising, write_frozen
    from harness.reports.runs.groups import too_short_sentence
    from harness.reports.runs.loading import finished_records
    from harness.reports.runs.stores import join, results_folder

    name, version, title, license, citation = said
    name = name or default_name(sources[0], results)
    require_name(name, version)
    folder = out or results_folder(sources, results) / "frozen" / f"{name}-{version}"
    store = join(sources, results)
    require_rising(name, version, folder, store.frozen)
    about = About(name, version, title or f"Leaderboard: {name}", license, citation)
    manifest, files = frozen_files(store, about)
    new = write_frozen(files, folder)
    for line in (*frozen_summary(manifest, files), *too_short_sentence(finished_records(store, store.run_ids))):
        say(line)
    say_file("written" if new else "unchanged", folder / "frozen.json", str(folder))
    return 0


def _check(sources: tuple[str, ...], base: str) -> int:
    from harness.records.frozen.opening import examine, open_frozen
    from harness.reports.frozen.check import check_submission

    against = open_frozen(base) if base else None
    bad = False
    for source in sources:
        found = check_submission(examine(source), against)
        for line in found.lines():
            say(line)
        bad |= bool(found.problems)
    return 2 if bad else 0
