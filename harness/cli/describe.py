"""`itm describe`: what a dataset holds and which problems it has, before anything is trained on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import NamedPath, add_plugins, plugin_option, repeatable
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import show_page

if TYPE_CHECKING:
    from harness.spec import Component

#: Loggers that tell progress, or what the page says anyway.
_SILENT = ("harness.datasets.store", "harness.datasets.catalogue", "harness.datasets.published")


@click.command()
@click.argument("path", metavar="PATH")
@click.option("--layout", metavar="NAME", help="Layout of the folder (`itm ls datasets`)  [default: recognised]")
@repeatable("--set", "overrides", "OPTION=VALUE", "Option of the dataset, e.g. captions_per_image=null.")
@repeatable(
    "--text",
    "texts",
    "COMPONENT",
    "Text backbone whose length limit and unknown words are counted, e.g. bigru or '{name: transformer, model: FOLDER}'.",
    "CLIP's 77 tokens, and BERT's where a package brings its word pieces",
)
@repeatable(
    "--against",
    "against",
    "OTHER",
    "Other data whose images should not be in PATH: a dataset's folder, or a file of ids or file names.",
    type=NamedPath(),
)
@click.option(
    "--near",
    type=click.IntRange(0, 20),
    default=10,
    help="Differing bits (of 64) up to which the hashes of images are near-duplicates.",
)
@click.option("--quick", is_flag=True, help="Captions, names and headers of files only: no image is decoded.")
@click.option("--out", type=NamedPath(file_okay=False), help="Folder of the page  [default: RESULTS/describe/TITLE]")
@click.option(
    "--results",
    type=NamedPath(file_okay=False),
    default=Path("results"),
    envvar="ITM_RESULTS",
    help="Folder of runs and reports.",
)
@plugin_option
@refreshes_site
def describe(
    path: str,
    layout: str | None,
    overrides: tuple[str, ...],
    texts: tuple[str, ...],
    against: tuple[Path, ...],
    near: int,
    quick: bool,
    out: Path | None,
    results: Path,
    plugins: tuple[Path, ...],
) -> None:
    """Describe the data in PATH: a dataset's folder, the name of a generated dataset, or an experiment's dataset.

    Nothing is trained. The findings come first, the worst on top; the page shows every number behind them, with sample
    pictures. What was found in files is remembered until they change.
    """
    from harness.datasets import open_dataset
    from harness.description.contamination import read_other
    from harness.description.describe import Request, describe
    from harness.files.names import safe_name
    from harness.reports.description.report import build
    from harness.reports.document import render

    add_plugins(plugins)
    component = _dataset(path, layout, overrides)
    request = Request(texts=[_component(text) for text in texts], quick=quick, near_bits=near)
    with _decisions() as decided:
        dataset = open_dataset(component)
        others = [other for path in against for other in read_other(path, quick=quick)]
        found = describe(dataset, component, others, request)
    facts = found.facts.model_copy(update={"decided": list(dict.fromkeys(decided))})
    page = build(facts, found.thumbnails)
    folder = out or _own_folder(results / "describe" / safe_name(facts.title), facts.root)
    render.write(page, folder)
    show_page(page, folder)


def _own_folder(folder: Path, root: str) -> Path:
    """The folder of the page, or one beside it if it holds the page of another folder's data under the same title."""
    from harness.files.reading import Damaged, read_json
    from harness.spec import sha256_json

    try:
        earlier = read_json(folder / "describe.json")["data"]["description"]["root"]
    except (Damaged, OSError, KeyError, TypeError):
        return folder
    same = Path(earlier).resolve() == Path(root).resolve()
    return folder if same else folder.with_name(f"{folder.name}-{sha256_json(str(Path(root).resolve()))[:8]}")


def _dataset(path: str, layout: str | None, overrides: tuple[str, ...]) -> Component:
    """What PATH names: a folder before anything else, then a dataset or an experiment."""
    from harness.cli.scored import dataset_component, dataset_options
    from harness.datasets import DATASETS
    from harness.settings.experiment import INFERRED
    from harness.spec import Component

    place = Path(path).expanduser()
    if layout is not None or place.is_dir():
        options = {"root": path, **dataset_options(overrides)}
        return DATASETS.resolve(Component(name=layout or INFERRED, options=options))
    return dataset_component(path, overrides)


def _component(text: str) -> Component:
    from harness.errors import InvalidSpec
    from harness.files import strict_yaml
    from harness.spec import Component

    value = strict_yaml.parse(text, "the value of --text")
    if not isinstance(value, str) and not (isinstance(value, dict) and isinstance(value.get("name"), str)):
        raise InvalidSpec(
            f"--text takes the name of a text backbone, or {{name: ..., OPTION: VALUE}}, got '{text:.100}'"
        )
    return Component.model_validate(value)


@contextmanager
def _decisions() -> Iterator[list[str]]:
    """What the readers of datasets say meanwhile: which of several files they took, and what they left out."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.name.startswith(_SILENT):
                lines.append(record.getMessage())

    logger, collector = logging.getLogger("harness.datasets"), Collector()
    logger.addHandler(collector)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
