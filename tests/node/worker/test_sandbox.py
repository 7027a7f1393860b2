"""What parses foreign bytes has its own files and nothing else, where the kernel can; and where it cannot."""

import json
import os
import platform
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lfmri_node.dicom_io.receive.incoming import Limits
from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.node.doors.intake import Intake
from lfmri_node.node.errors import DoorError, JobError
from lfmri_node.node.worker import landlock, seccomp
from lfmri_node.node.worker.process import WorkerProcess
from lfmri_node.node.worker.sandbox import Sandbox, sandbox
from lfmri_node.recon.types import ScanIdentity


@pytest.fixture(scope="module")
def cage() -> Sandbox:
    found = sandbox("auto", forgets=frozenset({"PACS_PASSWORD"}))
    if not found.whole:
        pytest.skip(f"the kernel does not allow it: {found}")
    return found


@pytest.fixture
def try_inside(cage: Sandbox, tmp_path: Path):
    """Runs Python that may read ``reads`` and write in ``writes``; what it says, "" or its error."""
    for name in ("reads", "writes"):
        (tmp_path / name).mkdir()
    (tmp_path / "reads" / "scan").write_text("k-space")
    (tmp_path / "writes" / "result").write_text("image")
    (tmp_path / "key.pem").write_text("secret")

    def run(code: str, **environment: str) -> str:
        launcher = cage.launcher(reads=[tmp_path / "reads"], writes=[tmp_path / "writes"])
        done = subprocess.run(
            [*launcher, sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            check=False,
        )
        return done.stdout + done.stderr[-300:]

    return run


def test_reaches_nobody(try_inside) -> None:
    connects = "import socket; socket.create_connection(('127.0.0.1', {}), timeout=30)"
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        subprocess.run([sys.executable, "-c", connects.format(port)], check=True)
        assert "PermissionError" in try_inside(connects.format(port))


def test_asks_no_service_of_the_machine(try_inside, tmp_path: Path) -> None:
    """A PostgreSQL or D-Bus behind a path in the file system is none of its business either."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "writes" / "database"))
        server.listen()
        said = try_inside("import socket; socket.socket(socket.AF_UNIX).connect('writes/database')")
    assert "PermissionError" in said


@pytest.mark.parametrize(
    "code",
    [
        "print(open('reads/scan').read(), end='')",
        "open('writes/result', 'a').write('x')",
        "open('writes/new', 'w').write('x')",
        "import os; os.makedirs('writes/a/b'); os.rename('writes/result', 'writes/a/b/result')",
        "import os; os.link('writes/result', 'writes/same'); os.unlink('writes/result')",
        "import tempfile; tempfile.TemporaryFile(dir='writes').write(b'x')",
        "import shutil, os; os.mkdir('writes/a'); shutil.rmtree('writes/a')",
        "open('/dev/null', 'w').write('x')",
    ],
)
def test_works_with_its_own_files(try_inside, code: str) -> None:
    assert try_inside(code) in ("", "k-space")


@pytest.mark.parametrize(
    "code",
    [
        "open('key.pem').read()",
        "open('reads/../key.pem').read()",
        "import os; os.symlink('../key.pem', 'writes/link'); open('writes/link').read()",
        "import os; os.link('key.pem', 'writes/link')",
        "import os; os.listdir('.')",
        "open('reads/scan', 'w')",
        "open('reads/new', 'w')",
        "import os; os.unlink('reads/scan')",
        "import os; os.rename('reads/scan', 'writes/scan')",
        "import os; os.truncate('reads/scan', 0)",
        "open('new', 'w')",
        "import os; os.rename('writes/result', 'result')",
        "import os; os.mknod('writes/device', 0o20600, os.makedev(1, 3))",
        "open('/etc/shadow').read()",
    ],
)
def test_nothing_else_is_read_written_or_removed(try_inside, tmp_path: Path, code: str) -> None:
    assert "Error" in try_inside(code)
    assert (tmp_path / "key.pem").read_text() == "secret"
    assert (tmp_path / "reads" / "scan").read_text() == "k-space"
    assert {path.name for path in tmp_path.iterdir()} == {"key.pem", "reads", "writes"}


def test_looks_into_no_other_process_and_ends_none(try_inside) -> None:
    parent = "import os; parent = os.getppid(); "
    assert "Error" in try_inside(parent + "open(f'/proc/{parent}/environ').read()")
    assert "Error" in try_inside(parent + "open(f'/proc/{parent}/mem', 'rb')")
    if landlock.abi() >= 6:
        assert "Error" in try_inside(parent + "os.kill(parent, 0)")


def test_gets_no_secret_by_its_environment(try_inside) -> None:
    shows = "import os; print(sorted(name for name in os.environ if name in ('PACS_PASSWORD', 'TZ')))"
    assert try_inside(shows, PACS_PASSWORD="hunter2", TZ="UTC") == "['TZ']\n"


def test_gains_no_privileges_and_has_none_of_root_s_but_over_files(try_inside) -> None:
    lines = try_inside("print(open('/proc/self/status').read())").splitlines()
    said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2"
    assert int(said["CapEff"], 16) & ~0b1110 == 0


def test_its_children_are_confined_too(try_inside) -> None:
    child = "import subprocess; print(subprocess.run(['cat', 'key.pem'], capture_output=True, text=True))"
    assert "Permission denied" in try_inside(child)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 has a third interface")
def test_the_numbers_of_the_third_interface_are_refused(try_inside) -> None:
    """x32: the number of getpid with bit 30 set; without a filter most kernels know no such call (ENOSYS)."""
    calls = "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True); libc.syscall({}); "
    said = try_inside(calls.format(0x40000000 + 39) + "print(errno.errorcode.get(ctypes.get_errno()))")
    assert said == "EPERM\n"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_numbers_of_forbidden_calls_are_those_of_the_kernel_s_headers(machine: str) -> None:
    named = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}[machine]
    header = Path("/usr/include") / named
    if not header.exists():
        pytest.skip("linux-libc-dev is not installed")
    words = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR")]
    numbers = {name.partition("_NR_")[2].removeprefix("3264_"): number for _, name, number, *_ in words}
    known = seccomp.ARCHITECTURES[machine]
    listed = {**known.forbidden, "seccomp": known.seccomp}
    assert {name: numbers[name] for name in listed} == {name: str(listed[name]) for name in listed}


def test_the_processes_of_a_node_are_confined(cage: Sandbox, node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    serve = psutil.Process(node.process.pid)
    (worker,) = serve.children()
    assert "NoNewPrivs:\t1" in Path(f"/proc/{worker.pid}/status").read_text()
    assert "Seccomp:\t2" in Path(f"/proc/{worker.pid}/status").read_text()
    assert any('what="no network, no new privileges, no other files"' in line for line in node.lines)


READER = """
import json, os, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    try:
        said = open(request["task"]["weights"]).read()
    except PermissionError:
        said = ""
    print(json.dumps({"id": request["id"], "result": {"process": os.getpid(), "said": said}}), flush=True)
"""


def test_weights_that_come_later_are_let_in_with_a_new_process(cage: Sandbox, tmp_path: Path) -> None:
    """Also under the old name: what a process may read is the file that was there when it began."""
    path = tmp_path / "mine.safetensors"
    path.write_text("old")

    def launcher(weights):
        return cage.launcher(reads=[Path(name) for name, _ in weights])

    command = [sys.executable, "-c", READER]
    with WorkerProcess(
        command, log=tmp_path / "log", launcher=launcher, weights=[(str(path), "1")]
    ) as worker:

        def read(sha256):
            return worker.call("read", {"weights": str(path)}, limit_s=60, weights=(str(path), sha256))

        first, again = read("1"), read("1")
        assert (first["said"], first["process"]) == ("old", again["process"])
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").rename(path)
        assert read("2")["said"] == "new"
        assert worker.n_starts == 1  # nothing went wrong: nobody is told


def a_kernel_without(monkeypatch: pytest.MonkeyPatch, *, landlock_too: bool) -> None:
    monkeypatch.setattr(seccomp, "known", lambda: False)
    if landlock_too:
        monkeypatch.setattr(landlock, "abi", lambda: 0)


def test_what_the_kernel_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    a_kernel_without(monkeypatch, landlock_too=False)
    assert str(sandbox("auto")) == "network possible, no new privileges, no other files"
    a_kernel_without(monkeypatch, landlock_too=True)
    assert str(sandbox("auto")) == "network possible, no new privileges, other files possible"


def test_required_is_not_less(monkeypatch: pytest.MonkeyPatch) -> None:
    a_kernel_without(monkeypatch, landlock_too=True)
    with pytest.raises(JobError, match="LF-JOB-060"):
        sandbox("required")


def test_a_step_that_fails_ends_the_process_before_its_command(cage: Sandbox) -> None:
    words = cage.launcher(reads=[Path("/")])
    refused = json.dumps({**json.loads(words[-1]), "uses": ["a\0b"]})
    done = subprocess.run(
        [*words[:-1], refused, sys.executable, "-c", "print('runs')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_off_asks_nothing() -> None:
    assert sandbox("off").launcher(reads=[Path("/")]) == []


CONVERTER = """
import json, sys
from pathlib import Path
kind, source, out, ae_title = sys.argv[1:]
said = []
for name, path in (("source", source), ("neighbour", str(Path(source).with_name("other.h5")))):
    try:
        said.append(name if open(path).read() else "")
    except PermissionError:
        pass
Path(out, "made").write_text("x")
print(json.dumps({"error": {"code": "LF-TST-001", "message": " ".join(said), "hint": "none"}}))
"""


def test_a_converter_reads_what_it_converts_and_nothing_else(cage: Sandbox, tmp_path: Path) -> None:
    for name in ("scan.h5", "other.h5"):
        (tmp_path / name).write_text("k-space")
    intake = Intake(
        spool=Spool(tmp_path / "spool", limits=Limits(max_object_bytes=1, min_free_bytes=0)),
        folder=tmp_path / "spool",
        received=lambda _measurement: pytest.fail("nothing was converted"),
        cage=cage,
        converter=[sys.executable, "-c", CONVERTER],
    )
    intake.open()
    with pytest.raises(DoorError) as caught:
        intake.take("file", str(tmp_path / "scan.h5"), 7, "FOLDER")
    assert (caught.value.code, caught.value.message) == ("LF-TST-001", "source")


def test_a_file_of_a_watched_folder_is_converted_in_there(
    cage: Sandbox, node, make_scan, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    node.configure(f'[[folders]]\npath = "{inbox}"\nae_title = "FOLDER"\nsettle_s = 0.1')
    node.start()
    identity = ScanIdentity(patient_id="4711", study_instance_uid="1.2.3")
    make_scan(identity=identity).rename(inbox / "scan.h5")
    (job,) = node.wait_finished()
    assert (job.calling_ae, job.failure) == ("FOLDER", None)
