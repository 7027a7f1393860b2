"""What operators see and do in a browser, over a node that runs."""

import io
import os
import re
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lfmri_node.node.config import load
from lfmri_node.node.console.quality import place
from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.jobs.workers import Workers
from lfmri_node.recon.archive import save_reconstruction
from lfmri_node.recon.types import Figure

SENTINELS = ("SENTINEL-4711", "Zzyzx", "Sentinella")
ANY_PORT = "[console]\nport = 0"
PAGES = ("/", "/quarantine", "/destinations", "/history", "/storage")
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Outline(HTMLParser):
    """Every element is closed in order, no id occurs twice, and all that acts has a name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self.open]
        self.faults += [f"id {name} twice" for name in {i for i in self.ids if self.ids.count(i) > 1}]

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if "style" in given or any(name.startswith("on") for name in given):
            self.faults.append(f"{tag} with inline style or script")
        if tag == "script" and "src" not in given:
            self.faults.append("inline script")
        if tag == "img" and "alt" not in given:
            self.faults.append("img without alt")
        if any(value.startswith(("http:", "https:", "//")) for value in given.values() if value):
            self.faults.append(f"{tag} names another host")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> out of order at {self.getpos()}")


def configure(node, extra: str = "") -> None:
    node.configure(f"{ANY_PORT}\n{extra}")


@pytest.fixture
def finished(node, make_scan):
    """A node that has delivered one scan and put one into quarantine, and keeps what it made."""
    configure(node)
    text = node.config.read_text().replace("drain_s", "keep_reconstructions = true\ndrain_s")
    node.config.write_text(text)
    node.start()
    node.send(make_scan("good.h5", seed=1))
    node.send(make_scan("nowhere.h5", seed=2, read_dir=(0.0, 0.0, 0.0)))
    node.wait_for(
        lambda jobs: len(jobs) == 2 and all(job.finished_at or job.stage is Stage.QUARANTINED for job in jobs)
    )
    return node


def test_every_page_is_whole_and_says_no_more_of_patients_than_status(finished, start_console):
    console = start_console(finished.config)
    pages = [
        *PAGES,
        "/?last=0",
        "/fragments/queue?last=100",
        *(f"/jobs/{job.name}" for job in finished.jobs()),
    ]
    pages += [f"/jobs/{job.name}/{part}" for part in ("live", "state") for job in finished.jobs()]
    for path in [
        *pages,
        "/jobs/ffffffffffff",
        "/nothing",
        "/?last=-1",
        "/?last=all",
        "/jobs/..%2f..%2fstate",
    ]:
        answer = console.ask(path)
        assert answer.status == (200 if path in pages else 404), (path, answer.text)
        assert Outline(answer.text).faults == [], path
        assert not [word for word in SENTINELS if word in answer.text], path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    assert console.process.poll() is None
    console.process.terminate()
    _, errors = console.process.communicate()
    assert errors == ""


def test_a_job_shows_every_figure_of_its_verdict_beside_its_range(finished, start_console):
    (good,) = (job for job in finished.jobs() if job.finished_at)
    page = start_console(finished.config).ask(f"/jobs/{good.name}").text
    shown = {
        "acceleration": ("2", "1.7 to 11.7", ""),
        "noise": ("0.2", "up to 0.07", "outside in 3 slices"),
        "calibration lines": ("24", "6 or more", ""),
        "coils": ("2", "-", ""),
        "data residual of the delivered image": ("0", "-", ""),
    }
    for name, (value, limits, outside) in shown.items():
        row = page.split(f'<th scope="row">{name}</th>')[1].split("</tr>")[0]
        assert f">{value}</td>" in row
        assert f"{limits}" in row
        assert outside in row
        assert ("outside" in row) == bool(outside)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Figure(name="", value=4.0, low=2.0, high=8.0), 40.0),
        (Figure(name="", value=0.05, high=0.1), 50.0),
        (Figure(name="", value=6.0, low=6.0), 20.0),
        (Figure(name="", value=1e9, low=2.0, high=8.0), 98.0),
        (Figure(name="", value=float("nan"), low=2.0, high=8.0), 98.0),
    ],
)
def test_the_mark_of_a_figure_stands_between_the_ends_of_its_range(figure, expected):
    assert place(figure) == pytest.approx(expected)


def test_the_audit_trail_counts_among_what_is_kept(finished, start_console):
    page = start_console(finished.config).ask("/storage").text
    kept = page.split("<dt>audit trail</dt><dd>")[1].split("</dd>")[0]
    assert kept != "0 B"


def test_who_computes_beside_the_node_is_shown(finished, start_console):
    console = start_console(finished.config)
    assert "Workers" not in console.ask("/").text
    with closing(Workers(databases_of(load(finished.config)).table)) as workers:
        workers.enter("second", alone=False, dead_after_s=12.0)
    page = console.ask("/").text
    assert Outline(page).faults == []
    shown = page[page.index("<h2>Workers</h2>") :]
    assert re.findall(r'<th scope="row">([^<]+)</th>', shown) == ["node", "second"]
    assert f'data-label="Process">{os.getpid()}<' in shown


def test_a_refused_corrected_scan_is_listed_without_what_it_says(finished, make_scan, start_console):
    with pytest.raises(NodeError, match="0xC114"):
        finished.send(make_scan("good.h5", seed=1), AccessionNumber="ACC-4711")
    console = start_console(finished.config)
    page = console.ask("/quarantine").text
    assert "LF-NET-019" in page
    assert "lfmri-node accept" in page
    assert Outline(page).faults == []
    assert not [word for word in (*SENTINELS, "ACC-4711") if word in page]


def test_a_job_in_quarantine_shows_code_message_and_hint_and_goes_back_to_work(finished, start_console):
    console = start_console(finished.config)
    (bad,) = (job for job in finished.jobs() if job.stage is Stage.QUARANTINED)
    page = console.ask("/quarantine").text
    assert bad.failure.code in page
    assert bad.failure.hint.split("'")[0] in page
    answer = console.submit(f"/jobs/{bad.name}/retry", "/quarantine")
    assert answer.status == 303
    assert answer.headers["location"] == f"/jobs/{bad.name}?retried=1"
    finished.wait_for(
        lambda jobs: any(
            job.key == bad.key and job.stage is Stage.QUARANTINED and job.updated_at > bad.updated_at
            for job in jobs
        )
    )


def test_pictures_of_a_finished_job_are_those_of_its_files(finished, start_console, reconstruction):
    console = start_console(finished.config)
    (good,) = (job for job in finished.jobs() if job.finished_at)
    page = console.ask(f"/jobs/{good.name}").text
    assert f'src="/jobs/{good.name}/fallback/2.png"' in page
    assert "the network was not used for this scan" in page
    assert "Deleted when the job was finished" in page  # the light worker leaves no coil maps
    work = finished.layout.work(good.key)
    for path in work.iterdir():
        path.rename(work.parent / f"aside-{path.name}")
    made = reconstruction()
    (work / "reconstruction").mkdir()
    save_reconstruction(made, work / "reconstruction")
    sampled = np.arange(20) % 2 == 0
    np.savez(
        work / "calibration.npz", maps=np.ones((6, 4, 8, 8), np.complex64), sampled=np.stack([sampled] * 6)
    )
    page = console.ask(f"/jobs/{good.name}").text
    for kind in ("fallback", "reference", "lf-mri", "map", "difference", "coil-maps", "sampling"):
        assert f'src="/jobs/{good.name}/{kind}/5.png"' in page  # the slice with the activation comes first

    def picture(kind: str) -> np.ndarray:
        answer = console.ask(f"/jobs/{good.name}/{kind}/5.png")
        assert answer.headers["content-type"] == "image/png"
        return np.asarray(Image.open(io.BytesIO(answer.body)))

    assert picture("map").shape == (20, 24, 4)
    assert np.all(picture("map")[6, 7:11, 3] == round(0.9 * 255))
    assert np.all(picture("map")[0, :, 3] == 0)
    expected = np.abs(made.image[4])
    assert np.corrcoef(picture("lf-mri").ravel(), expected.ravel())[0, 1] > 0.95
    assert picture("lf-mri").mean() > picture("reference").mean() > picture("fallback").mean()
    assert np.all(
        picture("difference")[..., 0] > picture("difference")[..., 2]
    )  # brighter everywhere: orange
    assert np.array_equal(picture("sampling")[0] > 0, sampled)
    assert picture("coil-maps").shape == (16, 16)
    for wrong in ("lf-mri/0.png", "lf-mri/7.png", "nothing/1.png", "sampling/7.png"):
        answer = console.ask(f"/jobs/{good.name}/{wrong}")
        assert (answer.status, "LF-CON-004" in answer.text) == (404, True)


def test_a_dead_destination_is_held_and_answers_the_echo_when_it_is_back(
    node, pacs, make_scan, start_console
):
    configure(node)
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan())
    node.wait_for(
        lambda jobs: len(jobs) == 1 and jobs[0].reached(Stage.ENCODED) and jobs[0].contrast is not None
    )
    node.wait_line("LF-DEL-")
    console = start_console(node.config)
    page = console.ask("/destinations").text
    assert "held" in page
    assert "LF-DEL-" in page
    assert "does not answer" in console.submit("/destinations/pacs/echo").text
    with Pacs(node.folder / "back", port=pacs.port):
        assert "pacs answers" in console.submit("/destinations/pacs/echo").text
        node.wait_finished()
        assert "nothing to do" in console.ask("/destinations").text


def test_foreign_pages_can_neither_read_nor_send(finished, start_console):
    console = start_console(finished.config)
    token, own = console.token(), f"http://{console.host}"
    before = finished.jobs()
    forms = [
        ("", {"Origin": own}),
        ("token=guessed", {"Origin": own}),
        (f"token={token}", {}),
        (f"token={token}", {"Origin": "http://evil.example"}),
        (f"token={token}", {"Origin": "null"}),
        (f"token={token}{'x' * 5000}", {"Origin": own}),
    ]
    for path in ("/quarantine/retry", f"/jobs/{before[0].name}/retry", "/destinations/pacs/echo"):
        for body, headers in forms:
            answer = console.ask(path, "POST", body, **headers)
            assert (answer.status, "LF-CON-003" in answer.text) == (403, True)
    answer = console.ask("/", Host="evil.example")
    assert (answer.status, "LF-CON-002" in answer.text) == (421, True)
    assert [job.updated_at for job in finished.jobs()] == [job.updated_at for job in before]
    assert console.ask("/quarantine/retry").status == 404  # GET changes nothing


def test_behind_a_proxy_every_link_has_its_prefix_and_forms_come_from_its_name(finished, start_console):
    text = finished.config.read_text()
    url = "https://pacs.example.org/lfmri"
    finished.config.write_text(text.replace(ANY_PORT, f'{ANY_PORT}\nbehind_proxy = true\nurl = "{url}"'))
    console = start_console(finished.config)
    for stripped in ("", "/lfmri"):  # whether or not the proxy takes the prefix away
        page = console.ask(f"{stripped}/quarantine", Host="pacs.example.org").text
        links = re.findall(r' (?:href|src|action|data-live)="([^"]*)"', page)
        assert len(links) > 8
        assert all(link.startswith(("/lfmri/", "#")) for link in links)
        assert console.ask(f"{stripped}/static/console.css").status == 200
    token = re.search(r'name="token" value="([^"]+)"', page)
    headers = {"Host": "pacs.example.org", "Origin": "https://pacs.example.org"}
    answer = console.ask("/quarantine/retry", "POST", f"token={token[1]}", **headers)
    assert (answer.status, answer.headers["location"]) == (303, "/lfmri/?retried=1&stay=0")


def test_before_the_node_ever_ran_the_pages_say_what_to_do(node, start_console):
    configure(node)
    console = start_console(node.config)
    answer = console.ask("/")
    assert answer.status == 503
    assert "LF-JOB-003" in answer.text
    assert console.ask("/destinations").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "node.example.org"])
def test_another_host_is_refused_unless_a_proxy_asks_who_it_is(node, host):
    node.configure(f'[console]\nhost = "{host}"')
    command = [sys.executable, "-m", "lfmri_node.node.cli", "console", "--config", str(node.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "LF-CON-001" in done.stderr


def test_a_port_that_is_taken_is_named(node, pacs):
    node.configure(f"[console]\nport = {pacs.port}")
    command = [sys.executable, "-m", "lfmri_node.node.cli", "console", "--config", str(node.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search("LF-CON-007.*cannot be used", done.stderr)
