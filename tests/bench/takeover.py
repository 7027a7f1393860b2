"""How long a scan of a worker that was killed waits for another: at the defaults, in the middle of a stage.

No rival and no limit: the figure says what an operator may expect. Several times, since heartbeats and looks
go on in their own rhythm.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

import psutil
from report import Report
from workers import CONFIG, PASSWORD, running_cluster, scan, started

from lfmri_node.node.gateway.send import Address, send_file
from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger

N_KILLS = 3


def measure(report: Report) -> None:
    """One scan a kill; a worker that was killed is started again under its name."""
    if not shutil.which("initdb") and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        report.skip("takeover", "postgresql is not installed")
        return
    with running_cluster(lambda name: Path(str(shutil.which(name)))) as cluster, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = cluster.database("takeover")
        (folder / "password").write_text(PASSWORD)
        (folder / "config.toml").write_text(CONFIG.format(url=url))
        table = PostgresTable(url=cluster.url("takeover", password=PASSWORD), root=folder / "data")
        port = int(stack.enter_context(started(folder, "node")).split("port=")[1].split()[0])
        for name in ("w0", "w1"):
            stack.enter_context(started(folder, name))
        waits = []
        for n in range(N_KILLS):
            path, given = scan(folder, 1, f"bench-{n}"), {"PatientID": "BENCH"}
            address = Address(ae_title="LFMRI", host="127.0.0.1", port=port)
            send_file(path, address, calling_ae="GATEWAY", given=given, show=lambda *_: None)
            waits.append(_killed(table, n + 1))
            print(f"  {waits[-1]:.1f} s", flush=True)
            if n + 1 < N_KILLS:
                stack.enter_context(started(folder, _missing(table)))
    name = f"scan of a killed worker waits for another, longest of {N_KILLS}"
    report.add(name, max(waits), "s", "shortest", min(waits))


def _killed(table: PostgresTable, n_scans: int) -> float:
    """Kill whoever reconstructs; seconds until another begins this stage."""
    job = _wait(table, lambda jobs: next((j for j in jobs if j.running is Stage.RECONSTRUCTED), None))
    with closing(Ledger(table)) as ledger:
        (worker,) = [member for member in ledger.members() if member.job == job.key]
    at = datetime.now(UTC)
    psutil.Process(worker.process).kill()
    _wait(table, lambda jobs: jobs[-1] if len(jobs) == n_scans and all(j.finished_at for j in jobs) else None)
    with closing(Ledger(table)) as ledger:
        tries = [t for t in ledger.timings(job.key) if t.stage is Stage.RECONSTRUCTED]
    _, second = tries
    return (second.begun_at - at).total_seconds()


def _wait(table: PostgresTable, found: Callable[[list[Job]], Job | None]) -> Job:
    """The first job that is as wanted."""
    while True:
        with closing(Ledger(table)) as ledger:
            jobs = [job for job in ledger.jobs() if not job.is_measurement]
        if (job := found(jobs)) is not None:
            return job
        sleep(0.05)


def _missing(table: PostgresTable) -> str:
    """The worker that was killed, by its name."""
    with closing(Ledger(table)) as ledger:
        (name,) = {"w0", "w1"} - {member.name for member in ledger.members()}
    return name
