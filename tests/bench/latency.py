"""How long people wait: start of the node to its first association, last byte of a scan to its first image.

What of that is work of which stage, and what waiting, is said by the job's own times.

The scan has 10 slices of 320 x 320 with 8 coils, 4x, sent by DCMTK into ``lfmri-node serve``; the PACS is the
small one of the demonstration. The first scan finds a node that has just started, the second a warm one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from report import Report
from scans import slices

from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.sense.sampling import random_lines

SHAPE, N_COILS, N_SLICES = (320, 320), 8, 10
NAME = f"{N_SLICES} slices, {SHAPE[0]} x {SHAPE[1]} x {N_COILS}, 4x"
_STORESCU, _ECHOSCU = Path("/usr/bin/storescu"), Path("/usr/bin/echoscu")
_AE = ("-aet", "GATEWAY", "-aec", "LFMRI")
_CONFIG = """
[node]
data_dir = "data"
[listener]
port = 0
allow = [{{ae_title = "GATEWAY", address = "127.0.0.1"}}]
[[destinations]]
kind = "dicom"
name = "pacs"
host = "127.0.0.1"
port = {port}
ae_title = "PACS"
"""


class Arrivals:
    """When the first and the last object of a scan came."""

    def __init__(self) -> None:
        self.first = threading.Event()
        self.at = self.last_at = 0.0

    def __call__(self, _uid: str) -> int:
        self.last_at = time.perf_counter()
        if not self.first.is_set():
            self.at = self.last_at
            self.first.set()
        return 0x0000


def measure(report: Report) -> None:
    """Seconds, each once."""
    if not (_STORESCU.exists() and _ECHOSCU.exists()):
        report.skip("latency", "dcmtk is not installed")
        return
    with tempfile.TemporaryDirectory() as name:
        folder, arrivals = Path(name), Arrivals()
        scans = [_scan(folder / f"scan-{patient}", patient) for patient in ("FIRST", "SECOND")]
        with Pacs(folder / "pacs", before_answer=arrivals) as pacs, _node(folder, pacs.port) as (port, ready):
            report.add("start of serve to its first association", ready, "s")
            for scan, title in zip(scans, ("just started", "warm"), strict=True):
                arrivals.first.clear()
                subprocess.run([_STORESCU, *_AE, "127.0.0.1", str(port), *scan], check=True)
                sent = time.perf_counter()
                arrivals.first.wait()
                _all_delivered(folder / "data")
                first = arrivals.at - sent
                report.add(f"{NAME}: last byte to first image in the PACS, {title}", first, "s")
                report.add(f"{NAME}: last byte to last object, {title}", arrivals.last_at - sent, "s")
                stages = _stages(folder / "data")
                for stage, taken in stages.items():
                    report.add(f"{NAME}: of it {stage}, {title}", taken, "s")
                left = first - sum(stages.values())
                report.add(f"{NAME}: of it queue, records, start of the delivery, {title}", left, "s")


def _scan(folder: Path, patient: str) -> list[Path]:
    folder.mkdir()
    lines = random_lines(SHAPE[1], 4.0, 0.08, np.random.RandomState(0))
    layout = ScanLayout(
        matrix=(*SHAPE, 1),
        field_of_view_mm=(240.0, 240.0, 4.0),
        n_coils=N_COILS,
        positions_mm=tuple((0.0, 0.0, 4.0 * s) for s in range(N_SLICES)),
    )
    step_1 = np.flatnonzero(lines)
    with open_writer(folder / "scan.h5", layout) as writer:
        for s, (kspace, _) in enumerate(slices(SHAPE, N_COILS, n_slices=N_SLICES, lines=lines)):
            gain = 1 + len(patient)  # a scan of its own
            writer.lines(gain * kspace.data[:, :, step_1].transpose(2, 0, 1), step_1, slice_counter=s)
    study = f"2.25.{len(patient)}"
    return list(wrap(folder / "scan.h5", folder, {"PatientID": patient, "StudyInstanceUID": study}))


def _all_delivered(data: Path) -> None:
    """Wait, as long as it takes, until nothing of the scan is on its way any more."""
    with closing(Ledger(Layout(root=data).job_table)) as ledger:
        while not all(job.finished_at for job in ledger.jobs()):
            time.sleep(0.1)


def _stages(data: Path) -> dict[str, float]:
    """Seconds of each stage before the delivery of the latest scan, as the job's row has them."""
    with closing(Ledger(Layout(root=data).job_table)) as ledger:
        job = max((job for job in ledger.jobs() if not job.is_measurement), key=lambda job: job.received_at)
        timings = [timing for key in (job.parent, job.key) if key for timing in ledger.timings(key)]
    return {t.stage.value: t.seconds or 0.0 for t in timings if t.stage is not Stage.SENT}


@contextmanager
def _node(folder: Path, pacs_port: int) -> Iterator[tuple[int, float]]:
    """A running node: its port, and the seconds until it answered a C-ECHO."""
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(port=pacs_port), encoding="utf-8")
    begun = time.perf_counter()
    command = [sys.executable, "-m", "lfmri_node.node.cli", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        port = next(
            int(line.split("port=")[1].split()[0]) for line in process.stderr if " service.ready " in line
        )
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        subprocess.run([_ECHOSCU, *_AE, "127.0.0.1", str(port)], check=True)
        try:
            yield port, time.perf_counter() - begun
        finally:
            process.send_signal(signal.SIGTERM)
            drain.join()
