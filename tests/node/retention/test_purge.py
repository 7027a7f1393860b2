"""Retention on a real node's data directory: what goes, what stays, killed in between, sent again."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.node.cli.main import run
from lfmri_node.node.config import Config, load
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ended import forget_ended
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.purges import Purges, What
from lfmri_node.node.jobs.retry import retry_all, retry_job
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import sqlite_databases
from lfmri_node.node.layout import Layout
from lfmri_node.node.retention import purge as purging
from lfmri_node.node.retention import trash
from lfmri_node.node.retention.command import purge_now

ALL = "[retention]\nraw_days = 0\nresults_days = 0\nquarantined_days = 0"


def files(layout: Layout) -> list[str]:
    """Files of the spool and of the results, and the trash."""
    folders = (layout.raw, layout.root / "objects", layout.root / "work", layout.trash)
    return [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]


def make_old(layout: Layout) -> None:
    """Let everything look as if it had come in a day ago."""
    for path in layout.root.rglob("*"):
        os.utime(path, (time.time() - 86_400,) * 2)


def configured(node, text: str) -> Config:
    node.configure(text)
    return load(node.config)


@pytest.fixture
def delivered(node, make_scan, tmp_path_factory: pytest.TempPathFactory):
    """A node that has delivered a scan and was stopped; everything in it is a day old. Made once."""
    made = tmp_path_factory.getbasetemp() / "delivered"
    if not made.exists():
        node.start()
        node.send(make_scan())
        node.wait_finished()
        node.stop()
        make_old(node.layout)
        node.layout.root.rename(made)
    shutil.copytree(made, node.layout.root)
    return node


def test_a_dry_run_says_what_would_go_and_touches_nothing(delivered) -> None:
    before = files(delivered.layout)
    purges, _ = purge_now(configured(delivered, ALL), dry_run=True)
    assert {purge.what for purge in purges} == {What.RAW, What.RESULTS}
    for purge in purges:
        assert purge.n_bytes == sum(
            item.stat().st_size for path in purge.paths for item in (path, *path.rglob("*")) if item.is_file()
        )
        assert purge.n_bytes > 0
    assert files(delivered.layout) == before


def test_without_limits_nothing_goes(delivered) -> None:
    before = files(delivered.layout)
    assert purge_now(configured(delivered, ""), dry_run=False) == ([], [])
    assert files(delivered.layout) == before


def test_what_was_delivered_goes_and_stays_known(delivered) -> None:
    config = configured(delivered, ALL)
    purge_now(config, dry_run=False)
    assert files(delivered.layout) == []
    assert not delivered.layout.trash.exists()
    (job,) = delivered.jobs()
    assert job.stage is Stage.SENT
    with closing(Purges(delivered.layout.job_table)) as store:
        assert set(store.purged(job.key)) == {"raw", "results"}
        assert all(store.purged(job.key).values())
        assert len(store.receipts(job.key)) > 0
    assert purge_now(config, dry_run=True) == ([], [])


def test_records_go_last_and_leave_no_row(delivered) -> None:
    purge_now(configured(delivered, ALL), dry_run=False)
    config = configured(delivered, f"{ALL}\nrecords_days = 0")
    purges, _ = purge_now(config, dry_run=False)
    assert [purge.what for purge in purges] == [What.RECORDS]
    with closing(Purges(delivered.layout.job_table)) as store:
        query = (
            "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'"
            " AND name!='workers'"  # of processes, not of scans
        )
        tables = store._rows(query)
        assert {t["name"]: len(store._rows(f"SELECT * FROM {t['name']}")) for t in tables} == {
            t["name"]: 0 for t in tables
        }


def test_what_came_in_within_the_hour_stays(delivered) -> None:
    for path in delivered.layout.raw.glob("*"):
        os.utime(path)
    purges, _ = purge_now(configured(delivered, ALL), dry_run=False)
    assert {purge.what for purge in purges} == {What.RESULTS}
    assert list(delivered.layout.raw.glob("*.dcm"))


def test_an_undelivered_scan_and_a_quarantined_one_before_its_limit_stay(node, make_scan, pacs) -> None:
    pacs.before_answer = lambda _uid: 0xA700
    node.start()
    node.send(make_scan())
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None)
    node.stop()
    make_old(node.layout)
    before = files(node.layout)
    config = configured(node, f"{ALL}\nmax_total_gb = 0.000001")
    assert purge_now(config, dry_run=False) == ([], [])
    assert files(node.layout) == before


def test_a_quarantined_scan_goes_after_its_own_limit_and_cannot_be_retried_then(
    node, make_scan, pacs
) -> None:
    pacs.before_answer = lambda _uid: 0xC000
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    node.stop()
    make_old(node.layout)
    before = files(node.layout)
    limits = "[retention]\nraw_days = 0\nresults_days = 0\nmax_total_gb = 0.000001\nquarantined_days = 1"
    assert purge_now(configured(node, limits), dry_run=False) == ([], [])
    assert files(node.layout) == before
    purge_now(configured(node, ALL), dry_run=False)
    assert files(node.layout) == []
    config = load(node.config)
    with pytest.raises(JobError) as caught:
        retry_job(config, job.name)
    assert caught.value.code == "LF-JOB-042"
    retried = retry_all(config)
    assert (retried.names, list(retried.stay)) == ((), [job.name])
    assert "LF-JOB-042" in retried.lines()[0]


def test_what_was_purged_and_comes_again_is_reconstructed_and_delivered_again(
    node, make_scan, pacs, tmp_path: Path
) -> None:
    """The PACS gets the same bytes under the same UIDs, so that one that compares agrees."""
    node.start()
    node.send(make_scan())
    node.wait_finished()
    first = {item.sop_instance_uid: item.dataset_sha256 for item in pacs.instances()}
    gateway = shutil.copytree(node.layout.raw, tmp_path / "gateway")
    make_old(node.layout)
    purge_now(configured(node, ALL), dry_run=False)
    there = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
    )
    assert all(receipt.delivered for receipt in send_objects(there, sorted(gateway.glob("*.dcm"))))
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].finished_at and not jobs[0].is_measurement)
    assert job.stage is Stage.SENT
    again = pacs.instances()
    assert {item.sop_instance_uid: item.dataset_sha256 for item in again} == first
    assert {(item.stores, item.conflicts) for item in again} == {(2, 0)}
    with closing(Purges(node.layout.job_table)) as store:
        assert store.purged(job.key) == {}


@pytest.mark.parametrize("place", ["marked", "moved", "recorded", "half deleted"])
def test_killed_anywhere_the_next_run_ends_it(delivered, place: str) -> None:
    """The process dies at its first arrival behind each place; the limits are gone afterwards."""
    config = configured(delivered, ALL)
    program = KILLED.format(config=str(delivered.config), place=place)
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    config = configured(delivered, "")
    purge_now(config, dry_run=False)
    with closing(Purges(delivered.layout.job_table)) as store:
        (holding,) = store.holdings()
    assert holding.marked == set(holding.done)
    assert What.RESULTS in holding.done
    assert not delivered.layout.trash.exists()
    assert not list((delivered.layout.root / "objects").glob("*"))
    assert purge_now(configured(delivered, ALL), dry_run=False)[1] == []
    assert files(delivered.layout) == []


KILLED = """
import os, shutil, signal
from pathlib import Path
from lfmri_node.node.config import load
from lfmri_node.node.jobs.purges import Purges
from lfmri_node.node.retention import purge as purging, trash
from lfmri_node.node.retention.command import purge_now

