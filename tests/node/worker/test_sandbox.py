"""The worker without network and new privileges, where the system allows it; and where it does not."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lfmri_node.node.errors import JobError
from lfmri_node.node.worker.sandbox import Sandbox, sandbox
from lfmri_node.recon.types import ScanIdentity

CONNECTS = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=30)"


@pytest.fixture
def confined() -> Sandbox:
    found = sandbox("auto")
    if not (found.no_network and found.no_new_privileges):
        pytest.skip(f"the system does not allow it: {found}")
    return found


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system that allows nothing: both programs end as they do where the kernel says no."""
    for name in ("unshare", "setpriv"):
        path = tmp_path / name
        path.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def connects(launcher: tuple[str, ...], port: int) -> subprocess.CompletedProcess[str]:
    command = [*launcher, sys.executable, "-c", CONNECTS, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_worker_cannot_reach_anybody(confined: Sandbox) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert connects((), port).returncode == 0
        assert "Network is unreachable" in connects(confined.launcher, port).stderr


def test_a_worker_gains_no_privileges(confined: Sandbox) -> None:
    shows = "print(open('/proc/self/status').read())"
    command = [*confined.launcher, sys.executable, "-c", shows]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "NoNewPrivs:\t1" in said


def test_the_worker_of_a_node_is_confined(confined: Sandbox, node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    serve = psutil.Process(node.process.pid)
    (worker,) = serve.children()
    networks = {Path(f"/proc/{process.pid}/ns/net").stat().st_ino for process in (serve, worker)}
    assert len(networks) == 2
    assert "NoNewPrivs:\t1" in Path(f"/proc/{worker.pid}/status").read_text()
    assert any('worker.sandbox what="no network, no new privileges"' in line for line in node.lines)


def test_the_node_works_where_nothing_is_allowed(forbidden: None, node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    node.stop()
    assert any('worker.sandbox what="network possible' in line for line in node.lines)


def test_required_is_not_less(forbidden: None) -> None:
    with pytest.raises(JobError, match="LF-JOB-060"):
        sandbox("required")


def test_off_asks_nothing() -> None:
    assert sandbox("off") == Sandbox()


def test_what_parses_a_file_of_a_watched_folder_is_confined_too(
    confined: Sandbox, node, make_scan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`setpriv` tells what it starts, and starts it."""
    told = tmp_path / "told"
    shim = tmp_path / "bin" / "setpriv"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> {told}\nexec {shutil.which("setpriv")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    node.configure(f'[[folders]]\npath = "{inbox}"\nae_title = "FOLDER"\nsettle_s = 0.1')
    node.start()
    identity = ScanIdentity(patient_id="4711", study_instance_uid="1.2.3")
    make_scan(identity=identity).rename(inbox / "scan.h5")
    node.wait_finished()
    assert "lfmri_node.node.doors.convert file" in told.read_text()
