"""Alignment cards in a real browser: words show where they look, on both sides, by mouse, keyboard and address."""

from __future__ import annotations

import pytest
import sights
from chromium import PHONE
from retrievals import made
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from small_results import HOSTILE

from harness.records.cards import Card, Cards, Direction
from harness.reports.site.build import write_site

QUARTERS = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
WORDS = ("[CLS]", "a", "dog", "a", "cat")
SOFT = (
    (0.25, 0.25, 0.25, 0.25),
    (0.4, 0.2, 0.2, 0.2),
    (0.1, 0.6, 0.3, 0.0),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 0.3, 0.1, 0.6),
)
HARD = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0))
RUNS = tuple(f"{number:016x}" for number in range(3))


def card(weights, words=WORDS, boxes=QUARTERS, row=0, **changes):
    values = {
        "image_row": row,
        "image_id": f"image{row}",
        "caption_row": 3 * row,
        "caption_id": f"caption{3 * row}",
        "caption": "a dog a cat",
        "correct": True,
        "chosen": "sample",
        "score": 0.5,
        "words": words,
        "directions": (Direction(kind="attention", over="regions", weights=weights, word_scores=(0.1,) * len(words)),),
        "boxes": boxes,
    }
    return Card(**{**values, **changes})


def results(folder, cards):
    """Runs of `scan`, `grm` and `chan` with these cards, and their site."""
    split = made(folder, images=6)
    for run_id, scorer in zip(RUNS, ("scan", "grm", "chan"), strict=True):
        split.add(run_id, scorer, 0, -abs(split.owner[None, :] - split.owner[::3, None]).astype(float))
        split.store.write_alignments(Cards(run_id=run_id, model_sha256="0" * 64, sample="v", cards=cards[scorer]))
    split.exhibit()
    write_site(split.store)
    (page,) = folder.glob("site/alignments/*.html")
    return page


@pytest.fixture(scope="module")
def page(window, tmp_path_factory):
    gathered = {
        "regions": ((0.5, 0.5, 0, 0), (0, 0, 0, 1)),
        "word_regions": ((1, 0), (1, 0), (0.2, 0.8), (0, 0), (0, 1)),
        "word_gates": (0, 0.25, 1, 0.5, 1),
        "region_gates": (0, 0.5, 1, 1),
    }
    cards = {
        "scan": tuple(card(SOFT, row=row) for row in range(4)),
        "grm": tuple(card(HARD, row=row, **gathered) for row in range(3)),
        "chan": (card(HARD[1:], words=WORDS[1:], boxes=None),),
    }
    return results(tmp_path_factory.mktemp("cards") / "results", cards)


@pytest.fixture
def opened(browser, page):
    def opened(hash="", pair=1):
        browser.open("about:blank")  # an address that differs in its hash alone would not load again
        browser.open(page.as_uri() + hash)
        browser.wait("return document.querySelector(arguments[0]) !== null", f"#pair-{pair} .side .method")
        return browser

    return opened


def side(number, pair=1):
    return f"#pair-{pair} .side:nth-child({number + 1})"


def words(browser, number, pair=1):
    return browser.all(f"{side(number, pair)} .words button")


def heat(browser, number, pair=1):
    """How strongly each cell of a side is coloured."""
    script = "return Array.from(document.querySelectorAll(arguments[0]), cell => Number(cell.style.getPropertyValue('--heat')));"
    return browser.ask(script, f"{side(number, pair)} :is(rect, .loose)")


def info(browser, number, pair=1):
    return browser.find(f"{side(number, pair)} .info").text


def test_a_word_shows_where_it_looks_on_both_sides(opened):
    browser = opened()
    assert [Select(browser.find(f"#method-{name}")).first_selected_option.text for name in "ab"] == ["grm", "scan"]
    assert [button.text for button in words(browser, 1)] == list(WORDS)
    words(browser, 1)[4].click()
    assert heat(browser, 1) == pytest.approx([0, 0.5, 1 / 6, 1], abs=1e-3)  # over the largest weight
    assert heat(browser, 0) == [1, 0, 0, 0]
    assert info(browser, 1).startswith("“cat”: most at row 2, column 2 (0.60); covers 2.5 of 4 cells; score 0.100")
    assert info(browser, 0).startswith("“cat”: most at row 1, column 1 (1.00); covers 1 of 4 cells")
    assert browser.find(f"{side(1)} .scale .high").text == "0.60"
    best = browser.ask("return document.querySelectorAll(arguments[0]).length", f"{side(1)} rect.best")
    assert best == 1
    assert browser.complaints() == []


def test_a_word_without_weights_looks_at_nothing(opened):
    browser = opened()
    words(browser, 1)[3].click()
    assert info(browser, 1).startswith("“a” looks at nothing")
    assert heat(browser, 1) == [0, 0, 0, 0]


def test_pointing_shows_a_word_and_leaving_brings_the_chosen_one_back(opened):
    from selenium.webdriver import ActionChains

    browser = opened()
    words(browser, 1)[4].click()
    ActionChains(browser.driver).move_to_element(words(browser, 1)[2]).perform()
    assert info(browser, 1).startswith("“dog”")
    assert info(browser, 0).startswith("“dog”")
    ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    assert info(browser, 1).startswith("“cat”")


