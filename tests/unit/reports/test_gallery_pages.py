"""The pages of retrievals: what they show without a script, what they hand to it, and what they refuse."""

from __future__ import annotations

import json
import logging
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from retrievals import made, rank_table, three_methods

from harness.records.exhibits import exhibits_folder
from harness.records.store import TOP
from harness.reports.site.build import write_site
from harness.reports.site.results import Results
from harness.reports.site.retrieval.splits import splits

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
KEY = "pets-test-aaaaaaaa"


class Parsed(HTMLParser):
    """The tags of a page, its text, and the cells of its tables row by row."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.rows, self._cell = [], "", [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data

    def of(self, tag, name):
        return [a for t, a in self.tags if t == tag and name in a.get("class", "").split()]


def received(path):
    """What a data file hands over: its name and the data."""
    inner = re.fullmatch(r"window\.itmReceive\((.*)\);\n", path.read_text(encoding="utf-8"), re.DOTALL)[1]
    return json.loads(f"[{inner}]")


@pytest.fixture
def split(tmp_path):
    return three_methods(tmp_path / "results")


@pytest.fixture
def galleries(split):
    return write_site(split.store).parent / "galleries"


def test_a_page_shows_the_hardest_queries_without_a_script(split, galleries):
    page = Parsed(galleries / f"{KEY}.html")
    ranks = rank_table(split.scores["0" * 16], split.owner).t2i_rank
    hardest = sorted(range(len(ranks)), key=lambda row: (-ranks[row], row))[:12]
    shown = re.findall(r'<p class="asking">(.*?)</p>', (galleries / f"{KEY}.html").read_text())
    assert shown == [split.captions[row] for row in hardest]
    assert f"truth at rank {ranks[hardest[0]] + 1}" in page.text
    assert len(page.of("article", "query")) == 12
    assert page.of("li", "own") or page.of("figure", "truth")


def test_pictures_have_sizes_and_captions_and_a_missing_one_is_a_quiet_tile(split, galleries):
    pictures = [a for t, a in Parsed(galleries / f"{KEY}-hardest.html").tags if t == "img"]
    assert pictures
    for picture in pictures:
        assert picture["alt"] in split.captions
        assert (picture["loading"], picture["width"], picture["height"]) == ("lazy", "160", "120")
        assert (galleries / unquote(picture["src"])).resolve().is_file()
    text = "".join(path.read_text() for path in galleries.glob("*.html"))
    assert re.search(r'<span class="[a-z-]+ gone" role="img" aria-label="[^"]+">image29</span>', text)


def test_counts_of_all_pairs_are_those_of_loops_over_the_queries(split, galleries):
    rows = [row for row in Parsed(galleries / f"{KEY}-differences.html").rows if row[0] != "A"]
    assert [(row[0], row[1]) for row in rows[::2]] == [("grm", "scan"), ("grm", "chan"), ("scan", "chan")]
    runs = {"grm": [0, 1, 2], "scan": [3, 4, 5], "chan": [6, 7]}
    ranks = {n: rank_table(split.scores[f"{n:016x}"], split.owner) for some in runs.values() for n in some}
    for a, b, noun, *cells in rows:
        direction = "i2t" if noun == "images" else "t2i"
        kinds = []
        for one, other in zip(runs[a], runs[b], strict=False):
            pairs = zip(*(getattr(ranks[n], f"{direction}_rank").tolist() for n in (one, other)), strict=True)
            kinds.append([(x == 0, y == 0) for x, y in pairs])
        held = [
            [all(k[q] == kind for k in kinds) for q in range(len(kinds[0]))].count(True)
            for kind in ((True, False), (False, True))
        ]
        alone = [kinds[0].count((True, False)), kinds[0].count((False, True))]
        assert cells[:2] == [f"{count} ({kept})" for count, kept in zip(alone, held, strict=True)]
        assert cells[2:4] == [str(kinds[0].count((True, True))), str(kinds[0].count((False, False)))]
        assert cells[4] == f"{len(kinds)} (seed 0 counted)"


def test_a_difference_stands_beside_that_of_two_seeds(split, galleries):
    data = json.loads(re.search(r'id="data">(.*?)</script>', (galleries / f"{KEY}-differences.html").read_text())[1])
    said = {(row["a"], row["b"], row["direction"]): row["said"] for row in data["said"]}
    right = [(rank_table(split.scores[f"{n:016x}"], split.owner).t2i_rank == 0).tolist() for n in range(8)]

    def differing(one, other):
        return sum(x != y for x, y in zip(right[one], right[other], strict=True))

    assert said["grm", "chan", "t2i"].startswith(
        f"They differ on {differing(0, 6)} captions; two seeds of grm differ on {differing(0, 1)} and two seeds of chan on "
        f"{differing(6, 7)}. The captions that grm alone is right for have "
    )


def test_data_files_are_named_as_the_page_asks_for_them(galleries):
    for page in galleries.glob("*.html"):
        data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])
        for file in (data["split"], data["ranks"], *data["runs"].values()):
            assert received(galleries / file["address"])[0] == file["name"]


def test_the_medians_of_the_hardest_page_are_those_of_the_methods(split, galleries):
    data = json.loads(re.search(r'id="data">(.*?)</script>', (galleries / f"{KEY}-hardest.html").read_text())[1])
    chosen = [rank_table(split.scores[f"{n:016x}"], split.owner) for n in (0, 3, 6)]
    for direction in ("i2t", "t2i"):
        ranks = np.stack([getattr(table, f"{direction}_rank") + 1 for table in chosen])
        assert data["median"][direction] == np.sort(ranks, axis=0)[1].tolist()


def test_a_hostile_caption_and_name_stay_text(tmp_path):
    split = made(tmp_path / "results", images=6)
    split.captions = tuple(HOSTILE if row % 2 else text for row, text in enumerate(split.captions))
    split.unlabelled = {HOSTILE: split.unlabelled["judges"]}
    draw = np.random.default_rng(0)
    for number, scorer in enumerate(("grm", HOSTILE)):
        split.add(f"{number:016x}", scorer, 0, draw.normal(size=(6, len(split.owner))))
    split.exhibit()
    galleries = write_site(split.store).parent / "galleries"
    for path in galleries.glob("*.html"):
        page = Parsed(path)
        assert all(
            a.get("src", "").startswith("../assets/") or a["type"] == "application/json"
            for t, a in page.tags
            if t == "script"
        )
        assert not [a for t, a in page.tags if t == "img" and a["src"] == "x"]
        assert HOSTILE in page.text
    for path in galleries.rglob("*.js"):
        assert "<" not in path.read_text()
    assert HOSTILE in received(galleries / KEY / "split.js")[1]["captions"]


def test_nothing_is_written_anew_where_nothing_changed_and_one_run_adds_its_own_data(split, galleries):
    before = {path: path.stat().st_mtime_ns for path in galleries.rglob("*.*")}
    write_site(split.store)
    assert {path: path.stat().st_mtime_ns for path in galleries.rglob("*.*")} == before
    split.add("f" * 16, "clip", 0, split.scores["0" * 16])
    write_site(split.store)
    changed = {path.name for path in galleries.rglob("*.*") if before.get(path) != path.stat().st_mtime_ns}
    runs = {f"{number:016x}.js" for number in range(8)}
    assert "f" * 16 + ".js" in changed
    assert not changed & runs


def test_runs_that_cannot_be_shown_are_left_out_with_one_line(split, caplog):
    (split.store.folder("0" * 16) / TOP).write_bytes(b"nothing")
    split.add("e" * 16, "clip", 0, split.scores["0" * 16], top=False)
    with caplog.at_level(logging.WARNING):
        galleries = write_site(split.store).parent / "galleries"
    said = [record.message for record in caplog.records if "0" * 16 in record.message]
    assert len(said) == 1
    assert "left out of the galleries" in said[0]
    shown = received(galleries / KEY / "split.js")[1]["methods"]
    assert "0" * 16 not in {run["id"] for method in shown for run in method["runs"]}
    assert (
        "1 run of this split is not shown, as its first results were not kept."
        in Parsed(galleries / f"{KEY}.html").text
    )


def test_a_damaged_list_of_every_run_leaves_pages_that_say_so(split):
    for number in range(8):
        (split.store.folder(f"{number:016x}") / TOP).write_bytes(b"nothing")
    galleries = write_site(split.store).parent / "galleries"
    assert "No run of this split can be read." in Parsed(galleries / f"{KEY}.html").text
    assert "There are not two methods on this split" in Parsed(galleries / f"{KEY}-differences.html").text


@pytest.mark.parametrize("damage", ["nothing", "{"])
def test_without_sound_exhibits_there_is_no_gallery(split, damage):
    file = exhibits_folder(split.store.results, "pets", "test", "a" * 64) / "exhibits.json"
    file.unlink() if damage == "nothing" else file.write_text(damage)
    assert not (write_site(split.store).parent / "galleries").exists()
    assert Results(split.store).page_of_gallery("0" * 16) == ""


def test_first_results_of_other_data_than_the_exhibits_are_refused(split, caplog):
    other = made(split.store.results, images=6)
    other.add("d" * 16, "laps", 0, np.random.default_rng(0).normal(size=(6, 18)))
    with caplog.at_level(logging.WARNING):
        write_site(split.store)
    said = [record.message for record in caplog.records if "d" * 16 in record.message]
    assert len(said) == 1
    assert said[0].startswith(
        f"run {'d' * 16} is left out of the galleries: its {TOP} is about other images than the exhibits"
    )


def test_exhibits_of_other_data_under_the_same_name_are_refused(split, galleries, caplog):
    file = exhibits_folder(split.store.results, "pets", "test", "a" * 64) / "exhibits.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"data_sha256": "a" * 8 + "b" * 56}))
    with caplog.at_level(logging.WARNING):
        write_site(split.store)
    assert "of other data than run" in caplog.text
    assert not list(galleries.glob("*.html"))


def test_pages_follow_what_they_say_of_runs_and_of_other_data(split, galleries):
    (shown,) = splits(Results(split.store))
    before = shown.inputs(shown.runs)
    run = split.store.finished("0" * 16)
    split.store.write(run.model_copy(update={"run_id": "c" * 16, "data_sha256": "b" * 64}))
    (shown,) = splits(Results(split.store))
    versions = shown.inputs(shown.runs)
    metrics = {name: values | {"rsum": 1.0} for name, values in run.metrics.items()}
    split.store.write(run.model_copy(update={"metrics": metrics}))
    (shown,) = splits(Results(split.store))
    assert len({before, versions, shown.inputs(shown.runs)}) == 3


def test_two_versions_of_the_data_have_titles_of_their_own(split):
    run = split.store.finished("0" * 16)
    assert [page.title for page in splits(Results(split.store))] == ["pets test"]
    split.store.write(run.model_copy(update={"run_id": "c" * 16, "data_sha256": "b" * 64}))
    assert [page.title for page in splits(Results(split.store))] == ["pets test (data aaaaaaaa)"]


def test_a_run_leads_to_its_place_in_the_gallery(split, galleries):
    results = Results(split.store)
    assert results.page_of_gallery("0" * 16) == f"galleries/{KEY}.html#run={'0' * 16}"
    assert results.page_of_gallery("9" * 16) == ""
    links = [a.get("href") for t, a in Parsed(galleries.parent / "runs" / f"{'0' * 16}.html").tags if t == "a"]
    assert f"../galleries/{KEY}.html#run={'0' * 16}" in links
