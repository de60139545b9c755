"""Placing the sections of plug-ins at the end of a report: one that fails costs itself, and the report says so."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.errors import InvalidPlugin, ItmError, one_line
from harness.files import source_code
from harness.files.names import safe_name
from harness.plugins import place_of, source_files
from harness.plugins.importing import shown
from harness.plugins.registered import FILE
from harness.records.store import RunStore
from harness.reports.document import figures
from harness.reports.document.model import Notice, Report, Section
from harness.reports.document.render import FORMATS, render
from harness.reports.document.terminal import Page
from harness.sections.base import ReportSection, Runs
from harness.sections.catalogue import SECTIONS

logger = logging.getLogger(__name__)

#: Characters of the line that says what failed.
_LONGEST_LINE = 500


@dataclass(frozen=True)
class Origin:
    """Where a section comes from.

    Args:
        name: of the section.
        plugin: its file, or entry point.
        sha256: of its source, and of what that imports beside it.
    """

    name: str
    plugin: str
    sha256: str

    @property
    def sentence(self) -> str:
        """For the foot of the section."""
        return f"Made by the plug-in {self.plugin} (SHA-256 {self.sha256}); it is no part of the harness."


def origin_of(name: str) -> Origin:
    """Where the section of this name comes from.

    Raises:
        UnknownName: no such section.
        InvalidPlugin: its source cannot be read.
    """
    source = SECTIONS.source(name)
    plugin = shown(Path(source.target)) if source.kind == FILE else source.target
    return Origin(name, plugin, source_code.sha256(source_files(source)))


def placed(report: Report, store: RunStore, names: Sequence[str]) -> tuple[Report, list[str]]:
    """A report with the sections of plug-ins at its end.

    Args:
        report: a leaderboard; its sections see the runs that it shows, of a repeated seed the latest.
        store: where they lie.
        names: of the sections, in their order.

    Returns:
        The report, and a line for each section that failed. In its place stands a notice with that line.
    """
    failures, run_ids = [], tuple(dict.fromkeys(report.data["run_ids"]))
    for name in names:
        origin = origin_of(name)
        told: dict[str, Any] = {"name": name, "plugin": origin.plugin, "sha256": origin.sha256}
        try:
            section = checked(SECTIONS.get(name)(), Runs.of(store, run_ids), name)
        except (Exception, SystemExit) as error:  # whatever its code raises costs this section alone
            line = _line(name, origin, error)
            failures.append(line)
            told["error"] = line
            section = Section(title=f"Section {name}", notices=[Notice("error", line)])
        if section is None:
            logger.info("section '%s' has nothing to say of these runs", name)
            continue
        section = replace(section, footnotes=[*section.footnotes, origin.sentence])
        report = replace(
            report,
            sections=[*report.sections, section],
            brief=[*report.brief, *_brief(section)],
            data={**report.data, "sections": [*report.data.get("sections", ()), told]},
        )
    return report, failures


def checked(made: ReportSection, runs: Runs, name: str) -> Section | None:
    """What a section builds, with keys that no other section has, once every format could be made of it.

    Raises:
        InvalidPlugin: it is no section, or its parts are not what they say.
        Exception: of its code, or of a part that cannot be rendered.
    """
    section = made.build(runs)
    if section is None:
        return None
    if not isinstance(section, Section):
        raise InvalidPlugin(f"build must return a Section or None, got {type(section).__name__}")
    if not isinstance(section.title, str) or not section.title.strip():
        raise InvalidPlugin(f"the title of its Section must be a text, got {section.title!r:.60}")
    for part in ("sentences", "notices", "listings", "tables", "galleries", "figures", "reading", "footnotes"):
        if isinstance(getattr(section, part), str):
            raise InvalidPlugin(f"{part} of its Section must be a list, got a text: {getattr(section, part)!r:.60}")
    for table in section.tables:
        lacking = [column.key for column in table.columns if column.key not in table.frame]
        if lacking:
            raise InvalidPlugin(f"the frame of its table '{table.key}' has no column {', '.join(lacking)}")
    section = _with_own_keys(section, name)
    try_out(section)
    return section


def try_out(section: Section) -> dict[str, str]:
    """A section alone in every format, by format; `terminal` is one.

    Raises:
        Exception: of whatever in it cannot be rendered.
    """
    report = Report(title=section.title, stem="section", sections=[section], brief=_brief(section))
    found = {format: render(report, format) for format in FORMATS}
    for figure in section.figures:
        found[f"{figure.key}.svg"] = figures.svg(figure.drawing).decode()
    out = io.StringIO()
    Console(file=out, width=100, markup=False, emoji=False, highlight=False).print(Page(report))
    return {**found, "terminal": out.getvalue()}


def _brief(section: Section) -> list[Any]:
    """What a terminal has room for."""
    tables = [table for table in section.tables if not table.collapsed]
    return [section.title, *section.notices, *section.sentences, *tables]


def _with_own_keys(section: Section, name: str) -> Section:
    parts: dict[str, Any] = {}
    for what in ("tables", "figures", "galleries"):
        items = getattr(section, what)
        twice = [key for key, count in Counter(item.key for item in items).items() if count > 1]
        if twice:
            raise InvalidPlugin(f"two of its {what} have the key '{twice[0]}'; give each its own")
        parts[what] = [replace(item, key=safe_name(f"{name}-{item.key}")) for item in items]
    return replace(section, **parts)


def _line(name: str, origin: Origin, error: BaseException) -> str:
    """One line with the file and its line."""
    place = place_of(error)
    what = str(error) if isinstance(error, ItmError) else f"{type(error).__name__}: {one_line(error)}"
    return one_line(f"section '{name}' failed: plug-in {place or origin.plugin}: {what}", _LONGEST_LINE)
