"""The part of `itm add` for files of averages: what has no meaning there, and what is said of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.scored import LEGEND, print_numbers
from harness.cli.terminal import say, say_file

if TYPE_CHECKING:
    from harness.cli.given import Given
    from harness.outputs.averages import Unit
    from harness.records.description import Contamination
    from harness.records.store import RunStore
    from harness.runs.foreign import Stated


def holds_averages(given: Given, unit: Unit | None, needless: dict[str, object]) -> bool:
    """Whether the one file that is given states averages.

    Args:
        given: the files.
        unit: what the user says of averages.
        needless: options by flag that have no meaning for averages, with whether they were given.

    Raises:
        click.UsageError: an option of averages without one, or one of other results with averages; several files.
    """
    from harness.outputs.averages import is_averages

    averages = [path for path in given.paths if is_averages(path)]
    if not averages:
        if unit:
            raise click.UsageError(f"--unit is for files of averages, which {given.files[0]} is not; leave it out")
        return False
    if len(given.files) > 1:
        raise click.UsageError(f"{averages[0]} holds averages, which are added one file at a time")
    flags = [flag for flag, value in {**given.reading.said, **needless}.items() if value]
    if flags:
        raise click.UsageError(
            f"{averages[0]} holds averages: {', '.join(flags)} {'has' if len(flags) == 1 else 'have'} no meaning for them; "
            "leave it out"
        )
    return True


def add_averages(
    store: RunStore,
    given: Given,
    stated: Stated,
    unit: Unit | None,
    overlaps: tuple[Contamination, ...] | None,
    allow_chance: bool,
) -> None:
    """Record a file of averages and show what it became; errors as `harness.runs.averages.record_averages`."""
    from harness.outputs.averages import read_averages
    from harness.runs.averages import record_averages

    found = read_averages(given.paths[0], unit)
    split = given.dataset.split(given.split)
    record = record_averages(
        store,
        found,
        given.dataset,
        split,
        given.component,
        given.protocols,
        stated,
        overlaps=overlaps,
        allow_chance=allow_chance,
    )
    say(f"{given.title}: {found.title}, read as {found.unit}s, recorded as {record.title} ({record.run_id})")
    print_numbers({protocol: {"": metrics} for protocol, metrics in record.metrics.items()})
    say(LEGEND)
    if not given.protocols:
        images, captions = len(split.image_ids), len(split.captions)
        say(
            f"taken as numbers of all {images:,} images and {captions:,} captions ({', '.join(record.protocols)}); "
            "--protocol names another"
        )
    say("it has no ranks: it is shown on leaderboards without interval and tier, and cannot be tested")
    say_file("written", store.folder(record.run_id) / "record.json")
