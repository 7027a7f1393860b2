"""Several workers on one PostgreSQL: a dead one's jobs are taken over, a frozen one that wakes is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD, Cluster

from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.records import Member, Timing
from lfmri_node.node.worker.task import CALIBRATION

GATED = Path(__file__).parents[1] / "gated.py"
VARIABLE = "LFMRI_TEST_QUEUE_PASSWORD"
COMPUTED = [Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED]


@dataclass
class Site:
    """A node on PostgreSQL and workers beside it."""

    node: object
    table: PostgresTable
    workers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start_worker(self, name: str) -> subprocess.Popen[str]:
        """Start one and wait until it is at work."""
        return self.wait_ready(self.launch_worker(name))

    def launch_worker(self, name: str) -> subprocess.Popen[str]:
        """Start one."""
        command = [sys.executable, str(GATED), str(self.node.config), str(self.node.holds)]
        process = subprocess.Popen([*command, "light", name], stderr=subprocess.PIPE, text=True)
        self.workers[name] = process
        return process

    @staticmethod
    def wait_ready(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Wait until a worker is at work."""
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if " worker.ready " in line:
                threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True).start()
                return process
        raise AssertionError("".join(lines))

    def ask(self, question: Callable[[Ledger], object]) -> object:
        with closing(Ledger(self.table)) as ledger:
            return question(ledger)

    def jobs(self) -> list[Job]:
        return self.ask(lambda ledger: ledger.jobs())

    def members(self) -> dict[str, Member]:
        return {member.name: member for member in self.ask(lambda ledger: ledger.members())}

    def timings(self, job: Job) -> list[Timing]:
        return self.ask(lambda ledger: ledger.timings(job.key))

    def wait_for(self, wanted: Callable[[], object]) -> None:
        """Look until it is as wanted; pytest's timeout ends a vain wait."""
        pause = threading.Event()
        while not wanted():
            assert self.node.process.poll() is None, "".join(self.node.lines)
            pause.wait(0.05)

    def wait_finished(self, n_jobs: int = 1) -> list[Job]:
        def finished() -> bool:
            jobs = self.jobs()
            return len(jobs) == n_jobs and all(job.finished_at and not job.is_measurement for job in jobs)

        self.wait_for(finished)
        return self.jobs()


