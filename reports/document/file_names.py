"""Names of the files of a report: its figures and pictures beside `<stem>.<format>`."""

from __future__ import annotations

from harness.files.names import safe_name


def figure_file(stem: str, key: str, format: str) -> str:
    """The file of a figure; its key is reduced to letters that need no escaping anywhere.

    >>> figure_file("profile", "pareto_size", "svg")
    'profile-pareto-size.svg'
    """
    reduced = safe_name(key).replace(".", "-").replace("_", "-").strip("-")
    return f"{stem}-{reduced}.{format}"


def photograph_file(stem: str, key: str, number: int) -> str:
    """The file of a gallery's picture, relative to the report's folder, with a forward slash.

    >>> photograph_file("describe", "samples", 3)
    'describe-samples/03.jpg'
    """
    return f"{stem}-{safe_name(key)}/{number:02}.jpg"
