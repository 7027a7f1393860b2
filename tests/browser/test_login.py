"""Logging in with a keyboard, working by role, and the end of a session under an open page."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
LIMIT_MS = 120_000
REFUSED = {"status of 401": "a wrong password is answered so"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A console with an operator and a viewer over an empty job table."""
    config = tmp_path / "config.toml"
    config.write_text('[console]\nport = 0\nusers_file = "users.json"\n', encoding="utf-8")
    layout = Layout(root=tmp_path / "data")
    layout.state.mkdir(parents=True)
    Store(layout.job_table).close()
    for name in ("operator", "viewer"):
        users(config, name, "--role", name)
    command = [sys.executable, "-m", "lfmri_node.node.cli", "console", "--config", str(config)]
    with ExitStack() as stack:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        assert process.stdout is not None
        yield process.stdout.readline().split()[1]


def users(config: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "lfmri_node.node.cli", "users", *arguments, "--config", str(config)]
    subprocess.run(command, input=PASSWORD + "\n", text=True, capture_output=True, check=True)


def log_in(page: Page, site: str, name: str, password: str = PASSWORD) -> None:
    page.goto(site)
    expect(page).to_have_title("Log in · lfmri-node")
    expect(page.locator("input[name=name]")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_in_and_out_with_keys_alone(site: str, open_page: Callable[..., Page]) -> None:
    page = open_page(REFUSED)
    log_in(page, site, "operator", "not the password")
    expect(page.get_by_role("alert")).to_contain_text("LF-CON-012")
    log_in(page, site, "operator")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Queue")
    expect(page.locator(".who")).to_contain_text("operator (operator)")
    page.locator("#logout").press("Enter")
    expect(page).to_have_title("Log in · lfmri-node")
    page.go_back()
    page.reload()
    expect(page).to_have_title("Log in · lfmri-node")


def test_an_open_page_asks_again_when_the_session_is_over(
    site: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(REFUSED)
    log_in(page, site, "viewer")
    expect(page.locator(".who")).to_contain_text("viewer")
    users(tmp_path / "config.toml", "viewer", "--remove")
    expect(page).to_have_title("Log in · lfmri-node", timeout=LIMIT_MS)
