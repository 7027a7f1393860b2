"""Names planted wherever a scan, a form or a file can carry them, and looked for wherever they do not belong.

They belong into Raw Data objects, what is kept beside them, and the objects made of them; into the audit
trail by identifier and study alone.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import h5py
import psutil
import pytest
import trustme
from servers import Hook, Mailbox, serving

from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.recon.types import ScanIdentity

PATIENT_ID = "MARK-ID-4711"
STUDY = "1.2.826.0.1.3680043.8.498.4712"
NAME, ACCESSION, FILE, XML, PASSWORD, SECRET = (
    f"MARK-{kind}" for kind in ("NAME", "ACCESSION", "FILE", "XML", "PASSWORD-4711", "SECRET-4711")
)
MARKS = (PATIENT_ID, STUDY, NAME, ACCESSION, FILE, XML, PASSWORD, SECRET)
WHOLE_IDENTITY = ("spool", "objects")
"""Folders of the data directory that hold DICOM objects, and the values beside them."""
PAGES = ("/", "/quarantine", "/destinations", "/history", "/storage", "/users")


def cli(node, *arguments: str, said: str = "") -> str:
    command = [sys.executable, "-m", "lfmri_node.node.cli", *arguments, "--config", str(node.config)]
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def marked(make_scan):
    """``marked(name, ...)``: a scan whose header says the marks, in a file whose name is one."""

    def make(name: str, **options: object) -> Path:
        identity = ScanIdentity(patient_id=PATIENT_ID, patient_name=NAME, study_instance_uid=STUDY)
        path = make_scan(f"{FILE}-{name}.h5", identity=identity, **options)
        with h5py.File(path, "r+") as file:
            text = file["dataset/xml"][0].decode()
            noted = re.sub(r"(<experimentalConditions>)", rf"<!-- {XML} -->\1", text)
            assert noted != text
            file["dataset/xml"][0] = noted.encode()
        return path

    return make


def explained(node, scan: Path, *way: str) -> str:
    """What `explain` says of a scan, but for the name of the file that it was asked about."""
    said = cli(node, "explain", str(scan), *way)
    assert "LF-JOB-022" in said
    return said.replace(str(scan), "")


def pages_of(console, names: list[str]) -> dict[str, str]:
    """What an admin sees, after one login in vain."""
    origin = {"Origin": f"http://{console.host}"}

    def login(password: str) -> str:
        fields = urlencode({"token": console.token("/login"), "name": "anna", "password": password})
        answer = console.ask("/login", "POST", fields, **origin)
        return answer.headers.get("set-cookie", "").partition(";")[0] or answer.text

    shown = {"a login in vain": login(f"not {PASSWORD}")}
    cookie = {"Cookie": login(PASSWORD)}
    for page in (*PAGES, *(f"/jobs/{name}" for name in names), f"/jobs/{PATIENT_ID}"):
        answer = console.ask(page, **cookie)
        shown[f"page {page}"] = answer.text + str(answer.headers)
    assert "anna (admin)" in shown["page /"]
    return shown


def processes(*pids: int) -> dict[str, str]:
    """Command lines and environments of processes and all that they started."""
    found = [p for pid in pids for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    return {
        f"{part} of {process.pid}": Path(f"/proc/{process.pid}/{part}").read_bytes().decode("latin-1")
        for process in found
        for part in ("cmdline", "environ")
    }


@pytest.fixture
def told() -> Iterator[tuple[Hook, Mailbox, trustme.CA]]:
    """Who is told by webhook and by mail."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    hook, mailbox = Hook(), Mailbox(context, "node", PASSWORD)
    with serving(hook), serving(mailbox):
        yield hook, mailbox, authority


def notices(folder: Path, hook: Hook, mailbox: Mailbox, authority: trustme.CA) -> str:
    """The part of the configuration that tells both of everything, at once."""
    authority.cert_pem.write_to_path(folder / "notices-ca.pem")
    (folder / "mail-password").write_text(PASSWORD)
    (folder / "mail-password").chmod(0o600)
    return f"""
        [[notify]]
        kind = "webhook"
        name = "hook"
        url = "{hook.url}"
        secret_file = "secret"
        at_most_every_s = 0.1
        destination_down_s = 0.2
        [[notify]]
        kind = "mail"
        name = "mail"
        host = "127.0.0.1"
        port = {mailbox.port}
        user = "node"
        password_file = "mail-password"
        ca_file = "notices-ca.pem"
        sender = "node@example.org"
        to = ["someone@example.org"]
        at_most_every_s = 0.1
        """


