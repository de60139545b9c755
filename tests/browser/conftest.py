"""A real browser, pages for it to open, and a small results folder."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import chromium
import crawling
import pytest
import small_results
from filelock import FileLock


@pytest.fixture(scope="session")
def window(tmp_path_factory) -> Iterator[chromium.Browser]:
    """The one window of the session. Without a browser its tests are skipped; `ITM_BROWSER=required` lets them fail."""
    if reason := chromium.missing():
        if os.environ.get("ITM_BROWSER") == "required":
            pytest.fail(f"ITM_BROWSER=required, and {reason}", pytrace=False)
        pytest.skip(reason)
    browser = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(window) -> Iterator[chromium.Browser]:
    """The window, of a desktop's width, in light colours, with scripts, and with empty logs."""
    window.open("about:blank")
    window.scripts(True)
    window.show()
    window.complaints()
    window.requests()
    yield window
    window.scripts(True)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder on this machine, as any web server would: address of its root."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    def served(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()


def _once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """What `make` makes in a folder that the workers of a session share, made by the first that asks."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            done.write_text(str(make(folder)))
    return Path(done.read_text())


@pytest.fixture(scope="session")
def results(window, tmp_path_factory) -> Path:
    """A small results folder with a report of every command."""
    return _once(tmp_path_factory, "small-results", small_results.make)


@pytest.fixture(scope="session")
def hostile_results(window, tmp_path_factory) -> Path:
    """A results folder whose captions, names and titles are hostile."""
    return _once(tmp_path_factory, "hostile-results", small_results.make_hostile)


@pytest.fixture(scope="session")
def site(results) -> Path:
    """The folder of its site."""
    return results / "site"


@pytest.fixture(scope="session")
def visits(window, site) -> dict[str, crawling.Visit]:
    """Every page that can be reached from the first one, by its path, as it was found."""
    return crawling.crawl(window, site)


@pytest.fixture(scope="session")
def hostile_visits(window, hostile_results) -> dict[str, crawling.Visit]:
    """Every page of the site with hostile data."""
    return crawling.crawl(window, hostile_results / "site")
