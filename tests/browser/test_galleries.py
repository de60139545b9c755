"""The gallery pages in a real browser: what is filtered, sorted, compared and linked, and what hostile captions do not do."""

from __future__ import annotations

import chromium
import numpy as np
import pytest
import sights
from retrievals import Made, made, rank_table, three_methods
from selenium.webdriver.support.ui import Select, WebDriverWait
from small_results import HOSTILE

from harness.reports.site.build import write_site

KEY = "pets-test-aaaaaaaa"


@pytest.fixture(scope="module")
def split(window, tmp_path_factory) -> Made:
    """Three methods of two to three seeds on 30 images with 90 captions, and their site."""
    split = three_methods(tmp_path_factory.mktemp("galleries") / "results")
    write_site(split.store)
    return split


@pytest.fixture
def opened(browser, split):
    """Opens one of the pages, with an address, and waits until its script has taken over."""

    def opened(view: str = "", hash: str = "", folder=None):
        page = (folder or split.store.results) / "site" / "galleries" / f"{KEY}{view}.html"
        browser.open("about:blank")  # an address that differs in its hash alone would not load again
        browser.open(page.as_uri() + hash)
        WebDriverWait(browser.driver, 10).until(
            lambda _: browser.find("#controls") and "Listed:" in browser.find("#status").text
        )
        return browser

    return opened


def ranks(split: Made, run: int, direction: str = "t2i") -> list[int]:
    """Ranks of the truth, counted from 1, query by query."""
    return (getattr(rank_table(split.scores[f"{run:016x}"], split.owner), f"{direction}_rank") + 1).tolist()


def listed(browser) -> list[str]:
    """The captions of the listed queries, all of them."""
    WebDriverWait(browser.driver, 10).until(lambda _: not browser.all("#queries[aria-busy]"))
    while [more for more in browser.all("#more") if more.is_displayed()]:
        browser.find("#more").click()
    return browser.ask("return Array.from(document.querySelectorAll('#queries p.asking'), p => p.textContent);")


def choose(browser, name: str, value: str) -> None:
    Select(browser.find(f"[name='{name}']")).select_by_value(value)


def fill(browser, name: str, text: str) -> None:
    field = browser.find(f"[name='{name}']")
    field.clear()
    field.send_keys(text)


def test_a_run_lists_its_queries_by_the_rank_of_the_truth(opened, split):
    browser = opened()
    expected = ranks(split, 0)
    assert browser.all("article.query")[:1]
    assert len(browser.all("article.query")) == 24
    order = sorted(range(len(expected)), key=lambda row: (-expected[row], row))
    assert listed(browser) == [split.captions[row] for row in order]
    said = browser.find("#status").text
    assert said == f"grm seed 0 ranks the truth first for {expected.count(1)} of 90 captions. Listed: 90 captions."
    assert browser.complaints() == []


def test_with_and_without_a_script_a_query_looks_the_same(opened, split):
    browser = opened()
    drawn = browser.find("article.query").get_attribute("outerHTML")
    browser.scripts(False)
    browser.open(browser.driver.current_url)
    still = browser.find("article.query").get_attribute("outerHTML")

    def parts(html):
        return browser.ask(
            """const box = document.implementation.createHTMLDocument().body; box.innerHTML = arguments[0];
            return Array.from(box.querySelectorAll('*'), e => [e.tagName, e.className, e.getAttribute('alt'),
              e.children.length ? '' : e.textContent.trim()]);""",
            html,
        )

    assert parts(drawn) == parts(still)
    assert not [form for form in browser.all("#controls") if form.is_displayed()]


@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        ({"word": "DOG"}, lambda s, t: "dog" in s.captions[t]),
        (
            {"word": "hor sn"},
            lambda s, t: "horse" in s.captions[t] and ("snow" in s.captions[t] or "snail" in s.captions[t]),
        ),
        ({"words-from": "5", "words-to": "6"}, lambda s, t: len(s.captions[t].split()) - 1 in (5, 6)),
        ({"objects-to": "3"}, lambda s, t: s.clutter[s.owner[t]] <= 3),
        ({"rank-from": "2", "rank-to": "5"}, lambda s, t: 2 <= ranks(s, 0)[t] <= 5),
        ({"word": "dog", "rank-to": "1"}, lambda s, t: "dog" in s.captions[t] and ranks(s, 0)[t] == 1),
    ],
    ids=["word", "beginnings of words", "length", "clutter", "rank", "two filters"],
)
def test_filters_keep_what_a_loop_keeps_and_stand_in_the_address(opened, split, fields, keeps):
    browser = opened(hash="#sort=row")
    for name, text in fields.items():
        fill(browser, name, text)
    expected = [split.captions[row] for row in range(90) if keeps(split, row)]
    assert 0 < len(expected) < 90
    assert listed(browser) == expected
    address = browser.driver.current_url
    assert listed(opened(hash="#" + address.partition("#")[2])) == expected
    browser.find("#controls button").click()
    assert "Listed: 90 captions." in browser.find("#status").text


def test_only_unlabelled_hits_are_queries_with_one_in_sight(opened, split):
    browser = opened(hash="#sort=row&direction=i2t")
    browser.find("[name='also']").click()
    known, scores = set(split.unlabelled["judges"]), split.scores["0" * 16]
    tops = {image: np.argsort(-scores[image], kind="stable")[:5].tolist() for image in range(30)}
    expected = [image for image, items in tops.items() if any((image, item) in known for item in items)]
    assert f"Listed: {len(expected)} images." in browser.find("#status").text
    listed(browser)
    assert all(article.find_elements("css selector", "li.also") for article in browser.all("article.query"))
    assert len(browser.all("li.also")) == sum((image, item) in known for image in expected for item in tops[image])


