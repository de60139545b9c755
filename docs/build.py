"""Builds the site of these documents: `tox -e docs`, or `python docs/build.py [FOLDER]`.

The pages lie here as people read them in a checkout. The site has three more, made of what the program says itself: its
commands, the settings of an experiment, and its Python interface. Zensical checks every link and heading; any warning
fails the build.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
#: Pages that lie elsewhere in the checkout, and their names on the site.
ELSEWHERE = {
    "README.md": "index.md",
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
#: Parts of the schema that have a section of their own, and its title.
SECTIONS = {
    "training": "training",
    "EvaluationSpec": "evaluation",
    "FeatureSpec": "features",
    "FeedingSpec": "feeding",
    "SweepSettings": "sweep",
    "ScorerEntry": "entry of scorers",
}


def main(folder: Path) -> None:
    """Write the site to `folder`/site from the pages in `folder`/pages, in place of an earlier one.

    Raises:
        SystemExit: the folder holds something else, which would be lost.
    """
    pages = folder / "pages"
    is_site = pages.is_dir() and (folder / "zensical.toml").is_file()
    if folder.exists() and not (is_site or (folder.is_dir() and not any(folder.iterdir()))):
        sys.exit(f"{folder} is neither empty nor an earlier site of the documents: name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("zensical.toml", "examples.py"):
        shutil.copy(ROOT / "docs" / name, folder)
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.toml"))
    for source, name in ELSEWHERE.items():
        (pages / name).write_text((ROOT / source).read_text(encoding="utf-8"), encoding="utf-8")
    (pages / "reference").mkdir(exist_ok=True)
    (pages / "reference" / "commands.md").write_text(commands_page(), encoding="utf-8")
    (pages / "reference" / "settings.md").write_text(settings_page(), encoding="utf-8")
    for page in pages.rglob("*.md"):
        page.write_text(with_links_of_the_site(page, pages), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=True)


def with_links_of_the_site(page: Path, pages: Path) -> str:
    """A page's text with links to files of the checkout led to the pages of the site; to a source file, no link is left."""
    place = page.relative_to(pages).as_posix()
    origin = next((source for source, name in ELSEWHERE.items() if name == place), f"docs/{place}")

    def led(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:") or not target:
            return match.group()
        found = (ROOT / origin).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()
        name = ELSEWHERE.get(found, found.removeprefix("docs/"))
        if found not in ELSEWHERE and not (found.startswith("docs/") and found.endswith(".md")):
            return f"{text} (`{found}`)" if text.strip("`") not in (found, Path(found).name) else f"`{found}`"
        upwards = "../" * place.count("/")
        return f"[{text}]({upwards}{name}{anchor or ''})"

    return re.sub(r"(?<!!)\[([^\]\[]+)\]\(([^)#\s]*)(#[^)\s]*)?\)", led, page.read_text(encoding="utf-8"))


def commands_page() -> str:
    """Every command with its help, as `itm COMMAND --help` prints it."""
    from harness.cli.main import COMMANDS, cli

    lines = ["# Commands", "", "What `itm COMMAND --help` prints. The README lists them with what they are for.", ""]
    context = click.Context(cli, info_name="itm")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        text = command.get_help(click.Context(command, info_name=f"itm {name}", terminal_width=100))
        lines += [f"## itm {name}", "", "```text", text, "```", ""]
    return "\n".join(lines)


def settings_page() -> str:
    """Every setting of an experiment, from the schema that editors read."""
    from harness.runs.experiment_schema import experiment_schema

    schema = experiment_schema()
    known = schema["$defs"]
    lines = [
        "# Settings",
        "",
        "Every key of an experiment's YAML file. `itm schema` prints the same for editors; any key can be given by `--set`.",
        "",
        *_section("Experiment", schema),
        *(line for name, title in SECTIONS.items() for line in _section(title, known[name])),
    ]
    for side in ("dataset", "image", "text"):
        for form in known[side]["anyOf"]:
            if "const" in form.get("properties", {}).get("name", {}):
                lines += _section(f"{side}: {form['properties']['name']['const']}", form)
    for name, config in known.items():
        if name.startswith("config of "):
            lines += _section(f"config of scorer {name.removeprefix('config of ')}", config)
    return "\n".join(lines)


def _section(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {title}", "", schema.get("description", ""), "")
    of_part = "const" in schema["properties"].get("name", {})  # whose name is in the title
    rows = [
        (key, value) for key, value in schema["properties"].items() if not of_part or key not in ("name", "options")
    ]
    if not rows:
        yield from ("No options.", "")
        return
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for key, value in rows:
        shown = "default" in value and value["default"] not in ("", {}) and "$ref" not in value
        default = f"`{_cell(_value(value['default']))}`" if shown else ""
        yield f"| `{key}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    """A type in a reader's words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        title = SECTIONS.get(name, name)
        return f"[{title}](#{title.replace(' ', '-')})" if name in SECTIONS else f"{title} or its name"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    words = {
        "integer": "whole number",
        "boolean": "true or false",
        "array": "list",
        "object": "mapping",
        "null": "null",
    }
    name = words.get(schema.get("type", ""), schema.get("type", "anything"))
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {_value(schema[key])}" for key, sign in bounds.items() if key in schema]
    return name + (f" {' and '.join(limits)}" if limits else "")


def _value(value: object) -> str:
    """A value as YAML takes it, on one line."""
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs")
