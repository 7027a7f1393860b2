"""doctor: whatever is wrong is one finding with code and hint, and never an exception."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from lfmri_node.node.config import load
from lfmri_node.node.doctor.examine import examine
from lfmri_node.node.doctor.findings import Finding, State
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker import landlock


def findings(folder: Path, *, data_dir: str = "data", more: str = "") -> dict[str, list[Finding]]:
    """Check -> what doctor finds with this data directory."""
    path = folder / "config.toml"
    path.write_text(f"[node]\ndata_dir = {json.dumps(data_dir)}\n[recon]\nmethod = 'zero-filled'\n{more}")
    found: dict[str, list[Finding]] = {}
    for finding in examine(lambda: load(path)):
        found.setdefault(finding.check, []).append(finding)
    return found


def the_one(found: dict[str, list[Finding]], check: str) -> Finding:
    (finding,) = found[check]
    return finding


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The data directory of a node that served once."""
    layout = Layout(root=tmp_path / "data")
    before = os.umask(0o022)
    layout.make_private()
    os.umask(before)
    Store(layout.job_table).close()
    layout.job_table.chmod(0o600)
    return layout


@pytest.mark.parametrize("data_dir", ["/dev/null/x", "/proc/x", "/sys/x", "x" * 300])
def test_a_folder_that_cannot_be_is_said_in_one_sentence(tmp_path: Path, data_dir: str) -> None:
    found = findings(tmp_path, data_dir=data_dir)
    disk = the_one(found, "disk")
    assert (disk.state, disk.code) == (State.FAILED, "LF-DOC-001")
    assert "GB free" not in disk.message
    failed = [f for checks in found.values() for f in checks if f.state is State.FAILED]
    assert failed == [disk]


def test_looking_leaves_nothing_behind(tmp_path: Path, layout: Layout) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert the_one(findings(tmp_path), "disk").state is not State.FAILED
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "config.toml"] == before


def test_a_job_table_of_another_version(tmp_path: Path, layout: Layout) -> None:
    with sqlite3.connect(layout.job_table) as connection:
        connection.execute("PRAGMA user_version=99")
    found = findings(tmp_path)
    for check in ("clock", "jobs"):
        assert (the_one(found, check).state, the_one(found, check).code) == (State.FAILED, "LF-JOB-004")


@pytest.mark.parametrize("name", ["node.sqlite", "dbos.sqlite"])
@pytest.mark.parametrize("damage", [b"no database at all" * 1000, b"SQLite format 3\0" + b"\xff" * 8176])
def test_what_is_no_database(tmp_path: Path, layout: Layout, name: str, damage: bytes) -> None:
    (layout.state / name).write_bytes(damage)
    found = findings(tmp_path)
    assert the_one(found, "databases").state is State.FAILED
    assert the_one(found, "databases").code == "LF-JOB-041"
    assert all(f.code for checks in found.values() for f in checks if f.state is State.FAILED)


def test_a_database_with_a_damaged_page(tmp_path: Path, layout: Layout) -> None:
    with sqlite3.connect(layout.workflows) as connection:
        connection.execute("CREATE TABLE facts (text)")
        connection.executemany("INSERT INTO facts VALUES (?)", [("x" * 500,)] * 200)
    with layout.workflows.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096)
    assert the_one(findings(tmp_path), "databases").code == "LF-JOB-041"


def test_what_others_may_read_is_told(tmp_path: Path, layout: Layout) -> None:
    assert the_one(findings(tmp_path), "privacy").state is State.OK
    for path in (layout.root, layout.spool, layout.job_table):
        path.chmod(path.stat().st_mode | 0o044)
        privacy = the_one(findings(tmp_path), "privacy")
        assert (privacy.state, privacy.code) == (State.WARNING, "LF-DOC-011")
        assert str(path) in privacy.message
        path.chmod(path.stat().st_mode & ~0o077)
    secret = tmp_path / "password"
    secret.write_text("secret")
    secret.chmod(0o644)
    destination = (
        "[[destinations]]\nkind = 'orthanc'\nname = 'o'\nurl = 'http://127.0.0.1:1'\n"
        "password_file = 'password'\n"
    )
    assert str(secret) in the_one(findings(tmp_path, more=destination), "privacy").message


def test_a_kernel_that_confines_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert the_one(findings(tmp_path), "worker").state is State.OK
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    worker = the_one(findings(tmp_path), "worker")
    assert (worker.state, worker.code) == (State.WARNING, "LF-DOC-030")
    assert "other files possible" in worker.message


def test_a_missing_password_hides_no_other_finding(tmp_path: Path, layout: Layout) -> None:
    one = "[[destinations]]\nkind = 'orthanc'\nname = '{}'\nurl = 'http://127.0.0.1:1'\n{}\n"
    found = findings(tmp_path, more=one.format("a", "password_file = 'absent'") + one.format("b", ""))
    assert the_one(found, "destination a").code == "LF-CFG-005"
    assert the_one(found, "destination b").code == "LF-DOC-009"
    assert "jobs" in found


def test_gateways_whose_orientation_nobody_verified_are_named(tmp_path: Path) -> None:
    callers = ", ".join(f"{{ae_title = '{title}', address = '10.0.0.1'}}" for title in ("MR1", "MR2"))
    allow = f"[listener]\nallow = [{callers}]\n"
    dated = "[gateways.MR1]\norientation_verified = 2026-11-29\n"
    some = the_one(findings(tmp_path, more=allow + dated), "orientation")
    assert (some.state, some.code) == (State.WARNING, "LF-DOC-020")
    assert "MR2" in some.message
    assert "MR1" not in some.message
    both = findings(tmp_path, more=allow + dated + dated.replace("MR1", "MR2"))
    assert the_one(both, "orientation").state is State.OK
