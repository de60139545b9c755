"""`itm report`: leaderboards of everything that is recorded."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath


@click.command()
@click.argument("results", type=NamedPath())
@click.option("--published", is_flag=True, help="Join the published rows of the same dataset and protocol, marked so.")
def report(results: Path, published: bool) -> None:
    """Write one leaderboard a dataset from all finished runs below RESULTS, without running anything."""
    from harness.cli.terminal import console as terminal_console
    from harness.errors import InvalidRecord
    from harness.files.names import safe_name
    from harness.records.run import RunStore
    from harness.reports.document import pages
    from harness.reports.leaderboard import report as board
    from harness.reports.runs.loading import sound_records

    store = RunStore(results)
    finished = sound_records(store)
    if not finished:
        raise InvalidRecord(
            f"no finished run below {results}/runs; run `itm leaderboard EXP --results {results}` first"
        )
    console = terminal_console()
    by_data: dict[tuple[str, str], list[str]] = {}
    for record in finished:
        by_data.setdefault((record.dataset, record.data_sha256), []).append(record.run_id)
    for (dataset, sha256), run_ids in by_data.items():
        # told apart on disks that ignore case, too
        same_name = sum(name.lower() == dataset.lower() for name, _ in by_data) > 1
        stem = f"{dataset}-{sha256[:8]}" if same_name else dataset
        built = board.build(store, run_ids, title=f"Leaderboard: {stem}", published=published)
        about = {"all runs of": dataset, "data_sha256": sha256}
        folder = pages.page_folder(results / "leaderboards", f"all-{safe_name(stem)}", board.STEM, about, run_ids)
        board.write(pages.with_about(built, about), folder)
        console.print(board.terminal_table(built))
        console.print(f"written: {folder}/leaderboard.md, .html, .csv, .json, .tex", soft_wrap=True, markup=False)
