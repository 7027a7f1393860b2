"""One live node for each data directory; a dead holder frees it, and asking never stands in the way."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lfmri_node.node.errors import JobError
from lfmri_node.node.lock import DataLock, holder

HOLD = (
    "import sys, pathlib; from lfmri_node.node.lock import DataLock;"
    "lock = DataLock(pathlib.Path(sys.argv[1])); lock.__enter__();"
    "print('held', flush=True); sys.stdin.read()"
)


def holding(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_turned_away_and_told_who_holds_it(tmp_path: Path) -> None:
    process = holding(tmp_path)
    with pytest.raises(JobError) as caught, DataLock(tmp_path):
        pass
    assert caught.value.code == "LF-JOB-002"
    assert str(process.pid) in caught.value.message
    assert holder(tmp_path) == process.pid
    process.kill()
    process.wait()
    assert holder(tmp_path) is None
    with DataLock(tmp_path):
        pass


def test_the_holder_is_seen_also_from_its_own_process_and_asking_does_not_free_the_lock(
    tmp_path: Path,
) -> None:
    assert holder(tmp_path) is None
    with DataLock(tmp_path):
        assert holder(tmp_path) is not None
        with pytest.raises(JobError), DataLock(tmp_path):
            pass
        assert holder(tmp_path) is not None
    assert holder(tmp_path) is None


def test_those_who_ask_all_the_time_do_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    """`status` at the instant of a start."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            holder(tmp_path)

    with DataLock(tmp_path):
        pass
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(300):
            with DataLock(tmp_path):
                pass
    finally:
        stop.set()
        for thread in asking:
            thread.join()
