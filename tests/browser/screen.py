"""A headless Chromium, and OHIF in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL in software
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WINDOW: ViewportSize = {"width": 1280, "height": 800}
VIEWPORT = "window.services?.cornerstoneViewportService?.getCornerstoneViewport('default')"
"""JavaScript: the first of OHIF's viewports, with what Cornerstone says of it."""


@contextmanager
def launched(executable: Path) -> Iterator[Browser]:
    """The program ``executable`` as a browser: as long as it runs, no event loop can run in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


def open_study(page: Page, address: str, n_slices: int, series: Iterable[str]) -> None:
    """Wait until the first series, of ``n_slices``, is in the viewport and all are in the list."""
    page.goto(address)
    page.wait_for_function(f"{VIEWPORT}?.getImageIds?.().length === {n_slices}")
    for name in series:
        page.get_by_text(name).first.wait_for()


def map_over_image(page: Page, series: str) -> None:
    """Put a map over the image, as a double click does."""
    page.get_by_text(series).first.dblclick()
    page.wait_for_function(f"{VIEWPORT}?.getActors?.().length === 2")
