"""Every page of a site that a reader can reach from the first one, visited once and looked at in several lights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sights
from chromium import PHONE, Browser


@dataclass(frozen=True)
class Visit:
    """What one page was like."""

    title: str
    links: list[str]  # addresses, as the browser resolved them
    ids: set[str]
    complaints: list[str]  # of the console
    requests: list[str]
    alive: list[str]
    faint: list[str]  # in light and in dark colours
    overflow: int  # CSS pixels, on a phone
    too_wide: list[str]  # on a phone


def crawl(browser: Browser, site: Path) -> dict[str, Visit]:
    """Follow every link from `index.html` to a page of the site.

    Returns:
        The visits by the page's path below the site.
    """
    found: dict[str, Visit] = {}
    waiting = [site / "index.html"]
    while waiting:
        page = waiting.pop()
        name = page.relative_to(site).as_posix()
        if name in found:
            continue
        found[name] = _visit(browser, page)
        targets = (path_of(link) for link in found[name].links)
        waiting += [path for path in targets if path.suffix == ".html" and path.is_relative_to(site) and path.is_file()]
    return found


def path_of(link: str) -> Path:
    """The file that a link of a page leads to."""
    return Path(unquote(urlsplit(link).path)).resolve()


def _visit(browser: Browser, page: Path) -> Visit:
    browser.complaints()
    browser.requests()
    browser.show()
    browser.open(page)
    faint = sights.faint_texts(browser)
    browser.show(dark=True)
    faint += [f"dark: {text}" for text in sights.faint_texts(browser)]
    # As a phone's reader gets it: scripts that measure the window have run in a narrow one.
    browser.show(PHONE)
    browser.open(page)
    browser.ask("for (const e of document.querySelectorAll('details:not(.menu)')) e.open = true;")
    visit = Visit(
        title=browser.driver.title,
        links=browser.ask("return Array.from(document.querySelectorAll('a[href]'), link => link.href);"),
        ids=set(browser.ask("return Array.from(document.querySelectorAll('[id]'), element => element.id);")),
        complaints=browser.complaints(),
        requests=browser.requests(),
        alive=sights.alive(browser),
        faint=faint,
        overflow=sights.overflow(browser),
        too_wide=sights.too_wide(browser),
    )
    browser.show()
    return visit
