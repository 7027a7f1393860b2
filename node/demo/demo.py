"""``lfmri-node demo``: the whole path on one machine, checked at its end.

A real ``serve`` process, a PACS, the gateway command; everything on loopback and free ports, below
one folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfmri_node.node.demo.exam import write_exam
from lfmri_node.node.demo.loopback import DemoPacs, open_pacs
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.terminal.steps import Steps
from lfmri_node.recon.method.modelcard import read_card, shipped_weights
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.header import parse_header

if TYPE_CHECKING:
    from lfmri_node.node.demo.report import Demonstration  # torch comes with it

_IDENTITY = "exam.toml"
_OURS = ("node", "pacs", "pictures", "phantom.h5", "phantom.truth.npz", _IDENTITY)
_READY = " service.ready "
_POLL_S = 0.1
_STAGES = (Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT)

CONFIG = """\
# Written by `lfmri-node demo`.
[node]
data_dir = "data"
executor_id = "demo"
keep_reconstructions = true
[listener]
port = 0
free_space_floor_gb = 0.5
allow = [{{ae_title = "GATEWAY", address = "127.0.0.1"}}]
[recon]
always_fallback = true
[objects]
summary = true
[logging]
file = "node.log"
[retry]
base_s = 1
cap_s = 5
{destination}
"""


def run_demo(source: Path | None, out: Path, *, pacs: str, seed: int | None) -> Demonstration:
    """Send one measurement through a node into a PACS, and compare what it holds with what was sent.

    Parameters
    ----------
    source
        ISMRMRD file; None makes the phantom.
    out
        Folder for configuration, data, PACS and pictures; what an earlier demonstration left there
        is removed.
    pacs
        ``auto`` (Orthanc where it is installed), ``orthanc`` or ``embedded``.
    seed
        Of the phantom; None takes a usual one of those with a mark, by the card of the weights.

    Raises
    ------
    NodeError
        LF-CFG-015 where ``source`` is among what is removed; as `open_pacs`.
    ReconError
        ``source`` is no ISMRMRD file, or its header is damaged.
    """
    begun = time.monotonic()
    out = out.absolute()
    if source is not None:
        _require_input(source, out)
    _clear(out)
    with open_pacs(pacs, out / "pacs") as store:
        with Steps() as steps, _running_node(out / "node", store, steps) as node:
            measured = source or _phantom(out / "phantom.h5", seed, steps)
            _send(measured, node.port, steps, out / _IDENTITY, phantom=source is None)
            jobs = node.wait(steps)
        from lfmri_node.node.demo.report import report

        layout = Layout(root=out / "node" / "data")
        found = report(jobs, layout, measured, out, store, begun=begun)
        if source is not None:
            return found
        expected = how_often(read_card(shipped_weights()).record["demonstration"])
        return replace(found, expected=expected)


def how_often(found: Mapping[str, Any]) -> str:
    """What to expect of another seed, from what `lfmri-lab demo-study` wrote into the card."""
    return (
        f"Of {found['phantoms']} such phantoms (lfmri-lab demo-study) {found['trusted']} are TRUSTED;"
        f" {found['found']} of their {found['lesions']} slices with a lesion have a mark on it,"
        f" and {found['false_marks']} marks lie on none. In {found['unmarked']} nothing is marked;"
        " shown here, unless --seed says otherwise, is a usual one of the others."
        f" LF-MRI less fallback: {found['median_gain_db']:+.1f} dB in the median."
    )


def _phantom(path: Path, seed: int | None, steps: Steps) -> Path:
    from lfmri_node.recon.phantom.demo_scan import write_demo_scan

    steps.show("make phantom", 0, 1)
    if seed is None:
        seed = read_card(shipped_weights()).record["demonstration"]["typical_seed"]
    write_demo_scan(path, seed=seed)
    steps.show("make phantom", 1, 1)
    return path


def _require_input(source: Path, out: Path) -> None:
    if any(source.resolve().is_relative_to((out / name).resolve()) for name in _OURS):
        raise NodeError(
            "LF-CFG-015",
            "the input lies among what the demonstration removes",
            "copy it elsewhere, or name another folder by --out",
        )
    _names_a_patient(source)


def _clear(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in _OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass
class _Node:
    process: subprocess.Popen[str]
    folder: Path
    ready: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def copy_log(self) -> None:
        """Keep the node's log lines in a file; notice the one that says it is ready."""
        assert self.process.stderr is not None
        with self.process.stderr as lines, (self.folder / "serve.log").open("w", encoding="utf-8") as log:
            for line in lines:
                log.write(line)
                log.flush()
                if _READY in line:
                    self.port = int(line.split("port=")[1].split()[0])
                    self.ready.set()
        self.ready.set()

    def wait(self, steps: Steps) -> Sequence[Job]:
        """Follow the job table until every job is finished or in quarantine."""
        ledger = Ledger(Layout(root=self.folder / "data").job_table)
        while True:
            jobs = ledger.jobs()
            _show(jobs, ledger, steps)
            if jobs and all(job.finished_at or job.stage is Stage.QUARANTINED for job in jobs):
                ledger.close()
                return jobs
            self.alive()
            time.sleep(_POLL_S)

    def alive(self) -> None:
        """Raise LF-JOB-009 where the process has ended."""
        if self.process.poll() is not None:
            raise NodeError("LF-JOB-009", "the node stopped", f"see {self.folder / 'serve.log'}")


@contextmanager
def _running_node(folder: Path, store: DemoPacs, steps: Steps) -> Iterator[_Node]:
    steps.show("start node", 0, 1)
    folder.mkdir(parents=True)
    config = folder / "config.toml"
    config.write_text(CONFIG.format(destination=store.destination), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "lfmri_node.node.cli", "serve", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **store.environment},
    )
    node = _Node(process=process, folder=folder)
    reader = threading.Thread(target=node.copy_log, daemon=True)
    reader.start()
    try:
        node.ready.wait()
        node.alive()
        steps.show("start node", 1, 1)
        yield node
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        reader.join()


def _names_a_patient(source: Path) -> bool:
    with open_mrd(source, None) as measurement:
        return parse_header(measurement.xml).identity.patient_id is not None


def _send(source: Path, port: int, steps: Steps, identity: Path, *, phantom: bool) -> None:
    """The gateway command, as a gateway would run it; where the file names no patient, ``identity`` does."""
    steps.show("send from gateway", 0, 1)
    command = [
        sys.executable,
        "-m",
        "lfmri_node.node.cli",
        "send",
        str(source),
        "--to",
        f"LFMRI@127.0.0.1:{port}",
    ]
    if not _names_a_patient(source):
        now = datetime.now().astimezone()
        command += ["--identity", str(write_exam(identity, now, phantom=phantom))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeError("LF-DEL-021", "the gateway command failed", done.stderr.strip())
    steps.show("send from gateway", 1, 1)


def _show(jobs: Sequence[Job], ledger: Ledger, steps: Steps) -> None:
    for job in jobs:
        label = f" {job.contrast}.{job.repetition}" if len(jobs) > 1 else ""
        n_slices = job.summary.get("n_slices", 1)
        total = n_slices if isinstance(n_slices, int) else 1
        for stage in _STAGES:
            if job.reached(stage):
                n_parts = len(ledger.objects(job.key)) if stage in (Stage.ENCODED, Stage.SENT) else total
                steps.show(f"{stage}{label}", n_parts, n_parts)
            elif job.running is stage:
                steps.show(f"{stage}{label}", *(job.progress or (0, total)))
