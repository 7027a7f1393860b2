"""What fails around the node: the PACS, the worker, the disk, the operator's patience."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from lfmri_node.node.config import load
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.retry import retry_all, retry_job
from lfmri_node.recon.mrd.file import sha256_of

ALL = [Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT]


def spool_files(node) -> list[Path]:
    return [path for path in node.layout.spool.rglob("*") if path.is_file()]


def test_pacs_down_then_up_delivers_without_a_second_reconstruction(node, pacs, make_scan) -> None:
    """Also across a kill of the node while the PACS is away."""
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan())

    def twice_in_vain(jobs) -> bool:
        return len(jobs) == 1 and jobs[0].stage is Stage.ENCODED and jobs[0].attempts >= 2

    (job,) = node.wait_for(lambda jobs: twice_in_vain(jobs) and jobs[0].failure is not None)
    assert job.failure.code == "LF-DEL-001"
    assert job.failure.transient
    assert job.finished_at is None
    node.kill()
    node.start()
    node.wait_for(lambda jobs: jobs[0].attempts >= job.attempts + 1)
    with pacs:
        (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert job.failure is None
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


def test_a_pacs_that_is_short_of_space_gets_only_what_it_misses(node, pacs, make_scan) -> None:
    refused: list[str] = []

    def answer(uid: str) -> int:
        if len(pacs.instances()) == 2 and not refused:
            refused.append(uid)
            return 0xA700
        return 0x0000

    pacs.before_answer = answer
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    stores = {item.sop_instance_uid: item.stores for item in pacs.instances()}
    assert sorted(stores.values()) == [1, 1, 2]
    assert stores[refused[0]] == 2
    tries = {s.receipt.sop_instance_uid: s.tries for s in Ledger(node.layout.job_table).receipts(job.key)}
    assert tries == stores


def test_a_final_refusal_is_quarantined_and_retry_sends_the_rest(node, pacs, make_scan) -> None:
    pacs.before_answer = lambda _uid: 0xC000 if len(pacs.instances()) == 3 else 0x0000
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    assert job.failure.code == "LF-DEL-002"
    assert "0xC000" in job.failure.message
    pacs.before_answer = lambda _uid: 0x0000
    assert retry_all(load(node.config)).names == (job.name,)
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert sorted(item.stores for item in pacs.instances()) == [1, 1, 2]


def test_a_killed_worker_is_replaced_and_the_stage_done_again(node, make_scan) -> None:
    hold = node.hold("reconstruct.before")
    node.start()
    node.send(make_scan())
    hold.wait()
    (worker,) = node.workers()
    hold.remove()
    os.kill(worker, signal.SIGKILL)
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    ledger = Ledger(node.layout.job_table)
    tries = [t.outcome for t in ledger.timings(job.key) if t.stage is Stage.RECONSTRUCTED]
    assert tries == ["LF-JOB-011", "done"]
    assert node.workers() != [worker]


def test_a_bad_scan_is_quarantined_and_does_not_stop_the_others(node, pacs, make_scan) -> None:
    bad, good = make_scan("bad.h5", seed=1), make_scan("good.h5", seed=2)
    node.holds.mkdir(exist_ok=True)
    trap = node.holds / "reconstruct.dies"
    trap.write_text(sha256_of(bad))
    node.start()
    node.send(bad)
    node.send(good)
    jobs = node.wait_for(
        lambda jobs: len(jobs) == 2 and all(job.finished_at or job.stage is Stage.QUARANTINED for job in jobs)
    )
    stages = {job.source_sha256: job.stage for job in jobs}
    assert stages == {sha256_of(bad): Stage.QUARANTINED, sha256_of(good): Stage.SENT}
    (held,) = (job for job in jobs if job.failure)
    assert held.failure.code == "LF-JOB-015"
    assert held.resume is Stage.CALIBRATED
    tries = [t.outcome for t in Ledger(node.layout.job_table).timings(held.key)]
    assert tries == ["done", "LF-JOB-011", "LF-JOB-011", "LF-JOB-011"]
    trap.unlink()
    retry_job(load(node.config), held.name)
    node.wait_finished(2)
    assert len(pacs.instances()) == 6


def test_a_scan_that_hangs_is_stopped_and_the_others_go_first(node, pacs, make_scan) -> None:
    """It has the worker for as long as its number of slices allows, then it waits behind the others."""
    bad, good = make_scan("bad.h5", seed=1, n_slices=1), make_scan("good.h5", seed=2)
    limits = "[recon]\nstage_limit_s = 10\nslice_limit_s = 5\nmax_crashes = 2"
    node.config.write_text(node.config.read_text().replace("[recon]", limits))
    node.holds.mkdir(exist_ok=True)
    (node.holds / "calibrate.hangs").write_text(sha256_of(bad))
    node.start()
    node.send(bad)
    node.wait_for(lambda jobs: any(job.running is Stage.CALIBRATED for job in jobs))
    node.send(good)
    found = node.wait_for(
        lambda jobs: len(jobs) == 2 and all(job.finished_at or not job.is_open for job in jobs)
    )
    jobs = {job.source_sha256: job for job in found}
    held = jobs[sha256_of(bad)]
    assert held.failure.code == "LF-JOB-015"
    assert jobs[sha256_of(good)].stage is Stage.SENT
    ledger = Ledger(node.layout.job_table)
    tries = ledger.timings(held.key)
    assert [t.outcome for t in tries] == ["LF-JOB-012"] * 2
    (last,) = [t for t in ledger.timings(jobs[sha256_of(good)].key) if t.stage is Stage.ENCODED]
    assert tries[1].begun_at > last.begun_at  # all of the other one went first


def test_a_clock_set_back_makes_nothing_wait(node, pacs, make_scan) -> None:
    """Neither while the node runs nor across a restart: waits follow the monotonic clock."""
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan(n_slices=1))
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None)
    node.holds.mkdir(exist_ok=True)
    (node.holds / "clock").write_text("-7200")
    tries = job.attempts
    (job,) = node.wait_for(lambda jobs: jobs[0].attempts > tries + 1)
    node.kill()
    (node.holds / "clock").write_text("-86400")
    node.start()
    with pacs:
        node.wait_finished()


def test_a_killed_node_never_counts_against_the_scan_it_worked_on(node, make_scan) -> None:
    """More kills at one place than max_crashes allows a worker to end there."""
    hold = node.hold("calibrate.before")
    node.start()
    node.send(make_scan(n_slices=1))
    for _ in range(3):
        hold.wait()
        node.kill()
        node.start()
    hold.wait()
    hold.remove_and_release()
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT


def test_sigterm_lets_the_stage_end_and_the_next_start_goes_on(node, make_scan) -> None:
    hold = node.hold("reconstruct.before")
    node.start()
    node.send(make_scan())
    hold.wait()
    node.process.send_signal(signal.SIGTERM)
    node.wait_line(" service.draining")
    hold.remove_and_release()
    assert node.stop_waiting() == 0
    (job,) = node.jobs()
    assert (job.stage, job.running) == (Stage.RECONSTRUCTED, None)
    node.start()
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL


def test_a_stage_that_outlasts_the_grace_time_is_given_back(node, make_scan) -> None:
    """A second signal cuts the grace time short; the attempt does not count against the job."""
    hold = node.hold("calibrate.before")
    node.start()
    node.send(make_scan())
    hold.wait()
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGINT)
    assert node.stop() == 0
    hold.remove()
    (job,) = node.jobs()
    assert (job.stage, job.attempts, job.running) == (Stage.DECODED, 0, None)
    node.start()
    (job,) = node.wait_finished()
    ledger = Ledger(node.layout.job_table)
    assert [t.outcome for t in ledger.timings(job.key)] == ["drained", *["done"] * 4]


@pytest.mark.parametrize("name", ["node-1", "another"])
def test_a_second_node_on_the_same_data_directory_is_refused(node, name: str) -> None:
    """Whatever it calls itself."""
    node.start()
    other = node.folder / "other.toml"
    other.write_text(node.config.read_text().replace("[node]", f'[node]\nexecutor_id = "{name}"'))
    command = [sys.executable, "-m", "lfmri_node.node.cli", "serve", "--config", str(other)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "LF-JOB-002" in second.stderr
    assert str(node.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_too_little_free_space_is_answered_a700_and_nothing_is_kept(node, pacs, make_scan) -> None:
    scan = make_scan()
    node.config.write_text(node.config.read_text().replace("floor_gb = 0", "floor_gb = 1000000"))
    node.start()
    with pytest.raises(NodeError) as caught:
        node.send(scan)
    assert "0xA700" in caught.value.message
    assert node.jobs() == []
    assert spool_files(node) == []
    node.stop()
    node.configure()
    node.start()
    node.send(scan)
    node.wait_finished()
    assert len(pacs.instances()) == 3


@pytest.fixture
def small_disk(node) -> Path:
    """A file system of 24 MB under the node's data directory; needs the right to mount."""
    node.layout.root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(node.layout.root)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    yield node.layout.root
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait()
    psutil.wait_procs([psutil.Process(pid) for pid in psutil.pids() if _uses(pid, node.layout.root)])
    subprocess.run(["umount", "--lazy", str(node.layout.root)], check=True)


