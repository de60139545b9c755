"""A headless Chromium by selenium: it opens pages as a reader does, and says what the reader would see, and what it asked for.

Only programs of this machine are used: selenium's own manager, which downloads browsers, is never asked.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DRIVER = ("chromedriver", "chromium.chromedriver")
DESKTOP, PHONE = 1280, 390
#: Names of hosts lead nowhere, whatever a page asks for; the request is in the log all the same.
_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def missing() -> str:
    """What keeps this machine from running the tests, or nothing."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install 'itm-harness[test]'"
    lacks = [names[0] for names in (CHROMIUM, DRIVER) if not _found(names)]
    return f"{' and '.join(lacks)} not found: apt-get install chromium chromium-driver" if lacks else ""


class Browser:
    """One window. Widths are in CSS pixels; a window narrower than 600 behaves as a phone's.

    Args:
        profile: an empty folder for what the browser keeps.
    """

    def __init__(self, profile: Path):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        os.environ["SE_OFFLINE"] = "true"
        options = webdriver.ChromeOptions()
        options.binary_location = _found(CHROMIUM)
        root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        for argument in (*_ARGUMENTS, *root, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(_found(DRIVER)))
        self.cdp(
            "Emulation.setFocusEmulationEnabled", enabled=True
        )  # a page without the focus may not use the clipboard
        self.driver.set_page_load_timeout(60)
        self.driver.set_script_timeout(30)
        self._runs_scripts, self._is_painted = True, True

    def open(self, page: Path | str) -> None:
        """Load a file or an address. Opening the page that is open loads it again."""
        self.driver.get(page.as_uri() if isinstance(page, Path) else page)
        self._is_painted = False

    def show(self, width: int = DESKTOP, *, dark: bool = False, paper: bool = False, height: int = 900) -> None:
        """Set the window's width, the reader's colour scheme, and whether pages are laid out as for paper."""
        phone = width < 600
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.cdp("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])

    def scripts(self, run: bool) -> None:
        """Whether pages that are opened from now on may run scripts; `ask` works either way."""
        self.cdp("Emulation.setScriptExecutionDisabled", value=not run)
        self._runs_scripts = run

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a function body returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """The first element of a CSS selector that is shown.

        Raises:
            AssertionError: there is none.
        """
        self._until_painted()
        shown = [element for element in self.all(selector) if element.is_displayed()]
        assert shown, f"no element is shown for {selector} in {self.driver.current_url}"
        return shown[0]

    def all(self, selector: str) -> Sequence[Any]:
        """All elements of a CSS selector, shown or not."""
        return self.driver.find_elements("css selector", selector)

    def wait(self, script: str, *arguments: Any, seconds: float = 10) -> Any:
        """What a function body returns in the page, as soon as that is true.

        Raises:
            AssertionError: it never was.
        """
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(
                lambda _: self.ask(script, *arguments)
            )
        except TimeoutException:
            raise AssertionError(f"not true within {seconds} s in {self.driver.current_url}: {script}") from None

    def clipboard(self) -> str:
        """What was copied last."""
        self.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        return self.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        from selenium.webdriver import ActionChains

        self._until_painted()
        ActionChains(self.driver).send_keys(*keys).perform()

    def pdf(self) -> bytes:
        """The page on A4 paper, upright."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.cdp("Page.printToPDF", **paper)["data"])

    def complaints(self) -> list[str]:
        """What the console said since the last call, a broken policy or a script's error for example."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since the last call, without what a page holds itself (`data:`)."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if urlsplit(url).scheme not in ("data", "blob", "about", "chrome")]

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def close(self) -> None:
        """End the browser and its driver."""
        self.driver.quit()

    def _until_painted(self) -> None:
        """Wait for the first frame of the page: Chromium drops the keys and clicks that come before it.

        Without scripts a page is told of no frame, and the tests only look at it.
        """
        if self._runs_scripts and not self._is_painted:
            self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        self._is_painted = True


def _found(names: Sequence[str]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)
