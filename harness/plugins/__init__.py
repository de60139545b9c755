"""Plug-ins: parts of every kind that a file or an installed package adds to those of the harness."""

from harness.plugins.importing import place_of
from harness.plugins.kinds import KINDS, Kind, Source
from harness.plugins.registered import Found, Registered, add, added_sources, files, source_files

__all__ = [
    "KINDS",
    "Found",
    "Kind",
    "Registered",
    "Source",
    "add",
    "added_sources",
    "files",
    "place_of",
    "source_files",
]
