"""Parts of scans that never become complete: listed, reported, gone after an age of their own."""

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import load
from lfmri_node.node.jobs.purges import Purges, What
from lfmri_node.node.retention import purge as purging
from lfmri_node.node.retention.command import purge_now

PATIENT = {"PatientID": "1", "PatientName": "A^B", "StudyInstanceUID": "2.25.1"}
LATER = datetime.now(UTC) + timedelta(days=40)


@pytest.fixture
def parts(make_scan, tmp_path: Path) -> list[Path]:
    """A scan in at least three Raw Data objects."""
    (tmp_path / "parts").mkdir()
    scan = make_scan()
    made = wrap(scan, tmp_path / "parts", PATIENT, max_part_bytes=scan.stat().st_size // 3 + 1)
    assert len(made) >= 3
    return made


def send(node, *paths: Path) -> list[bool]:
    there = DicomDestination(
        name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
    )
    return [receipt.delivered for receipt in send_objects(there, paths)]


def settled(node) -> None:
    for path in node.layout.raw.iterdir():
        os.utime(path, (time.time() - 86_400,) * 2)


def due(node, text: str, at: datetime) -> list:
    node.configure(f"[retention]\n{text}")
    with closing(Purges(node.layout.job_table)) as store:
        return purging.decide(store, load(node.config), at)


def command(node, *words: str) -> dict:
    line = [sys.executable, "-m", "lfmri_node.node.cli", *words, "--json", "--config", str(node.config)]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def test_parts_that_wait_go_by_a_limit_of_their_own(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, *parts[:2]))
    settled(node)
    assert due(node, "raw_days = 0\nquarantined_days = 0\nmax_total_gb = 0.000001", LATER) == []
    assert due(node, "incomplete_days = 41", LATER) == []
    (purge,) = due(node, "incomplete_days = 39", LATER)
    assert (purge.what, purge.key) == (What.PARTS, incomplete_scans(node.layout.spool)[0].name)
    assert set(purge.paths) == set(node.layout.raw.iterdir())
    assert purge.n_bytes == sum(path.stat().st_size for path in purge.paths)
    with closing(Purges(node.layout.job_table)) as store:
        assert purging.carry_out(store, node.layout, purge)
    assert list(node.layout.raw.iterdir()) == incomplete_scans(node.layout.spool) == []
    assert not node.layout.trash.exists()
    assert all(send(node, *parts)), "sent again it is a scan like any other"
    node.wait_finished()


def test_the_command_names_them_and_the_service_reports_what_it_deleted(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, parts[0]))
    node.stop()
    settled(node)
    node.configure("[retention]\nincomplete_days = 0")
    (scan,) = command(node, "status")["incomplete"]
    (purge,) = command(node, "purge", "--dry-run")["purges"]
    assert (purge["measurement"], purge["what"]) == (scan["scan"], "parts")
    assert purge["bytes"] > 0
    assert f"{len(parts) - 1} of {len(parts)} parts have not come" in purge["reason"]
    assert len(list(node.layout.raw.glob("*.dcm"))) == 1
    node.start()
    node.wait_line(" retention.purged ")
    assert " code=LF-RET-004 " in node.lines[-1]
    assert scan["scan"] in node.lines[-1]
    assert command(node, "status")["incomplete"] == []


def test_what_came_within_the_hour_stays(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, *parts[:2]))
    settled(node)
    os.utime(next(node.layout.raw.glob("*.dcm")))
    assert due(node, "incomplete_days = 0", LATER) == []


def test_parts_that_became_a_scan_at_the_last_moment_stay(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, *parts[:-1]))
    settled(node)
    (purge,) = due(node, "incomplete_days = 0", LATER)
    assert all(send(node, parts[-1]))
    with closing(Purges(node.layout.job_table)) as store:
        assert not purging.carry_out(store, node.layout, purge)
    node.wait_finished()


def test_a_part_that_comes_again_at_the_last_moment_goes_back(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, *parts[:-1]))
    settled(node)
    (purge,) = due(node, "incomplete_days = 0", LATER)
    assert all(send(node, parts[0]))
    with closing(Purges(node.layout.job_table)) as store:
        assert not purging.carry_out(store, node.layout, purge)
    assert all(send(node, parts[-1]))
    node.wait_finished()


def test_a_last_part_whose_others_were_just_taken_is_not_success(node, parts: list[Path]) -> None:
    """Between the look at the files and the row: the sender keeps the scan, and sends it again."""
    hold = node.hold("received.before")
    node.start()
    assert all(send(node, *parts[:-1]))
    settled(node)
    (purge,) = due(node, "incomplete_days = 0", LATER)
    with subprocess.Popen([sys.executable, "-c", SEND, str(node.port), str(parts[-1])], text=True) as sender:
        hold.wait()
        with closing(Purges(node.layout.job_table)) as store:
            assert purging.carry_out(store, node.layout, purge)
        hold.remove_and_release()
    assert sender.returncode == 0xA7
    assert all(send(node, *parts))
    node.wait_finished()


SEND = """
import sys
from pathlib import Path
from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
there = DicomDestination(
    name="node", host="127.0.0.1", port=int(sys.argv[1]), ae_title="LFMRI", calling_ae_title="GATEWAY"
)
(receipt,) = send_objects(there, [Path(sys.argv[2])])
sys.exit(receipt.dimse_status >> 8)
"""


def test_killed_after_the_files_are_gone_the_note_goes_too(node, parts: list[Path]) -> None:
    node.start()
    assert all(send(node, parts[0]))
    node.stop()
    for path in node.layout.raw.iterdir():
        path.unlink()
    node.configure("[retention]\nincomplete_days = 0")
    purge_now(load(node.config), dry_run=False)
    assert incomplete_scans(node.layout.spool) == []
