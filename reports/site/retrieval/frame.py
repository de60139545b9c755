"""What the three pages of a split share: their addresses, their scripts, and where these find the data."""

from __future__ import annotations

import posixpath
from typing import Any, Literal

from harness.reports.site.retrieval.splits import Split

#: What a page lists: the queries of one run, of a pair of methods, or of all methods.
View = Literal["run", "pair", "all"]
KIND = "galleries"
SCRIPTS = ("gallery/data.js", "gallery/select.js", "gallery/draw.js", "gallery/views.js", "gallery/page.js")
_TITLES: dict[View, str] = {"run": "retrieval gallery", "pair": "where methods differ", "all": "hardest queries"}
_SUFFIX: dict[View, str] = {"run": "", "pair": "-differences", "all": "-hardest"}


def path_of(split: Split, view: View) -> str:
    """The page of a view."""
    return f"{KIND}/{split.key}{_SUFFIX[view]}.html"


def siblings(split: Split) -> list[tuple[str, str]]:
    """The three pages of a split: paths and what a link calls them."""
    return [(path_of(split, view), title) for view, title in _TITLES.items()]


def shared_path(split: Split, name: str) -> str:
    """The script with data that the pages of a split share."""
    return f"{KIND}/{split.key}/{name}.js"


def page_data(split: Split, view: View) -> dict[str, Any]:
    """What the scripts of a page are told: addresses are relative to the page, names are those under which data comes."""

    def file(name: str) -> dict[str, str]:
        path = shared_path(split, name)
        return {"name": path, "address": posixpath.relpath(path, KIND)}

    return {
        "view": view,
        "split": file("split"),
        "ranks": file("ranks"),
        "runs": {run.run_id: file(run.run_id) for run in split.runs},
        "pictures": posixpath.relpath(f"exhibits/{split.key}", KIND),
        "note": split.sampled,
    }
