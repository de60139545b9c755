"""The Python of the README, docs/python.md and docs/queries.md runs as it stands, and shows what it says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_lines_of_the_readme_do_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (lines,) = blocks("README.md", "py")
    assert len([line for line in lines.splitlines() if line and not line.startswith("import")]) <= 10
    names: dict[str, object] = {}
    exec(compile(lines, "README.md", "exec"), names)
    result, ranks, runs, tests = (names[name] for name in ("result", "ranks", "runs", "tests"))
    test = names["data"].split("test")
    assert len(ranks) == len(test.image_ids) + len(test.captions)
    assert runs["full.rsum"].tolist() == [result["rsum"]]
    assert {(row.a, row.b) for row in tests.itertuples()} <= {("scan", "chan"), ("chan", "scan")}
    assert names["figure"].axes


@pytest.mark.parametrize(("page", "least"), [("docs/python.md", 20), ("docs/queries.md", 8)])
def test_the_page_shows_what_happens(page, least, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(blocks(page, "pycon"))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(examples, {}, page, None, 0)
    said: list[str] = []
    found = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert found.attempted > least
    assert not found.failed, "".join(said)
