"""A headless Chromium, from apt, and a watch over its pages: what leaves the machine, what goes wrong."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request
from screen import WINDOW, launched

_LIMIT_MS = 120_000
"""For one wait, on a machine that does other things too."""
_LOCAL = ("data", "blob", "about", "chrome", "chrome-extension")
"""The browser's own: Chromium shows a PDF with pages of its own."""


@pytest.fixture(scope="module")
def chromium(program: Callable[[str], Path]) -> Iterator[Browser]:
    """One browser for all tests of a module: as long as Playwright runs, no test can run an event loop."""
    executable = program("chromium")
    with launched(executable) as browser:
        yield browser


class Watch:
    """Notes what a page asks for elsewhere, and what it complains of.

    Parameters
    ----------
    excused
        Regular expression of a message -> why it is no fault of ours.
    """

    def __init__(self, context: BrowserContext, excused: Mapping[str, str]) -> None:
        self.complaints: list[str] = []
        self.left_the_machine: list[str] = []
        self._excused = excused
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self._complain(str(error.error)))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._reached(socket.url)))

    def _asked(self, request: Request) -> None:
        self._reached(request.url)

    def _reached(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _LOCAL and parts.hostname != "127.0.0.1":
            self.left_the_machine.append(url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(f"{message.text} ({message.location['url']})")

    def _complain(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self._excused):
            self.complaints.append(text)


@pytest.fixture
def watched_page(chromium: Browser) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """``watched_page(excused={})``: an empty page in a context of its own, and what it was seen to do."""
    with ExitStack() as stack:

        def open_one(excused: Mapping[str, str] | None = None) -> tuple[Page, Watch]:
            context = stack.enter_context(chromium.new_context(viewport=WINDOW))
            context.set_default_timeout(_LIMIT_MS)
            watch = Watch(context, excused or {})
            return context.new_page(), watch

        yield open_one


@pytest.fixture
def open_page(watched_page: Callable[..., tuple[Page, Watch]]) -> Iterator[Callable[..., Page]]:
    """``open_page(excused={})``: as `watched_page`; the test fails at its end where a page has asked for
    anything that is not on 127.0.0.1, or has logged or thrown an error that is not excused.
    """
    watches = []

    def open_one(excused: Mapping[str, str] | None = None) -> Page:
        page, watch = watched_page(excused)
        watches.append(watch)
        return page

    yield open_one
    assert [url for watch in watches for url in watch.left_the_machine] == []
    assert [text for watch in watches for text in watch.complaints] == []
