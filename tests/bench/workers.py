"""How the work of many scans is shared: one worker against three, on PostgreSQL.

The reconstruction is replaced by a wait of two seconds, so that the figure is about the sharing and not about
the cores of this machine; reading, encoding and the checks by `dciodvfy` are real.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from time import sleep

import numpy as np
from report import Report
from scans import slices
from waiting_node import WAIT_S

from lfmri_node.node.gateway.send import Address, send_file
from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import SequenceInfo

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))
from postgres_cluster import PASSWORD, Cluster, running_cluster

N_SCANS, SHAPE, N_COILS = 24, (32, 32), 2
_HERE = Path(__file__).parent
CONFIG = """
[node]
data_dir = "data"
[listener]
port = 0
free_space_floor_gb = 0
allow = [{{ae_title = "GATEWAY", address = "127.0.0.1"}}]
[recon]
method = "zero-filled"
threads = 1
[queue]
url = "{url}"
password_file = "password"
compute = false
"""


def measure(report: Report) -> None:
    """The scans come when the workers are ready."""
    if not is_installed():
        report.skip("workers", "postgresql is not installed")
        return
    taken = seconds_of((1, 3))
    title = f"{N_SCANS} scans with a wait of {WAIT_S:g} s each, three workers"
    report.add(title, N_SCANS / taken[3], "scans/s", "one worker", N_SCANS / taken[1])


def is_installed() -> bool:
    """Whether PostgreSQL's programs are here."""
    return bool(shutil.which("initdb")) or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def seconds_of(n_workers: Sequence[int]) -> dict[int, float]:
    """Seconds that all scans take with so many workers each."""
    with running_cluster(lambda name: Path(str(shutil.which(name)))) as cluster:
        return {n: _seconds(cluster, n) for n in n_workers}


def _seconds(cluster: Cluster, n_workers: int) -> float:
    """From the first stage of the first scan to the end of the last scan."""
    with tempfile.TemporaryDirectory() as name:
        folder, database = Path(name), f"workers{n_workers}"
        url = cluster.database(database)
        (folder / "password").write_text(PASSWORD)
        (folder / "config.toml").write_text(CONFIG.format(url=url))
        table = PostgresTable(url=cluster.url(database, password=PASSWORD), root=folder / "data")
        path = scan(folder, N_SCANS)
        with started(folder, "node") as ready:
            names = [f"w{n}" for n in range(n_workers)]
            port = int(ready.split("port=")[1].split()[0])
            address = Address(ae_title="LFMRI", host="127.0.0.1", port=port)
            given = {"PatientID": "BENCH"}
            with _all(folder, names):
                send_file(path, address, calling_ae="GATEWAY", given=given, show=lambda *_: None)
                return _span(table).total_seconds()


def _span(table: PostgresTable) -> timedelta:
    while True:
        with closing(Ledger(table)) as ledger:
            jobs = [job for job in ledger.jobs() if not job.is_measurement]
            if len(jobs) == N_SCANS and all(job.finished_at for job in jobs):
                begun = [timing.begun_at for job in jobs for timing in ledger.timings(job.key)]
                ends = [at for job in jobs if (at := job.finished_at) is not None]
                return max(ends) - min(begun)
        sleep(0.5)


@contextmanager
def _all(folder: Path, names: list[str]) -> Iterator[None]:
    if not names:
        yield
        return
    with started(folder, names[0]), _all(folder, names[1:]):
        yield


@contextmanager
def started(folder: Path, name: str) -> Iterator[str]:
    """One process, with its line that says that it is ready."""
    command = [sys.executable, str(_HERE / "waiting_node.py"), str(folder / "config.toml"), name]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(line for line in process.stderr if ".ready " in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def scan(folder: Path, n_scans: int, protocol: str = "bench") -> Path:
    """One measurement that comes apart into so many scans."""
    rng = np.random.default_rng(0)
    lines = np.flatnonzero(random_lines(SHAPE[1], 2.0, 0.3, rng))
    layout = ScanLayout(
        matrix=(*SHAPE, 1),
        field_of_view_mm=(192.0, 192.0, 5.0),
        n_coils=N_COILS,
        positions_mm=((0.0, 0.0, 0.0),),
        sequences=tuple(
            SequenceInfo(protocol=protocol, repetition_time_ms=500.0, echo_time_ms=10.0 + n)
            for n in range(n_scans)
        ),
    )
    path = folder / f"{protocol}.h5"
    with open_writer(path, layout) as writer:
        for contrast in range(n_scans):
            ((kspace, _),) = slices(SHAPE, N_COILS)
            writer.lines(
                kspace.data[:, :, lines].transpose(2, 0, 1), lines, slice_counter=0, contrast=contrast
            )
    return path