def _uses(pid: int, folder: Path) -> bool:
    try:
        return any(str(folder) in item for item in psutil.Process(pid).cmdline()) and pid != os.getpid()
    except psutil.Error:
        return False


def fill(folder: Path, *, but_bytes: int = 0) -> Path:
    """A file that takes all the room of a file system."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(max(shutil.disk_usage(folder).free - but_bytes, 0)))
    return ballast


def test_a_disk_that_fills_up_in_a_stage_stops_nothing_for_good(
    node, pacs, make_scan, small_disk: Path
) -> None:
    """Neither result nor row can be written; when there is room again the job goes on by itself."""
    hold = node.hold("reconstruct.before")
    node.start()
    node.send(make_scan())
    hold.wait()
    ballast = fill(small_disk)
    hold.remove_and_release()
    node.wait_line(" engine.unavailable ")
    assert node.process.poll() is None
    ballast.unlink()
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3
    node.stop()
    assert "Traceback" not in "".join(node.lines)


def test_a_full_disk_refuses_the_scan_and_loses_nothing(node, pacs, make_scan, small_disk: Path) -> None:
    """The scan is larger than all that the node may set free meanwhile, the journals of its databases."""
    first, second = make_scan("a.h5", seed=1), make_scan("b.h5", seed=2, size=192)
    node.start()
    node.send(first)
    node.wait_finished()
    kept = sorted(spool_files(node))
    ballast = fill(small_disk, but_bytes=100_000)
    with pytest.raises(NodeError) as caught:
        node.send(second)
    assert "0xA700" in caught.value.message
    assert sorted(spool_files(node)) == kept
    ballast.unlink()
    node.send(second)
    node.wait_finished(2)
    assert len(pacs.instances()) == 6


def test_pacs_that_never_answers_does_not_keep_others_waiting(node, pacs, make_scan) -> None:
    """Two destinations, one of them down: the other has its objects all the same."""
    away = (
        "[[destinations]]\nkind = 'dicom'\nname = 'away'\nhost = '127.0.0.1'\nport = 1\nae_title = 'AWAY'\n"
    )
    node.configure()
    node.config.write_text(away + node.config.read_text())
    node.start()
    node.send(make_scan())
    ledger = Ledger(node.layout.job_table)

    def one_of_two(jobs) -> bool:
        if len(jobs) != 1 or jobs[0].failure is None or len(pacs.instances()) < 3:
            return False
        return ledger.missing(jobs[0].key, "pacs") == []

    (job,) = node.wait_for(one_of_two)
    assert "'away'" in job.failure.message
    assert job.stage is Stage.ENCODED


def test_a_start_on_a_full_disk_ends_with_a_code(node, small_disk: Path) -> None:
    fill(small_disk)
    node.launch_command()
    assert node.stop_waiting() == 1
    text = "".join(node.lines)
    assert "LF-JOB-041" in text or "LF-CFG-010" in text
    assert "Traceback" not in text
    (small_disk / "ballast").unlink()
    node.start()


def test_two_threads_cannot_hold_one_worker(node, pacs, make_scan) -> None:
    """Several gateways at once: every measurement becomes one job, none is lost."""
    scans = [make_scan(f"{n}.h5", seed=n) for n in range(3)]
    node.start()
    senders = [threading.Thread(target=node.send, args=(scan,)) for scan in (*scans, *scans)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    jobs = node.wait_finished(3)
    assert {job.source_sha256 for job in jobs} == {sha256_of(scan) for scan in scans}
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 9
