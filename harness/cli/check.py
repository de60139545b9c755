"""`itm check`: the contract suite on a scorer or a plug-in file."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, plugin_option
from harness.cli.terminal import say


@click.command()
@click.argument("scorer", metavar="NAME|FILE")
@plugin_option
def check(scorer: str, plugins: tuple[Path, ...]) -> int:
    """Run the contract suite on a registered scorer (NAME or NAME.VARIANT), or on a plug-in FILE that defines one.

    Exit code 0 when every rule is kept, 1 when one is broken.
    """
    from harness import registry
    from harness.conformance import run_contract

    add_plugins(plugins)
    name = registry.add_plugin(scorer) if scorer.endswith(".py") else scorer
    registry.resolve_config(name, {})  # an unknown name or variant is bad input, not a broken rule
    results = run_contract(name)
    for result in results:
        say(f"{'ok  ' if result.passed else 'FAIL'} {result.name}{'' if result.passed else ': ' + result.detail}")
    broken = sum(not result.passed for result in results)
    say(f"{name}: {len(results) - broken} of {len(results)} rules kept")
    return 1 if broken else 0
