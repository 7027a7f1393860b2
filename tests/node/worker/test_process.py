"""The worker: one child that answers line by line, is replaced when it dies, and leaves with its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from lfmri_node.node.config import Config
from lfmri_node.node.errors import StageFailed, WorkerDied
from lfmri_node.node.worker.process import TimeLimit, WorkerProcess
from lfmri_node.node.working import worker_command
from lfmri_node.recon.settings import Precision

CHILD = """
import json, os, signal, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    name, task = request["operation"], request["task"]
    def say(**answer): print(json.dumps({"id": request["id"], **answer}), flush=True)
    if name == "echo":
        say(progress=[1, 2]); say(progress=[2, 2]); say(result={"process": os.getpid(), **task})
    elif name == "refuse":
        say(error={"code": "LF-X-001", "message": "m", "hint": "h", "refused": True, "transient": False})
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "hang":
        time.sleep(3600)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[WorkerProcess]:
    with WorkerProcess([sys.executable, "-c", CHILD], log=tmp_path / "logs" / "worker.log") as worker:
        yield worker


def test_answers_with_progress_from_one_long_lived_process(child: WorkerProcess) -> None:
    seen: list[tuple[int, int]] = []
    first = child.call("echo", {"n": 1}, limit_s=60, progress=lambda *parts: seen.append(parts))
    second = child.call("echo", {"n": 2}, limit_s=60)
    assert seen == [(1, 2), (2, 2)]
    assert (first["n"], second["n"]) == (1, 2)
    assert first["process"] == second["process"]


def test_an_error_answer_keeps_code_and_kind(child: WorkerProcess) -> None:
    with pytest.raises(StageFailed) as caught:
        child.call("refuse", {}, limit_s=60)
    assert (caught.value.code, caught.value.refused, caught.value.transient) == ("LF-X-001", True, False)


def test_the_log_says_in_what_precision_the_shipped_weights_compute(tmp_path, caplog) -> None:
    caplog.set_level("INFO", "lfmri_node")
    command = worker_command(Config())
    with WorkerProcess(command, log=tmp_path / "logs" / "worker.log") as worker:
        worker.get_ready()
        worker.get_ready()
    (said,) = [record.fields["what"] for record in caplog.records if record.msg == "worker.precision"]
    used, _, why = said.partition(", ")
    assert used in set(Precision) - {Precision.AUTO}
    assert why


def test_a_dead_worker_is_an_error_and_then_replaced(child: WorkerProcess) -> None:
    before = child.call("echo", {}, limit_s=60)["process"]
    with pytest.raises(WorkerDied) as caught:
        child.call("die", {}, limit_s=60)
    assert caught.value.code == "LF-JOB-011"
    assert "signal 9" in caught.value.message
    assert child.call("echo", {}, limit_s=60)["process"] != before


def test_a_worker_killed_between_requests_is_replaced(child: WorkerProcess) -> None:
    process = child.call("echo", {}, limit_s=60)["process"]
    os.kill(process, signal.SIGKILL)
    psutil.Process(process).wait()
    assert child.call("echo", {}, limit_s=60)["process"] != process


def test_a_request_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with WorkerProcess([sys.executable, "-c", CHILD], log=tmp_path / "log") as worker:
        with pytest.raises(WorkerDied) as caught:
            worker.call("hang", {}, limit_s=0.2)
        assert caught.value.code == "LF-JOB-012"


def test_a_worker_that_cannot_start_is_no_job_s_fault(tmp_path: Path) -> None:
    """Its imports fail, or the system kills it in them: another code than a death in a stage."""
    program = [sys.executable, "-c", "import sys; sys.exit(3)"]
    with WorkerProcess(program, log=tmp_path / "log") as worker:
        for _ in range(2):
            with pytest.raises(WorkerDied) as caught:
                worker.get_ready()
            assert caught.value.code == "LF-JOB-019"
            assert "exit status 3" in caught.value.message


def test_a_stopped_worker_is_not_started_again(tmp_path: Path) -> None:
    worker = WorkerProcess([sys.executable, "-c", CHILD], log=tmp_path / "log")
    worker.get_ready()
    worker.stop()
    with pytest.raises(WorkerDied):
        worker.call("echo", {}, limit_s=60)


def test_the_time_limit_follows_the_scan() -> None:
    limit = TimeLimit(stage_s=300.0, slice_s=30.0)
    assert limit.of({}) == 300.0
    assert limit.of({"n_slices": 36}) == 1380.0


