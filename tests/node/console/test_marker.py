"""Names planted wherever a scan, a form or a file can carry them, and looked for wherever they do not belong.

They belong into Raw Data objects, what is kept beside them, and the objects made of them; into the audit
trail by identifier and study alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import h5py
import psutil
import pytest

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


def files_of(root: Path) -> dict[str, str]:
    """Content and name of every file that has no business with an identity."""
    inside = [path for path in root.rglob("*") if path.is_file()]
    free = [p for p in inside if p.relative_to(root).parts[0] not in (*WHOLE_IDENTITY, "audit")]
    content = {str(path.relative_to(root)): path.read_bytes().decode("latin-1") for path in free}
    return content | {"names of files": "\n".join(str(path.relative_to(root)) for path in inside)}


def test_marks_are_found_nowhere_they_do_not_belong(node, pacs, marked, start_console) -> None:
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
        """
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
    node.start(light=False)
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
    said |= processes(node.process.pid, console.process.pid)
    said |= {
        " ".join(a): cli(node, *a) for a in (("status",), ("status", "--json"), ("doctor",), ("accept",))
    }
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
