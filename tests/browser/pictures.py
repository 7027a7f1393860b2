"""The screenshots of the docs, from what `lfmri-node demo` left in ``demo-out``: ``make pictures``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pypdfium2
from playwright.sync_api import Browser
from screen import VIEWPORT, WINDOW, launched, map_over_image, open_study

from lfmri_node.node.viewer.view import shown

DEMO, DOCS = Path("demo-out"), Path("deploy/docs")
OBJECTS, CONFIG = DEMO / "node" / "data" / "objects", DEMO / "node" / "config.toml"
_LIMIT_MS = 120_000
_OF_THE_PAGE = 1.477  # 880 pixels wide
_SHOW = f"""async index => {{
  const viewport = {VIEWPORT};
  const drawn = new Promise(done => viewport.element.addEventListener(
    window.cornerstone.Enums.Events.IMAGE_RENDERED, done, {{once: true}}));
  await window.cornerstone.utilities.jumpToSlice(viewport.element, {{imageIndex: index}});
  viewport.render();
  await drawn;
}}"""


def strongest_slice() -> tuple[int, int]:
    """The slice where the map is strongest, as OHIF counts with a map over images, and how many there are.

    OHIF counts from 0 against the normal of the slices; our frames follow it.
    """
    frames = pydicom.dcmread(next(OBJECTS.glob("*/map-*.dcm"))).pixel_array
    return len(frames) - 1 - int(frames.max(axis=(1, 2)).argmax()), len(frames)


def viewer(browser: Browser) -> None:
    """OHIF: the activation map over LF-MRI, on the slice where it is strongest."""
    index, n_slices = strongest_slice()
    with shown(OBJECTS) as (_, studies):
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(_LIMIT_MS)
        open_study(page, studies[0], n_slices, ["RESEARCH NOT VALIDATED Activation map"])
        map_over_image(page, "Activation map")
        page.evaluate(_SHOW, index)
        page.wait_for_function("!document.querySelector('[data-sonner-toast]')")  # they lie over the image
        page.screenshot(path=DOCS / "viewer.png")
        page.close()


def console(browser: Browser) -> None:
    """The console: the page of the demonstration's job."""
    command = [sys.executable, "-m", "lfmri_node.node.cli", "console", "--config", str(CONFIG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        url = next(line for line in process.stdout if "console: " in line).split("console: ")[1].split()[0]
        page = browser.new_page(viewport=WINDOW)
        page.goto(url)
        page.locator("a[href*='/jobs/']").first.click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=DOCS / "console.png", full_page=True)
        page.close()
        process.terminate()


def summary() -> None:
    """The summary page, as a reader of PDF draws it."""
    (page,) = pypdfium2.PdfDocument(DEMO / "pictures" / "summary.pdf")
    page.render(scale=_OF_THE_PAGE).to_pil().save(DOCS / "summary.png")


def main() -> None:
    executable = shutil.which("chromium")
    if executable is None or not CONFIG.is_file():
        sys.exit("needs chromium and demo-out: make pictures")
    summary()
    with launched(Path(executable)) as browser:
        viewer(browser)
        console(browser)


if __name__ == "__main__":
    main()
