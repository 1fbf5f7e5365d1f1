"""Chromium for the tests of the pages, and what every page must be."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from pagetools import npm_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

#: Milliseconds; far above what anything here takes.
PATIENCE_MS = 20_000


def open_browser() -> Iterator[Browser]:
    """A Chromium; skips without $CLAWMETER_CHROMIUM."""
    chromium = os.environ.get("CLAWMETER_CHROMIUM")
    if not chromium:
        pytest.skip("CLAWMETER_CHROMIUM does not name a Chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """A person with a browser window: opens pages of one server, and collects what the console says."""

    def __init__(self, browser: Browser, url: str, token: str, **options: Any) -> None:
        self.url, self.token = url, token
        options = {"locale": "en-US", "timezone_id": "UTC", **options}
        self.context = browser.new_context(
            viewport=options.pop("viewport", None) or {"width": 1440, "height": 900}, **options
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)

    def log_in(self) -> Visitor:
        self.page.goto(f"{self.url}/#token={self.token}")
        self.page.wait_for_selector(".rail")
        return self

    def go(self, address: str) -> Page:
        """Open a page of the application by its address, and wait for its numbers: those of the page before may still stand there."""
        self.page.goto(f"{self.url}/{address}")
        name = re.split(r"[/?]", address.removeprefix("#/"))[0]
        link = f".rail-link[data-page={'sessions' if name == 'session' else name}]"
        grid = "main .grid:not([data-key=skeleton], [data-key=first-index])"
        self.page.wait_for_selector(f"body:has({link}[aria-current=page]) {grid}")
        return self.page

    def settle(self) -> Page:
        """Wait until every panel has its answer. (The network is never idle: the stream stays open.)"""
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('main .nothing')].some((one) => one.textContent === 'Loading')"
        )
        return self.page

    def close(self) -> None:
        self.context.close()


def axe_complaints(page: Page) -> list[str]:
    """What axe-core finds on a page, one line each; the script comes in past the page's policy."""
    script = (npm_folder() / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']}: {n['target']} {n['failureSummary']}"
        for v in found["violations"]
        for n in v["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """What is wider than the window and does not scroll by itself."""
    return list(
        page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("main *, #bar *")].filter((e) => !e.closest(".scroll")
              && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120))
              .concat(`the page is ${document.documentElement.scrollWidth} wide`)"""
        )
    )
