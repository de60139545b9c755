"""Tables of the site, as a reader works with them; the right order and values come from the CSV beside the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import chromium
import pandas as pd
import pytest

#: Accuracy on the scenes: the first table of the leaderboard.
TABLE = ".table:has(table[data-key='accuracy-scenes-test-full'])"
_COLUMN = """
const [box, title] = arguments;
const table = document.querySelector(box + ' table');
const heading = Array.from(table.tHead.rows).at(-1).cells;
const number = Array.from(heading).findIndex(cell => cell.textContent.trim() === title);
return Array.from(table.tBodies[0].rows, row => row.cells[number].cloneNode(true)).map(cell => {
  cell.querySelector('.runs')?.remove();
  return (cell.querySelector('.main') ?? cell).textContent.trim();
});
"""

_SCROLLED = """
const box = document.querySelector(arguments[0] + ' .scroll');
box.scrollLeft = box.scrollWidth / 3;
return box.scrollLeft;
"""
_PINNED = """
return Array.from(document.querySelectorAll(arguments[0] + ' tbody tr:first-child .pinned'),
  cell => cell.getBoundingClientRect().toJSON());
"""


@pytest.fixture
def frame(results) -> pd.DataFrame:
    return pd.read_csv(results / "leaderboards" / "small" / "leaderboard.csv")


@pytest.fixture
def board(browser, site):
    """The page of the leaderboard, with its table ready."""
    browser.show(1600)
    browser.open(site / "leaderboards" / "small.html")
    browser.wait("return document.querySelector(arguments[0] + ' .tools')", TABLE)
    return browser


def column(browser: chromium.Browser, title: str) -> list[str]:
    """The cells of a column, from the top."""
    return browser.ask(_COLUMN, TABLE, title)


def methods(names, frame: pd.DataFrame) -> list[str]:
    """The methods among the names of rows, without marks; chance rows are no methods."""
    bare = [name.rstrip(" †‡§") for name in names]
    return [name for name in bare if name in set(frame.label)]


def reordered(browser: chromium.Browser, act: Callable[[], None]) -> None:
    """Do what sorts the table, and wait until it says so: DataTables sorts after the event."""
    before = browser.ask("return document.querySelector(arguments[0] + ' .state').textContent", TABLE)
    act()
    browser.wait("return document.querySelector(arguments[0] + ' .state').textContent !== arguments[1]", TABLE, before)


def click_heading(browser: chromium.Browser, title: str) -> None:
    (heading,) = [cell for cell in browser.all(f"{TABLE} thead th") if cell.text == title]
    reordered(browser, heading.click)


def test_rows_are_sorted_by_their_values_and_back_again(board, frame):
    original = methods(column(board, "Scorer"), frame)
    assert original == list(frame.label)
    click_heading(board, "rSum")
    assert methods(column(board, "Scorer"), frame) == list(
        frame.sort_values("rsum", ascending=False, kind="stable").label
    )
    click_heading(board, "rSum")
    assert methods(column(board, "Scorer"), frame) == list(frame.sort_values("rsum", kind="stable").label)
    assert "Sorted by rSum, ascending" in board.find(f"{TABLE} .state").text
    board.find(f"{TABLE} .state button").click()
    assert methods(column(board, "Scorer"), frame) == original


def test_headings_sort_by_keyboard(board, frame):
    from selenium.webdriver.common.keys import Keys

    focus = "arguments[0].querySelector('[tabindex=\"0\"], button').focus();"
    board.ask(focus, next(cell for cell in board.all(f"{TABLE} thead th") if cell.text == "Scorer"))
    for descending in (False, True):
        reordered(board, lambda: board.press(Keys.ENTER))
        assert methods(column(board, "Scorer"), frame) == sorted(frame.label, reverse=descending)


def test_no_column_is_named_twice_in_the_tools(board):
    board.find(f"{TABLE} .menu summary").click()
    names = [label.text for label in board.all(f"{TABLE} .menu label")]
    assert len(set(names)) == len(names)
    assert {"Scorer", "rSum"} < set(names)


def test_hidden_columns_come_back(board):
    board.find(f"{TABLE} .menu summary").click()
    (box,) = [label for label in board.all(f"{TABLE} .menu label") if label.text == "rSum"]
    box.click()
    heads = [cell.text for cell in board.all(f"{TABLE} thead tr:last-child th")]
    assert "rSum" not in heads
    assert "rSum" in board.find(f"{TABLE} .state").text
    (all_,) = [button for button in board.all(f"{TABLE} .menu button") if button.text == "Show all"]
    all_.click()
    assert "rSum" in [cell.text for cell in board.all(f"{TABLE} thead tr:last-child th")]


def copied(browser: chromium.Browser, medium: str) -> str:
    """What the copy button of a medium gives."""
    (menu,) = [summary for summary in browser.all(f"{TABLE} .menu summary") if summary.text == "Copy"]
    menu.click()
    (button,) = [b for b in browser.all(f"{TABLE} .menu button") if b.text == f"as {medium}"]
    button.click()
    browser.wait("return document.querySelector(arguments[0] + ' .state').textContent.includes('Copied')", TABLE)
    return browser.clipboard()


def test_csv_is_copied_as_the_file_has_it(board, frame):
    text = copied(board, "CSV")
    given = pd.DataFrame(list(csv.DictReader(io.StringIO(text))))
    assert methods(given.shown_scorer, frame) == list(frame.label)
    given = given.iloc[[bool(methods([name], frame)) for name in given.shown_scorer]]
    assert list(given.rsum.astype(float)) == pytest.approx(list(frame.rsum))
    assert list(given.rsum_sd.astype(float)) == pytest.approx(list(frame.rsum_sd))


def test_markdown_has_a_row_per_method(board, frame):
    lines = copied(board, "Markdown").splitlines()
    lines = [line for line in lines if "random order" not in line and "constant scores" not in line]
    assert len(lines) == 2 + len(frame)
    assert len({line.count(" | ") for line in lines[:1] + lines[2:]}) == 1
    assert all(label in line for label, line in zip(frame.label, lines[2:], strict=True))


def test_latex_sets_the_best_in_bold_in_the_order_on_the_screen(board, frame):
    click_heading(board, "Scorer")
    rows = [line for line in copied(board, "LaTeX").splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    rows = [row for row in rows if any(name in row.split("&")[2] for name in frame.label)]
    assert [next(name for name in frame.label if name in row.split("&")[2]) for row in rows] == sorted(frame.label)
    best = frame.loc[frame.rsum.round(1) == frame.rsum.round(1).max(), "label"]
    bold = rf"\textbf{{{frame.rsum.max():.1f}}}"
    assert [label for label, row in zip(sorted(frame.label), rows, strict=True) if bold in row] == sorted(best)


def test_a_filter_keeps_the_rows_with_all_words(browser, site):
    browser.open(site / "significance" / "scenes-full.html")
    box = ".table:has(table[data-key='pairs'])"
    browser.wait("return document.querySelector(arguments[0] + ' .tools')", box)
    browser.find(f"{box} input[type=search]").send_keys("clip GRM")
    rows = browser.all(f"{box} tbody tr")
    assert all("clip" in row.text and "grm" in row.text for row in rows)
    assert len(rows) == 1
    assert "1 of 6 rows" in browser.find(f"{box} .state").text


def test_a_phone_keeps_the_method_and_its_rsum_in_sight(browser, site):
    browser.show(chromium.PHONE)
    browser.open(site / "leaderboards" / "small.html")
    browser.wait("return document.querySelector(arguments[0] + ' .tools')", TABLE)
    assert browser.ask(_SCROLLED, TABLE) > 20  # the table is wider than the phone
    places = browser.ask(_PINNED, TABLE)
    assert len(places) == 2
    assert all(place["left"] >= 0 and place["right"] <= chromium.PHONE for place in places)


def test_search_finds_methods_pages_and_words(browser, site):
    from selenium.webdriver.common.keys import Keys

    browser.open(site / "index.html")
    browser.press("/")  # from anywhere on the page
    browser.press(*"profile small")
    browser.wait("return document.querySelectorAll('#found li').length")
    first = browser.find("#found li")
    assert "Profile" in first.text
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    browser.wait("return location.pathname.endsWith('/profiles/small.html')")


@pytest.mark.parametrize("word", ["nothing-of-this-name", "<script>window.pwned=1</script>"])
def test_a_search_without_result_says_so(browser, site, word):
    browser.open(site / "index.html")
    browser.press("/")
    browser.press(*word)
    browser.wait("return document.querySelector('.found [role=status]').textContent.startsWith('No page holds')")
    assert not browser.all("#found li")
    assert browser.complaints() == []
