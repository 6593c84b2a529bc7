"""The Chromium of the system, kept off the network, and the page of `brum web` in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Program, within

WAIT_MS: Final = 2 * WAIT_S * 1000
"""For what the page shows; the machine runs a browser besides."""

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

VIOLATIONS: Final = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
    window.violations.push(`${violatedDirective} ${blockedURI} ${sample}`));
"""
"""Runs before the page's own script, and is no part of the page."""


def chromium_path() -> str:
    """The browser of the system. Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("chromium is missing: run make integration-test")
    return path


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright, on a profile of its own. Skips the test where there is none."""
    path = chromium_path()
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: run make integration-test")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page in a browser, and what went wrong in it."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.add_init_script(VIOLATIONS)
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address: str) -> Any:
        """The page of playwright, which has loaded."""
        self.page.goto(address)
        return self.page

    def says(self, text: str) -> None:
        """Wait until the page shows this text."""
        self.page.get_by_text(text).first.wait_for()

    def becomes(self, condition: str) -> None:
        """Wait until this expression is true there; the page's policy refuses what playwright has for that."""
        assert within(2 * WAIT_S, lambda: self.page.evaluate(condition)), condition

    @property
    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def close(self) -> None:
        self.context.close()


def page_server(brum: Brum, *arguments: str) -> Program:
    """`brum web`; its `url` opens the page once."""
    program = brum.start(BRUM, "web", *arguments)
    program.url = program.stdout.until("http://").strip()
    return program