def test_the_time_limit_learns_from_scans_that_went_well() -> None:
    """Ten times the slowest of them, by what there is to compute; within the configured bounds."""
    limit = TimeLimit(stage_s=300.0, slice_s=30.0)
    scan = {"n_slices": 200, "n_coils": 10, "n_pixels": 50_000}
    paces = [1e-7, 2e-7, 4e-7, 1e-7, 1e-7]
    assert limit.of(scan, paces) == pytest.approx(400.0)
    assert limit.of(scan, paces[:4]) == 6300.0  # not enough to go by
    assert limit.of(scan, [*paces, 1e-3]) == 6300.0
    assert limit.of({**scan, "n_slices": 2}, paces) == 300.0
    assert limit.of({"n_slices": 200}, paces) == 6300.0  # of an earlier version: size unknown


REAL = [sys.executable, "-m", "lfmri_node.node.worker.main", "0", "1", "cpu", "auto"]


def test_the_real_worker_leaves_when_its_parent_is_killed() -> None:
    """The pipe's other end closes with the parent, however it ends."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            f"child = subprocess.Popen({REAL!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(3600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=60)


def task_in(tmp_path: Path) -> dict[str, object]:
    return {
        "sources": [str(tmp_path / "absent.dcm")],
        "source_sha256": "0" * 64,
        "contrast": 0,
        "repetition": 0,
        "recipe": {
            "recon": {
                "method": "zero-filled",
                "lesion": "off",
                "fallback": "cg-sense",
                "always_fallback": False,
                "n_virtual_coils": None,
            },
            "reader": {},
            "objects": {},
            "weights": None,
            "weights_sha256": "",
            "software_version": "0",
        },
        "work": str(tmp_path / "work"),
        "objects": str(tmp_path / "objects"),
        "created_at": "2026-01-01T00:00:00+00:00",
        "epoch": 1,
        "identity": None,
    }


BIG = {
    "bytes": "len(bytearray(2 * 2**30))",
    "numpy": "np.ones(2**28).nbytes",
    "torch": "torch.ones(2**29).nbytes",
    "mmap": "len(mmap.mmap(-1, 2 * 2**30, flags=mmap.MAP_PRIVATE))",
}


@pytest.mark.parametrize("allocation", BIG.values(), ids=BIG)
def test_memory_beyond_the_limit_is_an_answer_and_the_worker_lives_on(
    tmp_path: Path, allocation: str
) -> None:
    """Every allocator that a stage uses fails in its own way."""
    program = (
        "import mmap, sys, numpy as np, torch; from lfmri_node.node.worker import main as worker\n"
        "answers = worker.own_stdout(); worker.limit_memory(1.0)\n"
        "worker.serve(sys.stdin, answers, {\n"
        f"  'big': lambda task, progress: {{'n': {allocation}}},\n"
        "  'small': lambda task, progress: {'n': torch.ones(2**19).nbytes}})"
    )
    log = tmp_path / "worker.log"
    with WorkerProcess([sys.executable, "-c", program], log=log) as worker:
        with pytest.raises(StageFailed) as caught:
            worker.call("big", task_in(tmp_path), limit_s=60)
        assert caught.value.code == "LF-JOB-013"
        assert not caught.value.transient
        assert worker.call("small", task_in(tmp_path), limit_s=60) == {"n": 2 * 2**20}


def test_the_real_worker_answers_errors_without_a_traceback(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    task = task_in(tmp_path)
    with WorkerProcess(REAL, log=log) as worker:
        with pytest.raises(StageFailed) as caught:
            worker.call("decode", task, limit_s=60)
        assert caught.value.code == "LF-JOB-018"
        (tmp_path / "absent.dcm").write_bytes(b"no dicom at all")
        with pytest.raises(StageFailed) as caught:
            worker.call("decode", task, limit_s=60)
        assert caught.value.code == "LF-PAY-001"
    assert log.read_text() == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_insisted_on_and_not_there_is_no_fault_of_the_job(tmp_path: Path) -> None:
    with (
        WorkerProcess([*REAL[:-2], "cuda", "auto"], log=tmp_path / "worker.log") as worker,
        pytest.raises(StageFailed) as caught,
    ):
        worker.call("reconstruct", task_in(tmp_path), limit_s=60)
    assert (caught.value.code, caught.value.transient) == ("LF-DEV-001", True)


def test_a_defect_in_the_worker_is_reported_without_texts(tmp_path: Path) -> None:
    """An exception that nobody expects ends the worker; its text may quote patient data."""
    log = tmp_path / "worker.log"
    with WorkerProcess(REAL, log=log) as worker, pytest.raises(WorkerDied):
        worker.call("decode", {"sources": "SENTINEL"}, limit_s=60)
    line = log.read_text()
    assert "critical crash error=" in line
    assert "SENTINEL" not in line
