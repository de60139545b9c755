"""`itm check`: the contract suite of its kind on a part, by name or from a plug-in file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import add_plugins, plugin_option, repeatable
from harness.cli.terminal import say

if TYPE_CHECKING:
    from harness.conformance import Checked


@click.command()
@click.argument("part", metavar="NAME|FILE")
@repeatable("--set", "settings", "KEY=VALUE", "Option of the part, e.g. root=FOLDER of a dataset.")
@plugin_option
def check(part: str, settings: tuple[str, ...], plugins: tuple[Path, ...]) -> int:
    """Run the contract suite on a part: a scorer (NAME or NAME.VARIANT), dataset, backbone, protocol, metric or report section
    by its NAME, or whatever a plug-in FILE, or each file of a FOLDER, holds. The file is executed.

    Exit code 0 when every rule is kept, 1 when one is broken.
    """
    from harness.conformance import check_file, check_part, kinds_of
    from harness.settings.reading import parse_setting

    add_plugins(plugins)
    options: dict[str, Any] = dict(parse_setting(text, "root=data/flickr8k") for text in settings)
    if part.endswith(".py") or Path(part).is_dir():
        checked = check_file(part, options)
    else:
        checked = [check_part(kind, part, options) for kind in kinds_of(part)]
    for one in checked:
        _say(one)
    return 1 if any(one.broken for one in checked) else 0


def _say(checked: Checked) -> None:
    for result in checked.results:
        say(f"{'ok  ' if result.passed else 'FAIL'} {result.name}{'' if result.passed else ': ' + result.detail}")
    kept = len(checked.results) - len(checked.broken)
    say(f"{checked.kind} {checked.name}: {kept} of {len(checked.results)} rules kept")
