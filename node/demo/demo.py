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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.demo.loopback import DemoPacs, open_pacs
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import ORDER, Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.terminal import Steps, console, print_table
from lfmri_node.recon.method.modelcard import read_card, shipped_weights
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.header import parse_header

_OURS = ("node", "pacs", "pictures", "phantom.h5", "phantom.truth.npz")
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
[retry]
base_s = 1
cap_s = 5
{destination}
"""


def run_demo(source: Path | None, out: Path, *, pacs: str, seed: int | None) -> bool:
    """Send one measurement through a node into a PACS; False where anything is missing.

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
        Of the phantom; None takes the one whose figures are the most usual, by the card of the weights.
    """
    begun = time.monotonic()
    out = out.absolute()
    _clear(out)
    with open_pacs(pacs, out / "pacs") as store:
        with Steps() as steps, _running_node(out / "node", store, steps) as node:
            measured = source or _phantom(out / "phantom.h5", seed, steps)
            _send(measured, node.port, steps)
            jobs = node.wait(steps)
        layout = Layout(root=out / "node" / "data")
        complete = _report(jobs, layout, measured, out, store, time.monotonic() - begun)
        if source is None:
            console().print(how_often(read_card(shipped_weights()).record["demonstration"]), markup=False)
        return complete


def how_often(found: Mapping[str, Any]) -> str:
    """What to expect of another seed, from what `lfmri-lab demo-study` wrote into the card."""
    return (
        f"Of {found['phantoms']} such phantoms (lfmri-lab demo-study) {found['trusted']} are TRUSTED;"
        f" {found['found']} of their {found['lesions']} slices with a lesion have a mark on it,"
        f" and {found['false_marks']} marks lie on none."
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


def _send(source: Path, port: int, steps: Steps) -> None:
    """The gateway command, as a gateway would run it."""
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
        command += ["--patient-id", "DEMO-0001", "--patient-name", "Demonstration^Phantom"]
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


def _report(
    jobs: Sequence[Job], layout: Layout, source: Path, out: Path, store: DemoPacs, seconds: float
) -> bool:
    """Check what arrived, print it; True where all of it did."""
    complete = True
    ledger = Ledger(layout.job_table)
    for job in jobs:
        if job.failure is not None or job.finished_at is None:
            failure = job.failure
            text = (
                f"{failure.code}: {failure.message} ({failure.hint})"
                if failure
                else f"stopped at {job.stage}"
            )
            console().print(f"job {job.name} failed: {text}", style="bold red", markup=False)
            complete = False
            continue
        objects = ledger.objects(job.key)
        wrong = store.differences(objects)
        complete = complete and bool(objects) and not wrong
        _print_delivery(job, objects, wrong, store)
        _print_times(ledger, job)
        _print_pictures(
            job, layout, source, out / "pictures" / job.name if len(jobs) > 1 else out / "pictures"
        )
    ledger.close()
    console().print(f"{'everything arrived' if complete else 'NOT COMPLETE'} after {seconds:.1f} s")
    console().print("Research use only. Not for diagnosis.", style="bold")
    return complete


def _print_delivery(
    job: Job, objects: Sequence[EncodedObject], wrong: Mapping[str, str], store: DemoPacs
) -> None:
    roles = list(dict.fromkeys(item.role for item in objects))
    rows = []
    for role in roles:
        uids = [item.sop_instance_uid for item in objects if item.role == role]
        bad = [wrong[uid] for uid in uids if uid in wrong]
        rows.append(
            (role, len(uids), len(uids) - len(bad), ", ".join(sorted(set(bad))) or "equal to what was sent")
        )
    title = f"job {job.name}, stage {job.stage}: objects in {store.title}"
    print_table(title, ("role", "sent", "held", "check"), rows, right=("sent", "held"))


def _print_times(ledger: Ledger, job: Job) -> None:
    keys = [job.parent, job.key] if job.parent else [job.key]
    timings = [timing for key in keys for timing in ledger.timings(key) if timing.seconds is not None]
    timings.sort(key=lambda timing: ORDER.index(timing.stage))
    rows = [(timing.stage.value, f"{timing.seconds:.2f}") for timing in timings]
    print_table("time", ("stage", "seconds"), rows, right=("seconds",))


def _print_pictures(job: Job, layout: Layout, source: Path, out: Path) -> None:
    from lfmri_node.node.offline.pictures import captions_of, write_pictures
    from lfmri_node.node.offline.reconstruct import find_truth, quality_against
    from lfmri_node.node.offline.view import lesion_rows, print_quality
    from lfmri_node.node.worker.task import RECONSTRUCTION
    from lfmri_node.recon.archive import load_reconstruction

    reconstruction = load_reconstruction(layout.work(job.key) / RECONSTRUCTION)
    truth = find_truth(source, job.contrast or 0)
    quality = quality_against(reconstruction, truth)
    print_table(
        "quality",
        ("", ""),
        [
            ("verdict", job.summary["verdict"]),
            ("acceleration", job.summary["acceleration"]),
            ("data residual", job.summary["data_residual"]),
            *lesion_rows(job.summary),
            *((f"reason {r.code}", r.message) for r in reconstruction.quality.reasons),
        ],
    )
    if quality:
        print_quality(quality)
    for path in write_pictures(reconstruction, truth, out, captions=captions_of(quality)):
        console().print(f"picture {path}", markup=False)
