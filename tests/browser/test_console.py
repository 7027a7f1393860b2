"""An operator at the console of a running node: with mouse, with keys alone, on a phone, in the dark."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.gateway.send import Address, send_file
from lfmri_node.recon.phantom.demo_scan import write_demo_scan

pytestmark = pytest.mark.integration
PAGES = ("", "quarantine", "destinations", "history", "storage")
LIMIT_MS = 120_000
CONFIG = """
[node]
data_dir = "data"
[listener]
port = 0
free_space_floor_gb = 0
allow = [{{ae_title = "GATEWAY", address = "127.0.0.1"}}]
[recon]
threads = 1
[[destinations]]
kind = "dicom"
name = "pacs"
host = "127.0.0.1"
port = {port}
ae_title = "PACS"
[retry]
max_attempts = 1
[logging]
file = "node.log"
[console]
port = 0
"""

CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => channels(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    const colour = getComputedStyle(element).backgroundColor, alpha = channels(colour)[3] ?? 1;
    return alpha > 0 || !element.parentElement ? colour : ground(element.parentElement);
  };
  const weak = [];
  for (const element of document.body.querySelectorAll('*:not(svg *)')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest('.skip, .nothing')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${element.tagName} ${element.textContent.trim()} ${ratio}`);
  }
  return weak;
}"""
"""Texts with less contrast than WCAG 2.2, 1.4.3 asks for."""


@dataclass
class Site:
    """A node whose only destination is dead, the console over it, and a job that has failed."""

    url: str
    pacs_port: int
    folder: Path
    job: str


def started(stack: ExitStack, command: str, config: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "lfmri_node.node.cli", command, "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def line_with(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Pacs(folder / "pacs") as pacs:
        port = pacs.port
    config = folder / "config.toml"
    config.write_text(CONFIG.format(port=port))
    write_demo_scan(folder / "scan.h5", n_slices=2)
    with ExitStack() as stack:
        node = started(stack, "serve", config)
        ready = line_with(node, " service.ready ")
        address = Address(ae_title="LFMRI", host="127.0.0.1", port=int(ready.split("port=")[1].split()[0]))
        given = {"PatientID": "4711"}
        send_file(folder / "scan.h5", address, calling_ae="GATEWAY", given=given, show=lambda *_: None)
        failed = line_with(node, "LF-DEL-004")
        url = line_with(started(stack, "console", config), "console: ").split()[1]
        yield Site(url=url, pacs_port=port, folder=folder, job=failed.split("job=")[1].split()[0])


@pytest.fixture
def look(open_page: Callable[..., Page], site: Site) -> Callable[[str], Page]:
    """``look(path)``: a page of the console in a new context."""

    def look(path: str) -> Page:
        page = open_page({r"404 .*/jobs/ffff\b": "asked for on purpose"})
        page.goto(site.url + path)
        return page

    return look


def test_on_a_phone_nothing_is_wider_than_the_screen(look, site):
    for path in (*PAGES, f"jobs/{site.job}"):
        page = look(path)
        page.set_viewport_size({"width": 360, "height": 740})
        widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(look, site, scheme):
    grounds = set()
    for path in (*PAGES, f"jobs/{site.job}", "jobs/ffff"):
        page = look(path)
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], path
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == {"rgb(246, 247, 248)" if scheme == "light" else "rgb(19, 24, 27)"}


def test_with_keys_alone_a_job_is_found_and_its_slices_are_seen(look, site):
    page = look("")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name=site.job)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{site.job}")
    slices = page.get_by_role("slider", name="Slice")
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "slice":
            break
        page.keyboard.press("Tab")
    expect(slices).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    shown = page.get_by_role("img", name="LF-MRI, slice 2", exact=True)
    expect(shown).to_have_attribute("src", f"/jobs/{site.job}/lf-mri/2.png")
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("Tab")
    expect(page.get_by_role("slider", name="Opacity of the activation")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator("#activation")).to_have_css("opacity", "0")


def test_a_slice_has_an_address(look, site):
    page = look(f"jobs/{site.job}?slice=1")
    expect(page.get_by_role("img", name="LF-MRI, slice 1", exact=True)).to_be_visible()


def test_an_operator_reads_why_a_job_failed_mends_the_destination_and_sees_it_delivered(look, site):
    page = look("")
    page.get_by_role("link", name="Quarantine 1").click()
    entry = page.get_by_role("listitem").filter(has_text=site.job)
    expect(entry).to_contain_text("LF-DEL-004")
    expect(entry).to_contain_text("pacs")
    page.get_by_role("link", name="Destinations").click()
    page.get_by_role("button", name="Echo pacs").click()
    expect(page.get_by_text("pacs does not answer")).to_be_visible()
    with Pacs(site.folder / "back", port=site.pacs_port) as pacs:
        page.get_by_role("button", name="Echo pacs").click()
        expect(page.get_by_text("pacs answers")).to_be_visible()
        page.get_by_role("link", name="Quarantine 1").click()
        page.get_by_role("button", name=f"Retry job {site.job}").click()
        expect(page.get_by_text("Back to work")).to_be_visible()
        expect(page.get_by_label("State").get_by_text("done in")).to_be_visible(timeout=LIMIT_MS)
        n_objects = len(pacs.instances())
        assert n_objects > 0
        deliveries = page.get_by_role("region", name="Deliveries")
        expect(deliveries).to_contain_text(f"pacs {n_objects}/{n_objects} objects, done")
        expect(page.get_by_role("region", name="Log")).to_contain_text("delivery.tried")
    page.get_by_role("link", name="Quarantine", exact=True).click()
    expect(page.get_by_text("Nothing is in quarantine")).to_be_visible()
