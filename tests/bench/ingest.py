"""C-STORE of 500 MB on loopback, sent by DCMTK: our listener, and DCMTK's storescp with and without +B.

Ours hashes the payload and syncs file and directory before it answers; DCMTK does neither.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from report import Report
from timing import peak_mb, seconds

from lfmri_node.dicom_io.raw_data.wrap import wrap

SIZE_MB = 500
REPEATS = 3
_SCU, _SCP = Path("/usr/bin/storescu"), Path("/usr/bin/storescp")
_LISTENER = """
import sys
from pathlib import Path
from lfmri_node.dicom_io.receive.listener import Listener, ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
policy = AccessPolicy(callers=(AllowedCaller.of("GATEWAY", ["127.0.0.1"]),))
settings = ListenerSettings(ae_title="NODE", port=0, spool=Path(sys.argv[1]), policy=policy)
with Listener(settings, lambda payload: None) as listener:
    print(listener.port, flush=True)
    sys.stdin.read()
"""

Receiver = Callable[[Path], contextlib.AbstractContextManager[tuple[int, int]]]


def measure(report: Report) -> None:
    """Each receiver starts anew with an empty folder for every transfer; the best of three counts."""
    if not (_SCU.exists() and _SCP.exists()):
        report.skip("C-STORE ingest", "dcmtk is not installed")
        return
    receivers: dict[str, Receiver] = {
        "ours": _ours,
        "DCMTK storescp": lambda folder: _dcmtk(folder),
        "DCMTK storescp +B": lambda folder: _dcmtk(folder, "+B"),
    }
    rates: dict[str, list[float]] = {name: [] for name in receivers}
    peaks: dict[str, list[float]] = {name: [] for name in receivers}
    with tempfile.TemporaryDirectory() as name:
        path = _raw_object(Path(name))
        for _ in range(1 + REPEATS):
            for receiver, start in receivers.items():
                rate, peak = _transfer(start, path, Path(name) / "received")
                rates[receiver].append(rate)
                peaks[receiver].append(peak)
    best = {receiver: max(found[1:]) for receiver, found in rates.items()}
    highest = {receiver: max(found) for receiver, found in peaks.items()}
    for rival in list(receivers)[1:]:
        title = f"C-STORE ingest of {SIZE_MB} MB, hash and fsync included"
        report.add(title, best["ours"], "MB/s", rival, best[rival])
    for rival in list(receivers)[1:]:
        title = f"C-STORE ingest of {SIZE_MB} MB, peak memory of the receiver"
        report.add(title, highest["ours"], "MB", rival, highest[rival])


def _transfer(start: Receiver, path: Path, folder: Path) -> tuple[float, float]:
    """(MB/s, peak MB of the receiver) of one transfer."""
    folder.mkdir()
    with start(folder) as (port, pid):
        command = [_SCU, "--max-pdu", "131072", "-R", "-aet", "GATEWAY", "-aec", "NODE"]
        taken = seconds(lambda: subprocess.run([*command, "127.0.0.1", str(port), path], check=True))
        peak = peak_mb(pid)
    received = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert received >= SIZE_MB * 1e6
    shutil.rmtree(folder)
    return SIZE_MB / taken, peak


def _raw_object(folder: Path) -> Path:
    """A Raw Data object with an HDF5 file of 500 MB."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "scan.h5", "w") as file:
        group = file.create_group("dataset")
        group["xml"] = np.bytes_(b"<ismrmrdHeader/>")
        group["data"] = np.frombuffer(rng.bytes(SIZE_MB * 10**6), dtype=np.uint8)
    (path,) = wrap(folder / "scan.h5", folder, {"PatientID": "BENCH", "StudyInstanceUID": "2.25.1"})
    return path


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[tuple[int, int]]:
    with subprocess.Popen(
        [sys.executable, "-c", _LISTENER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.communicate()


@contextlib.contextmanager
def _dcmtk(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [_SCP, *options, "--max-pdu", "131072", "-od", folder, str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while subprocess.run(["/usr/bin/echoscu", "127.0.0.1", str(port)], capture_output=True).returncode:
            assert process.poll() is None
        yield port, process.pid
        process.terminate()
