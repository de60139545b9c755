"""`itm explain`: which words of a caption a run matched with which parts of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import add_plugins, device_option, plugin_option, results_option, torch_device
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run
from harness.cli.terminal import show_page

if TYPE_CHECKING:
    from harness.records.cards import Card


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--image", metavar="ID", help="Picture of the run's split, by id or row  [default: the caption's own]")
@click.option("--caption", metavar="ID", help="Caption, by id or row  [default: all captions of the picture]")
@click.option("--text", metavar="TEXT", help="A text of your own in place of a caption, such as 'a dog jumps'.")
@dataset_set_option
@device_option
@plugin_option
@results_option
@refreshes_site
def explain(
    run: str,
    image: str | None,
    caption: str | None,
    text: str | None,
    overrides: tuple[str, ...],
    device: str,
    plugins: tuple[Path, ...],
    results: Path,
) -> None:
    """Show where each word of a caption looks in a picture, as the method of RUN (an id, its beginning, or the run's
    folder) matches them.

    Made from the run's saved model. The page with a map per word is written below RESULTS/explanations/; the card is also
    kept with the run, so that the site shows it beside those of other methods. A number is taken as an id if there is such
    an id, else as a row; row:12 is always a row.
    """
    from harness.alignments.explain import explain as explained
    from harness.files.names import safe_name
    from harness.records.store import RunStore
    from harness.reports.alignments.report import build
    from harness.reports.document.render import write

    add_plugins(plugins)
    store = RunStore(results)
    run_id = find_run(store, run)
    asked = {"image": image, "caption": caption, "text": text}
    found = explained(store, run_id, asked, torch_device(device), dataset_options(overrides))
    page = build(found.record, found.cards, found.pictures)
    folder = results / "explanations" / safe_name(_name(run_id, found.record.label, found.cards))
    write(page, folder)
    show_page(page, folder)


def _name(run_id: str, label: str, cards: tuple[Card, ...]) -> str:
    """The folder of the page: the run, the picture and, if it shows one alone, the caption."""
    first = cards[0]
    if len(cards) > 1:
        about = "captions"
    else:
        about = f"caption{first.caption_row}" if first.caption_row is not None else first.caption
    return f"{label}-{run_id[:8]}-image{first.image_row}-{about}"
