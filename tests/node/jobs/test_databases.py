"""A database lost, emptied, locked, restored or damaged: acknowledged scans go on, or the start says why."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lfmri_node.node.jobs.job import Stage

ALL = [Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT]


def removed(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def emptied(path: Path) -> None:
    removed(path)
    path.touch()


def waits_for_the_pacs(node, pacs, make_scan) -> None:
    """A node that was killed while an encoded scan waited for a PACS that is down."""
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan())
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.ENCODED and jobs[0].failure)
    node.kill()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program has the whole file to itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.parametrize("lost", [removed, emptied])
def test_the_job_table_is_lost_while_a_scan_waits(node, pacs, make_scan, lost: Callable) -> None:
    """The spool makes it anew; the engine still has workflows of the same ids, some of them ended."""
    waits_for_the_pacs(node, pacs, make_scan)
    lost(node.layout.job_table)
    with pacs:
        node.start()
        (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


def test_the_job_table_is_lost_after_delivery(node, pacs, make_scan) -> None:
    """Nobody knows any more that it was delivered: the same bytes go out again, under the same UIDs."""
    node.start()
    node.send(make_scan())
    node.wait_finished()
    node.stop()
    removed(node.layout.job_table)
    node.start()
    node.wait_finished()
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(2, 0)] * 3
    node.send(make_scan("other.h5", seed=1))
    node.wait_finished(2)


@pytest.mark.parametrize("lost", [removed, emptied])
def test_the_engine_s_database_is_lost_while_a_scan_waits(node, pacs, make_scan, lost: Callable) -> None:
    """The job goes on at its last stage; nothing is computed again."""
    waits_for_the_pacs(node, pacs, make_scan)
    lost(node.layout.workflows)
    with pacs:
        node.start()
        (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


def test_the_engine_s_database_is_locked_when_a_scan_arrives(node, pacs, make_scan) -> None:
    """The row is the promise: the sender is told success at once, the engine gets the work later."""
    node.start()
    with locked(node.layout.workflows):
        node.send(make_scan())
        assert [job.stage for job in node.jobs()] == [Stage.RECEIVED]
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert len(pacs.instances()) == 3


def test_the_job_table_is_locked_while_a_scan_waits(node, pacs, make_scan) -> None:
    """Longer than SQLite waits for a lock: what broke off goes on when the lock is gone."""
    pacs.__exit__(None, None, None)
    node.wait_for_locks(5)
    node.start()
    node.send(make_scan(n_slices=1))
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.ENCODED and jobs[0].failure)
    with pacs:
        with locked(node.layout.job_table):
            node.wait_line(" code=LF-JOB-017 ")
        (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL


def test_an_older_job_table_is_restored(node, pacs, make_scan) -> None:
    """It says that work is left which the engine has ended: the work is begun again, on what is on disk."""
    hold = node.hold("calibrate.before")
    node.start()
    node.send(make_scan())
    hold.wait()
    backup = node.folder / "backup.sqlite"
    with (
        closing(sqlite3.connect(node.layout.job_table)) as source,
        closing(sqlite3.connect(backup)) as copy,
    ):
        source.backup(copy)
    hold.remove_and_release()
    node.wait_finished()
    node.stop()
    removed(node.layout.job_table)
    shutil.copy(backup, node.layout.job_table)
    node.start()
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(2, 0)] * 3


def test_an_older_database_of_the_engine_is_restored(node, pacs, make_scan) -> None:
    """It would do work that is done: the job table knows better, and nothing is sent twice."""
    waits_for_the_pacs(node, pacs, make_scan)
    backup = node.folder / "backup.sqlite"
    shutil.copy(node.layout.workflows, backup)
    with pacs:
        node.start()
        node.wait_finished()
        node.stop()
        shutil.copy(backup, node.layout.workflows)
        node.start()
        node.send(make_scan("other.h5", seed=1))
        first, second = node.wait_finished(2)
    assert node.done_stages(first) == node.done_stages(second) == ALL
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 6


@pytest.mark.parametrize("name", ["node.sqlite", "dbos.sqlite"])
@pytest.mark.parametrize("lost", [removed, emptied])
def test_a_database_lost_under_a_running_node_ends_it_and_the_next_start_makes_it_right(
    node, pacs, make_scan, name: str, lost: Callable
) -> None:
    """What is written to a file that nobody finds any more is no promise."""
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan())
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.ENCODED and jobs[0].failure)
    lost(node.layout.state / name)
    assert node.stop_waiting() == 1
    text = "".join(node.lines)
    assert "LF-JOB-046" in text
    assert name in text
    assert "Traceback" not in text
    with pacs:
        node.start()
        (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


@pytest.mark.parametrize("name", ["node.sqlite", "dbos.sqlite"])
def test_a_damaged_database_ends_the_start_with_a_code(node, name: str) -> None:
    node.layout.state.mkdir(parents=True)
    (node.layout.state / name).write_bytes(b"this is no database" * 1000)
    node.launch_command()
    assert node.stop_waiting() == 1
    text = "".join(node.lines)
    assert "LF-JOB-041" in text
    assert "Traceback" not in text