def test_two_methods_are_compared_by_an_address(opened, split):
    browser = opened("-differences", "#a=scan&b=chan&direction=t2i&sort=row")
    a, b = ranks(split, 3), ranks(split, 6)
    alone = [row for row in range(90) if a[row] == 1 and b[row] != 1]
    other = [row for row in range(90) if a[row] != 1 and b[row] == 1]
    both = [row for row in range(90) if a[row] == 1 and b[row] == 1]
    said = browser.find("#status").text
    assert said.startswith(
        f"Of 90 captions, scan alone is right first for {len(alone)}, chan alone for {len(other)}, both for {len(both)}, "
        f"neither for {90 - len(alone) - len(other) - len(both)} (seed 0). At each of 2 common seeds "
    )
    assert listed(browser) == [split.captions[row] for row in alone]
    choose(browser, "show", "b")
    assert listed(browser) == [split.captions[row] for row in other]
    steady = [row for row in other if ranks(split, 4)[row] != 1 and ranks(split, 7)[row] == 1]
    browser.find("[name='steady']").click()
    assert listed(browser) == [split.captions[row] for row in steady]
    assert (
        f"chan alone for {len(steady)}. They differ on {len(alone) + len(other)} captions; two seeds of scan differ on "
        in browser.find("#status").text
    )
    choose(browser, "a", "grm")
    assert "a=grm" in browser.driver.current_url or "a=" not in browser.driver.current_url


def test_a_row_of_the_table_of_pairs_shows_its_pair(opened):
    browser = opened("-differences")
    browser.ask("document.querySelector('table.grid tbody tr:nth-last-child(2) a').click();")
    WebDriverWait(browser.driver, 10).until(lambda _: "scan alone" in browser.find("#status").text)
    assert Select(browser.find("[name='b']")).first_selected_option.text == "chan"
    assert Select(browser.find("[name='direction']")).first_selected_option.get_attribute("value") == "i2t"


def test_the_hardest_queries_are_those_of_the_highest_median(opened, split):
    browser = opened("-hardest")
    three = np.array([ranks(split, run) for run in (0, 3, 6)])
    median, failed = np.median(three, axis=0), (three > 1).sum(axis=0)
    order = sorted(range(90), key=lambda row: (-median[row], -failed[row], row))
    assert listed(browser) == [split.captions[row] for row in order]
    first = browser.find("article.query")
    assert f"grm {three[0][order[0]]}; scan {three[1][order[0]]}; chan {three[2][order[0]]}" in first.text
    votes = [share.split(" of ")[0] for share in (item.text for item in first.find_elements("css selector", ".by"))]
    assert sum(map(int, votes)) == 3


@pytest.mark.parametrize(
    "hash", ["#run=none&direction=x2y&sort=z&rank=a-b&words=-", "#%E0%A4%A", "#a=%3Cimg%3E&show=toString"]
)
@pytest.mark.parametrize("view", ["", "-differences", "-hardest"])
def test_an_address_that_names_nothing_shows_what_the_page_begins_with(opened, view, hash):
    browser = opened(view, hash)
    assert len(browser.all("article.query")) > 0
    assert browser.complaints() == []


def test_a_picture_that_is_gone_becomes_a_quiet_tile(opened, split):
    picture = next(split.store.results.glob("site/exhibits/*/3.jpg"))
    content = picture.read_bytes()
    picture.unlink()
    try:
        browser = opened(hash="#direction=i2t&sort=row")
        WebDriverWait(browser.driver, 10).until(lambda _: browser.all("article.query .gone"))
        assert "image3" in [tile.text for tile in browser.all("article.query .gone")]
    finally:
        picture.write_bytes(content)


@pytest.mark.parametrize("view", ["", "-differences", "-hardest"])
@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_pages_fit_a_phone_and_can_be_read_in_the_dark(opened, view, direction):
    browser = opened(view, f"#direction={direction}")
    assert sights.faint_texts(browser) == []
    browser.show(dark=True)
    assert sights.faint_texts(browser) == []
    browser.show(chromium.PHONE)
    assert sights.overflow(browser) == 0
    assert sights.too_wide(browser) == []


@pytest.mark.parametrize("view", ["", "-differences", "-hardest"])
def test_hostile_captions_and_names_do_nothing(opened, view, tmp_path):
    split = made(tmp_path / "results", images=9, per_image=2)
    split.captions = (*HOSTILE, *split.captions[len(HOSTILE) :])
    split.unlabelled = {HOSTILE[0]: split.unlabelled["judges"]}
    draw = np.random.default_rng(0)
    for number, scorer in enumerate(HOSTILE[:3]):
        split.add(f"{number:016x}", scorer, 0, draw.normal(size=(9, 18)))
    split.exhibit()
    write_site(split.store)
    for direction in ("i2t", "t2i"):
        browser = opened(view, f"#direction={direction}&show=all", folder=split.store.results)
        listed(browser)
        assert sights.alive(browser) == []
        assert "window.pwned=1" in browser.find("body").text
    assert browser.complaints() == []
    assert not [url for url in browser.requests() if not url.startswith("file:")]