@pytest.fixture
def site(node, postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Configured, not started; a worker is dead after 3 s."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    url = postgres.database(tmp_path.name)
    table = PostgresTable(url=postgres.url(tmp_path.name, password=PASSWORD), root=node.layout.root)
    made = Site(node=node, table=table)
    node.extra = f'[queue]\nurl = "{url}"\npassword_env = "{VARIABLE}"\ndead_after_s = 3\n'
    node.configure()
    yield made
    for process in made.workers.values():
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def only_workers_compute(site: Site) -> None:
    site.node.configure(site.node.extra + "compute = false\n")


def test_a_node_on_postgresql_does_all_that_it_does_on_sqlite(site: Site, pacs, make_scan) -> None:
    """Alone, with kill -9 in between."""
    hold = site.node.hold("reconstruct.after")
    site.node.start()
    site.node.send(make_scan())
    hold.wait()
    site.node.kill()
    hold.remove()
    site.node.start()
    (job,) = site.wait_finished()
    assert [timing.outcome for timing in site.timings(job) if timing.stage is Stage.RECONSTRUCTED] == [
        "cut off",
        "done",
    ]
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3
    assert not site.node.layout.job_table.exists()
    assert not site.node.layout.workflows.exists()
    assert site.node.stop() == 0
    assert site.members() == {}


def test_all_may_begin_at_once_on_an_empty_database(site: Site, pacs, make_scan) -> None:
    """As after a power cut, or at the first start of a whole site."""
    only_workers_compute(site)
    begun = [site.launch_worker(f"w{n}") for n in range(1, 4)]
    site.node.start()
    for process in begun:
        site.wait_ready(process)
    assert set(site.members()) == {"node", "w1", "w2", "w3"}
    site.node.send(make_scan())
    site.wait_finished()


def test_the_jobs_of_a_killed_worker_go_on_with_another(site: Site, pacs, make_scan) -> None:
    only_workers_compute(site)
    hold = site.node.hold("reconstruct.before")
    site.node.start()
    first = site.start_worker("w1")
    site.node.send(make_scan())
    hold.wait()
    (job,) = site.jobs()
    assert site.members()["w1"].job == job.key
    first.kill()
    first.wait()
    hold.remove()
    site.start_worker("w2")
    (job,) = site.wait_finished()
    trails = {path.parent.name: path.read_text() for path in site.node.layout.audit.glob("*/audit-*.jsonl")}
    assert {name: text.count("Application Start") for name, text in trails.items()} == {"w1": 1, "w2": 1}
    outcomes = [timing.outcome for timing in site.timings(job) if timing.stage is Stage.RECONSTRUCTED]
    assert outcomes == ["cut off", "done"]
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3
    assert set(site.members()) == {"node", "w2"}


def test_a_frozen_worker_that_wakes_records_nothing_and_overwrites_nothing(
    site: Site, pacs, make_scan
) -> None:
    """Its own child was not frozen, and ends the stage in the meantime."""
    only_workers_compute(site)
    site.node.config.write_text(
        site.node.config.read_text().replace("[node]", "[node]\nkeep_reconstructions = true")
    )
    hold = site.node.hold("calibrate.before")
    site.node.start()
    frozen = site.start_worker("w1")
    site.node.send(make_scan())
    hold.wait()
    os.kill(frozen.pid, signal.SIGSTOP)
    hold.reached.unlink()  # nobody else stops there
    site.start_worker("w2")
    (job,) = site.wait_finished()
    assert set(site.members()) == {"node", "w2"}
    before = {path: path.stat().st_ino for path in results(site)}
    with hold.go_on.open("wb") as go_on:
        go_on.write(b"go")
    os.kill(frozen.pid, signal.SIGCONT)
    assert frozen.wait() == 1
    tries = [timing for timing in site.timings(job) if timing.stage in COMPUTED]
    assert [timing.outcome for timing in tries] == ["cut off", "done", "done", "done"]
    assert {path: path.stat().st_ino for path in results(site)} == before
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3
    assert site.jobs() == [job]


def results(site: Site) -> list[Path]:
    root = site.node.layout.root
    found = [*root.glob(f"work/*/{CALIBRATION}"), *root.glob("work/*/*/*"), *root.glob("objects/*/*")]
    assert len(found) > 5
    return found


def test_postgresql_restarts_while_jobs_run(site: Site, postgres: Cluster, pacs, make_scan) -> None:
    hold = site.node.hold("reconstruct.before")
    site.node.start()
    site.start_worker("w1")
    site.node.send(make_scan("one.h5"))
    hold.wait()
    postgres.stop(signal.SIGQUIT)
    hold.remove_and_release()
    site.node.wait_line("LF-JOB-017")
    try:
        with pytest.raises(NodeError) as caught:
            site.node.send(make_scan("two.h5", seed=1))
        assert "0xA700" in str(caught.value)  # the sender keeps it
    finally:
        postgres.start()
    site.node.send(make_scan("two.h5", seed=1))
    jobs = site.wait_finished(2)
    assert set(site.members()) == {"node", "w1"}
    assert {job.stage for job in jobs} == {Stage.SENT}
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 6


def test_postgresql_that_is_away_at_the_start_is_named(site: Site, postgres: Cluster) -> None:
    postgres.stop()
    try:
        site.node.launch_command()
        assert site.node.stop_waiting() == 1
    finally:
        postgres.start()
    text = "".join(site.node.lines)
    assert "LF-JOB-070" in text
    assert PASSWORD not in text


def test_a_worker_needs_a_name_of_its_own(site: Site) -> None:
    site.node.start()
    site.start_worker("w1")
    for name, code in (("w1", "LF-JOB-072"), ("node", "LF-JOB-072")):
        command = [sys.executable, "-m", "lfmri_node.node.cli", "worker", "--name", name]
        done = subprocess.run(
            [*command, "--config", str(site.node.config)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, code in done.stderr) == (1, True), done.stderr
    assert set(site.members()) == {"node", "w1"}


def test_a_worker_needs_jobs_that_can_be_shared(node) -> None:
    command = [sys.executable, "-m", "lfmri_node.node.cli", "worker", "--name", "w1"]
    done = subprocess.run(
        [*command, "--config", str(node.config)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "LF-JOB-073" in done.stderr) == (1, True), done.stderr