def notices_of(hook: Hook, mailbox: Mailbox) -> dict[str, str]:
    """What came: each webhook with its headers, each mail with its own, until both know of a quarantine."""
    posts, mails = [], []
    while not any("LF-JOB-022" in post for post in posts):
        headers, body = hook.got.get(timeout=120)
        posts.append(f"{headers} {body.decode()}")
    while not any("LF-JOB-022" in mail for mail in mails):
        to, mail = mailbox.got.get(timeout=120)
        mails.append(f"{to} {mail.as_string()} {mail.get_payload(decode=True)}")
    return {"webhook": "".join(posts), "mail": "".join(mails)}


def pages_of_monitor(lines: list[str]) -> dict[str, str]:
    """What whoever looks after the node may fetch."""
    (line,) = [line for line in lines if "monitor.ready" in line]
    port = json.loads(line)["port"]
    found = {}
    for page in ("metrics", "healthz", "readyz", f"{PATIENT_ID}"):
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"/{page}")
        answer = connection.getresponse()
        found[f"monitor, {page}"] = f"{answer.getheaders()} {answer.read().decode()}"
        connection.close()
    return found


def files_of(root: Path) -> dict[str, str]:
    """Content and name of every file that has no business with an identity."""
    inside = [path for path in root.rglob("*") if path.is_file()]
    free = [p for p in inside if p.relative_to(root).parts[0] not in (*WHOLE_IDENTITY, "audit")]
    content = {str(path.relative_to(root)): path.read_bytes().decode("latin-1") for path in free}
    return content | {"names of files": "\n".join(str(path.relative_to(root)) for path in inside)}


def test_marks_are_found_nowhere_they_do_not_belong(node, pacs, marked, start_console, told) -> None:
    (node.folder / "secret").write_text(SECRET)
    (node.folder / "secret").chmod(0o600)
    node.configure(
        """
        [[destinations]]
        kind = "orthanc"
        name = "away"
        url = "http://127.0.0.1:1"
        user = "lfmri"
        password_file = "secret"
        [console]
        port = 0
        users_file = "users.json"
        [monitor]
        port = 0
        [logging]
        format = "json"
        level = "debug"
        """
        + notices(node.folder, *told)
    )
    assert "anna" in cli(node, "users", "anna", "--role", "admin", said=PASSWORD + "\n")
    good, nowhere = marked("good", seed=1), marked("nowhere", seed=2, read_dir=(0.0, 0.0, 0.0))
    other = marked("other", seed=3)
    given = {
        "PatientID": PATIENT_ID,
        "PatientName": NAME,
        "StudyInstanceUID": STUDY,
        "AccessionNumber": ACCESSION,
    }
    node.launch(light=False)
    node.wait_line("service.ready")
    node.port = json.loads(node.lines[-1])["port"]
    for scan in (good, nowhere):
        node.send(scan, **given)
    node.send_as_another_gateway(other, **{**given, "PatientID": f"{PATIENT_ID}-2"})
    with pytest.raises(NodeError) as refused:
        node.send(good, **{**given, "AccessionNumber": f"{ACCESSION}-2"})
    node.wait_for(
        lambda jobs: (
            len([job for job in jobs if job.stage is Stage.QUARANTINED]) == 2
            and any(job.failure and job.failure.code == "LF-DEL-001" for job in jobs)
        )
    )
    names = [job.name for job in node.jobs()]
    console = start_console(node.config)
    said = {"refusal": str(refused.value)}
    said |= pages_of(console, names)
    said |= notices_of(*told[:2])
    said |= pages_of_monitor(node.lines)
    said |= processes(node.process.pid, console.process.pid)
    said |= {
        " ".join(a): cli(node, *a)
        for a in (
            *(("status",), ("status", "--json"), ("doctor",), ("doctor", "--json"), ("accept",)),
            ("reprocess", "--since", "2026-01-01", "--dry-run"),
            ("purge", "--dry-run"),
        )
    }
    said |= {f"explain, as {way}": explained(node, nowhere, *way) for way in ((), ("--json",))}
    said |= {f"status {name}": cli(node, "status", name, "--json") for name in names}
    console.process.terminate()
    said["console"] = "".join(console.process.communicate())
    node.stop()
    said["log"] = "".join(node.lines)
    said |= files_of(node.layout.root)
    said["users"] = (node.folder / "users.json").read_text()
    found = {where: [mark for mark in MARKS if mark in text] for where, text in said.items()}
    assert {where: marks for where, marks in found.items() if marks} == {}
    trail = "".join(path.read_text() for path in (node.layout.root / "audit").iterdir())
    assert {mark for mark in MARKS if mark in trail} == {PATIENT_ID, STUDY}, (
        "what the standard asks for, no more"
    )
    kept = b"".join(path.read_bytes() for path in node.layout.raw.iterdir())
    assert all(mark.encode() in kept for mark in (PATIENT_ID, STUDY, NAME, ACCESSION, XML)), (
        "they were planted"
    )