def then_die(function):
    def called(*arguments, **options):
        function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return called

def half(folder, **options):
    next(path for path in folder.rglob("*") if path.is_file()).unlink()

place = {place!r}
if place == "marked":
    Purges.mark = then_die(Purges.mark)
elif place == "moved":
    trash.sync_directory = then_die(trash.sync_directory)
elif place == "recorded":
    purging.logs.event = then_die(purging.logs.event)
elif place == "half deleted":
    real = shutil.rmtree
    trash.shutil.rmtree = lambda folder, **options: (
        then_die(half)(folder) if folder.name == "trash" and folder.exists() else real(folder, **options)
    )
purge_now(load(Path({config!r})), dry_run=False)
"""


def test_a_file_that_came_in_again_while_it_was_moved_goes_back(delivered) -> None:
    layout, config = delivered.layout, configured(delivered, ALL)
    with closing(Purges(layout.job_table)) as store:
        purges = purging.decide(store, config, datetime.now(UTC))
        (raw,) = (purge for purge in purges if purge.what is What.RAW)
        content = {path: path.read_bytes() for path in raw.paths}
        os.utime(raw.paths[0])
        assert not purging.carry_out(store, layout, raw)
        assert {path: path.read_bytes() for path in raw.paths} == content
        (layout.trash / "x-raw").mkdir(parents=True)
        shutil.move(raw.paths[0], layout.trash / "x-raw")
        trash.empty_trash(layout)
        assert {path: path.read_bytes() for path in raw.paths} == content


def test_ended_workflows_are_forgotten_but_not_those_of_unfinished_jobs(delivered) -> None:
    layout = delivered.layout
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert forget_ended(sqlite_databases(layout), soon, lambda _: set()) == 0
    assert forget_ended(sqlite_databases(layout), datetime(2026, 1, 1, tzinfo=UTC), set) == 0
    with closing(Purges(layout.job_table)) as store:
        n_works = 3  # admit, compute, deliver
        assert (
            forget_ended(sqlite_databases(layout), soon, lambda keys: store.over_since(soon, keys)) == n_works
        )
    assert forget_ended(sqlite_databases(layout), soon, set) == 0
    delivered.configure()
    delivered.start()
    assert delivered.lines[-1].strip().endswith("count=0")


def test_two_do_not_delete_at_once(delivered) -> None:
    config = configured(delivered, ALL)
    with purging.alone(delivered.layout), pytest.raises(JobError) as caught:
        purge_now(config, dry_run=False)
    assert caught.value.code == "LF-RET-002"
    assert files(delivered.layout)


def test_empty_and_left_over_work_folders_are_swept_up(delivered) -> None:
    layout = delivered.layout
    (job,) = delivered.jobs()
    left = layout.work(job.key)
    left.mkdir(parents=True, exist_ok=True)
    (left / "calibration.npz").write_bytes(b"x")
    unknown, empty, new = (layout.root / "work" / name for name in ("unknown", "empty", "new"))
    for folder in (unknown, empty, new):
        folder.mkdir()
    (unknown / "file").touch()
    make_old(layout)
    os.utime(new)
    purge_now(configured(delivered, ""), dry_run=False)
    assert {path.name for path in (layout.root / "work").iterdir()} == {"unknown", "new"}


def test_the_service_purges_by_itself(delivered) -> None:
    delivered.configure(ALL)
    delivered.start()
    delivered.wait_line("what=raw")
    assert not list(delivered.layout.raw.glob("*.dcm"))


def test_refused_objects_go_by_the_limit_of_quarantine(node) -> None:
    node.layout.state.mkdir(parents=True)
    Store(node.layout.job_table).close()
    refused = node.layout.spool / "quarantine" / "LF-NET-016-x.dcm"
    refused.parent.mkdir(parents=True)
    refused.touch()
    make_old(node.layout)
    assert purge_now(configured(node, "[retention]\nquarantined_days = 2"), dry_run=False)[1] == []
    assert refused.exists()
    assert purge_now(configured(node, "[retention]\nquarantined_days = 0.5"), dry_run=False)[1] == [refused]
    assert not refused.exists()


def test_the_command_names_refused_objects_that_would_go_and_that_went(node, capsys) -> None:
    Store(node.layout.job_table).close()
    refused = node.layout.spool / "quarantine" / "LF-NET-016-x.dcm"
    refused.parent.mkdir(parents=True)
    refused.write_bytes(bytes(1_200_000))
    make_old(node.layout)
    node.configure("[retention]\nquarantined_days = 0.5")
    for options, said, stays in ((["--dry-run"], "1.2 MB", True), ([], "deleting 1", False)):
        assert run(["purge", "--config", str(node.config), *options]) == 0
        shown = capsys.readouterr().out
        assert "LF-NET-016-x.dcm" in shown
        assert said in shown
        assert refused.exists() is stays


def test_what_was_refused_takes_room_from_what_was_delivered(delivered) -> None:
    config = configured(delivered, "[retention]\nmax_total_gb = 1")
    assert purge_now(config, dry_run=True) == ([], [])
    refused = delivered.layout.spool / "quarantine" / "LF-NET-016-x.dcm"
    refused.parent.mkdir(parents=True, exist_ok=True)
    with refused.open("wb") as file:
        file.truncate(2**30)
    purges, _ = purge_now(config, dry_run=True)
    assert [purge.what for purge in purges] == [What.RESULTS, What.RAW]


def test_the_command_needs_a_job_table(node) -> None:
    with pytest.raises(JobError) as caught:
        purge_now(configured(node, ALL), dry_run=True)
    assert caught.value.code == "LF-JOB-003"
    assert not Path(node.layout.job_table).exists()
