"""`itm new`: a working plug-in of a kind, with a test beside it."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from harness.cli.options import NamedPath
from harness.cli.terminal import say, say_file
from harness.errors import InvalidPlugin

#: Kinds as they are typed, with the kind of part that each makes; the templates go by the same names.
KINDS = {
    "scorer": "scorer",
    "dataset": "dataset",
    "image-backbone": "image backbone",
    "text-backbone": "text backbone",
    "protocol": "protocol",
    "metric": "metric",
    "section": "section",
}
TEMPLATES = Path(__file__).parent / "templates"
#: What a template calls its part and its class.
_NAME, _CLASS = "example", "Example"


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name", metavar="NAME")
@click.option("--folder", type=NamedPath(file_okay=False), default=Path("."), help="Folder of the two files.")
def new(kind: str, name: str, folder: Path) -> None:
    """Write NAME.py, a working plug-in of a KIND, and test_NAME.py, which runs the rules of its kind on it.

    Neither file may exist. The plug-in passes `itm check` at once; change it step by step, and check again.
    """
    from harness import plugins

    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name.startswith(("_", "test_")):
        raise InvalidPlugin(
            f"'{name}' cannot be the name of a plug-in: expected letters, digits and _, neither a digit, _ nor test_ first, "
            "and no word of Python's, such as my_part"
        )
    path = folder / f"{name}.py"
    source = plugins.Source("plug-in", str(path.resolve()))
    plugins.KINDS[KINDS[kind]].parts().require_free(name, source)
    texts = {path: _text(kind, name, ""), folder / f"test_{name}.py": _text(kind, name, "test_")}
    for file in texts:
        if file.exists() or file.is_symlink():
            raise InvalidPlugin(f"{file} exists already; choose another name or folder, or move it away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidPlugin(f"cannot write {folder}: {error.strerror or error}") from None
    for file, text in texts.items():
        _write(file, text)
        say_file("written", file)
    say(f"check it with: itm check {path}")


def _text(kind: str, name: str, prefix: str) -> str:
    """A template with its part's name in place of the example's."""
    text = (TEMPLATES / kind.replace("-", "_") / f"{prefix}{_NAME}.py").read_text(encoding="utf-8")
    class_name = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return re.sub(rf"\b{_CLASS}", class_name, text).replace(_NAME, name).replace(_NAME.upper(), name.upper())


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InvalidPlugin(f"cannot write {path}: {error.strerror or error}") from None
