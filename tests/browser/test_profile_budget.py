"""The latency budget of a profile's page, against the CSV beside it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

_SLIDER = ".budget input"
_SET = """
const input = document.querySelector(arguments[0]);
input.value = arguments[1];
input.dispatchEvent(new Event('input', {bubbles: true}));
return document.querySelector('.budget output').textContent;
"""
_FADED = """
const figure = document.querySelector('.budget').closest('figure');
const of = list => Array.from(new Set(Array.from(list, mark => mark.dataset.label))).sort();
return [of(figure.querySelectorAll('[data-x].beyond')), of(figure.querySelectorAll('[data-x]:not(.beyond)'))];
"""


@pytest.fixture
def points(results) -> pd.DataFrame:
    (file,) = (results / "profiles").glob("*/profile.csv")
    frame = pd.read_csv(file)
    return frame[~frame["is_fine"]]


@pytest.fixture
def page(browser, site):
    (file,) = (site / "profiles").glob("*.html")
    browser.open(file)
    browser.wait("return document.querySelector(arguments[0])", _SLIDER)
    return browser


def said(page) -> str:
    return page.ask("return document.querySelector('.budget [role=status]').textContent")


@pytest.mark.parametrize("place", [0, 100, 200, 300, 400])
def test_the_budget_fades_what_is_beyond_it_and_names_the_best(page, points, place):
    shown = page.ask(_SET, _SLIDER, place)
    budget = float(shown.removesuffix(" ms per query").replace(",", ""))
    low, high = 0.8 * points["t2i_ms"].min(), 1.05 * points["t2i_ms"].max()
    assert budget == pytest.approx(math.exp(math.log(low) + place / 400 * math.log(high / low)), rel=0.006)
    within = points[points["t2i_ms"] <= budget]
    assert page.ask(_FADED) == [sorted(set(points["label"]) - set(within["label"])), sorted(set(within["label"]))]
    quiet = within[~within["noisy_t2i_ms"]].sort_values(["rsum", "t2i_ms"], ascending=[False, True])
    if len(quiet):
        best = quiet.iloc[0]
        assert f"per query: {best['label']}, rSum {best['rsum']:.1f}" in said(page)
        assert f"[{best['rsum_low']:.1f}, {best['rsum_high']:.1f}]" in said(page)
    else:
        assert said(page).startswith("No method satisfies latency ≤ ")
    hollow = int(within["noisy_t2i_ms"].sum())
    assert (f"{hollow} hollow point" in said(page)) is (hollow > 0)


def test_the_budget_is_labelled_and_follows_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    assert page.ask("return document.querySelector(arguments[0]).labels[0].textContent", _SLIDER) == "Latency budget"
    before = page.ask("return document.querySelector('.budget output').textContent")
    (slider,) = page.all(_SLIDER)
    slider.send_keys(Keys.HOME)
    after = page.ask("return document.querySelector(arguments[0]).getAttribute('aria-valuetext')", _SLIDER)
    assert after != before
    assert said(page).startswith("No method satisfies")
    assert not page.complaints()
