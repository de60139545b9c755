"""Every relative link of a document leads to a file and its heading; every path and Python name in it exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headings(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for link in links(document.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_file(), link
        assert not anchor or anchor in headings(target.read_text(encoding="utf-8")), link


def test_the_readme_leads_to_the_architecture_and_the_glossary():
    assert {"docs/architecture.md", "docs/glossary.md"} <= set(links((ROOT / "README.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_and_names_exist(document):
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:harness|methods|baselines|reports|tests|docs)/[\w./]*)`", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(harness(?:\.\w+)+)`", text):
        pkgutil.resolve_name(name)
