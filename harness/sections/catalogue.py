"""Sections by name. The harness has none of its own: every one comes from a plug-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.plugins import added_sources
from harness.plugins.registered import FILE
from harness.settings.components import Catalogue

if TYPE_CHECKING:
    from harness.sections.base import ReportSection

SECTIONS: Catalogue[type[ReportSection]] = Catalogue("section")


def of_named_files() -> list[str]:
    """The sections of the plug-in files that this process was given, but not of installed packages."""
    return [name for name, source in added_sources("section") if source.kind == FILE]