def test_arrow_keys_go_along_the_words_and_tab_past_them(opened):
    browser = opened()
    words(browser, 0)[1].click()
    browser.press(Keys.ARROW_RIGHT)
    assert info(browser, 0).startswith("“dog”: most at row 2, column 1")
    assert browser.driver.switch_to.active_element.text == "dog"
    browser.press(Keys.END, Keys.ARROW_RIGHT)
    assert browser.driver.switch_to.active_element.text == "cat"
    assert [button.get_attribute("aria-pressed") for button in words(browser, 0)] == ["false"] * 4 + ["true"]
    browser.press(Keys.TAB)
    assert browser.driver.switch_to.active_element == words(browser, 1)[4]
    assert "gate 1.00" in words(browser, 0)[4].get_attribute("aria-label")


def test_the_address_keeps_what_is_chosen(opened):
    browser = opened()
    Select(browser.find("#method-a")).select_by_visible_text("scan")
    Select(browser.find("#method-b")).select_by_visible_text("grm")
    Select(browser.find("#view-b")).select_by_visible_text("gates of the cells")
    browser.wait("return document.querySelector(arguments[0]) !== null", f"{side(0)} .words button")
    words(browser, 0)[2].click()
    address = browser.driver.current_url
    browser = opened("#" + address.partition("#")[2])
    assert heat(browser, 0) == pytest.approx([1 / 6, 1, 0.5, 0], abs=1e-3)
    assert heat(browser, 1) == [0, 0.5, 1, 1]
    assert browser.find(f"{side(1)} .scale .high").text == "1.00"


def test_a_link_to_a_pair_leads_there(opened):
    browser = opened(f"#a={RUNS[0]}&pair=3&word=2", pair=3)
    browser.wait(
        "const top = document.querySelector('#pair-3').getBoundingClientRect().top; return top > 0 && top < 400;"
    )
    assert info(browser, 0, pair=3).startswith("“dog”")


def test_regions_that_a_method_gathers_say_who_reads_them(opened):
    browser = opened()
    Select(browser.find("#view-a")).select_by_visible_text("the 2 regions that it gathers")
    assert [button.text for button in words(browser, 0)] == ["region 1", "region 2"]
    words(browser, 0)[1].click()
    assert heat(browser, 0) == [0, 0, 0, 1]
    assert "Read most by “cat” (1.00), “dog” (0.80)" in info(browser, 0)
    assert "add up to 1 over the cells" in browser.find("#legend").text


def test_fragments_without_a_place_are_numbered_cells_and_other_tokens_find_their_word(opened):
    browser = opened()
    Select(browser.find("#method-b")).select_by_visible_text("chan")
    assert [cell.text for cell in browser.all(f"{side(1)} .loose")] == ["1", "2", "3", "4"]
    words(browser, 0)[3].click()  # the second "a", which is the third word of chan
    assert heat(browser, 1) == [0, 0, 0, 1]
    assert info(browser, 1).startswith("“a”: most at region 4")


def test_a_method_without_a_card_of_the_pair_says_so(opened):
    browser = opened(f"#b={RUNS[2]}&pair=4", pair=4)
    assert browser.find(f"{side(0, pair=4)} .notes").text == "This method has no card of this pair."
    assert browser.find(f"{side(1, pair=4)} .notes").text == "This method has no card of this pair."


def test_a_picture_is_seen_without_its_map(opened):
    browser = opened()
    canvas = browser.find(f"{side(1)} .canvas")
    canvas.click()
    shown = "return getComputedStyle(document.querySelector(arguments[0])).visibility"
    assert browser.ask(shown, f"{side(1)} .canvas svg") == "hidden"


def test_without_scripts_tables_tell_the_best_cell(browser, page):
    browser.scripts(False)
    browser.open(page)
    assert browser.find("#pair-1 .still img").is_displayed()
    browser.ask("document.querySelector('#pair-1 details').open = true;")
    rows = [row.text for row in browser.all("#pair-1 details tbody tr")]
    assert any(row.startswith("cat row 2, column 2 0.60") for row in rows)


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_and_nothing_is_cut_on_a_phone(opened, dark):
    browser = opened()
    browser.show(dark=dark)
    words(browser, 1)[2].click()
    assert sights.faint_texts(browser) == []
    browser.show(PHONE, dark=dark)
    browser = opened()
    assert sights.overflow(browser) == 0
    assert sights.too_wide(browser) == []


def test_hostile_texts_stay_texts(browser, tmp_path):
    weights = ((1.0, 0.0, 0.0, 0.0),) * len(HOSTILE)
    cards = {
        scorer: tuple(
            card(weights, words=HOSTILE, caption=text, image_id=text, caption_id=text, row=row)
            for row, text in enumerate(HOSTILE[:5])
        )
        for scorer in ("scan", "grm", "chan")
    }
    browser.open(results(tmp_path / "results", cards))
    browser.wait("return document.querySelector('#pair-1 .words button') !== null")
    shown = browser.ask(
        "return Array.from(document.querySelectorAll('#pair-1 .side:first-child .word'), e => e.textContent);"
    )
    assert shown == list(HOSTILE)
    words(browser, 0)[2].click()
    assert HOSTILE[2] in info(browser, 0)
    assert sights.alive(browser) == []
    assert browser.ask("return window.pwned") is None
    assert browser.complaints() == []
