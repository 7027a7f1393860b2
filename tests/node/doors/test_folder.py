"""Files that are put into a watched folder of a running node."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from open_doors import IDENTITY

from lfmri_node.node.jobs.ledger import Ledger

FOLDER = """
[[folders]]
path = "drop"
ae_title = "EXPORT"
settle_s = 0.2
"""


@pytest.fixture
def drop(node) -> Path:
    """The folder that the node, not started yet, will watch."""
    node.configure(FOLDER)
    folder = node.folder / "drop"
    folder.mkdir()
    return folder


def wait_for(node, path: Path) -> None:
    node.wait_for(lambda _jobs: path.exists())


def test_a_file_becomes_a_measurement_and_moves_to_taken(node, drop, make_scan) -> None:
    node.start()
    scan = make_scan(identity=IDENTITY)
    shutil.copy(scan, drop / "brain.h5")
    (job,) = node.wait_finished()
    wait_for(node, drop / "taken" / "brain.h5")
    assert (drop / "taken" / "brain.h5").read_bytes() == scan.read_bytes()
    assert job.calling_ae == "EXPORT"
    with closing(Ledger(node.layout.job_table)) as ledger:
        assert len(ledger.objects(job.key)) > 0


@pytest.mark.parametrize("place", ["received.before", "received.after"])
def test_a_node_killed_while_it_takes_a_file_has_it_once(node, drop, make_scan, place) -> None:
    hold = node.hold(place)
    node.start()
    shutil.copy(make_scan(identity=IDENTITY), drop / "brain.h5")
    hold.wait()
    assert (drop / "brain.h5").exists()
    node.kill()
    hold.remove()
    node.start()
    node.wait_finished()
    wait_for(node, drop / "taken" / "brain.h5")
    assert len(node.jobs()) == 1


def test_a_file_that_is_being_written_is_left_alone_until_it_is_closed(node, drop, make_scan) -> None:
    content = make_scan(identity=IDENTITY).read_bytes()
    with (drop / "slow.h5").open("wb") as file:
        file.write(content[:-100])
        file.flush()
        node.start()
        shutil.copy(make_scan("other.h5", seed=1, identity=IDENTITY), drop / "other.h5")
        wait_for(node, drop / "taken" / "other.h5")
        assert (drop / "slow.h5").exists()
        file.write(content[-100:])
    wait_for(node, drop / "taken" / "slow.h5")


def test_half_a_copy_waits_for_its_other_half(node, drop, make_scan) -> None:
    content = make_scan(identity=IDENTITY).read_bytes()
    (drop / "half.h5").write_bytes(content[:-100])
    node.start()
    shutil.copy(make_scan("other.h5", seed=1, identity=IDENTITY), drop / "other.h5")
    wait_for(node, drop / "taken" / "other.h5")
    assert (drop / "half.h5").exists()
    assert not (drop / "refused").exists()
    (drop / "half.h5").write_bytes(content)
    wait_for(node, drop / "taken" / "half.h5")


def test_what_cannot_become_a_job_is_refused_with_its_reason(node, drop, make_scan) -> None:
    (drop / "old.h5").write_bytes(b"no HDF5 at all" * 100)
    os.utime(drop / "old.h5", (0, 0))
    node.start()
    wait_for(node, drop / "refused" / "old.h5")
    assert (drop / "refused" / "old.h5.txt").read_text().startswith("LF-RAW-001: ")
    assert node.jobs() == []


def test_dot_files_temporary_names_links_and_other_files_are_left_alone(node, drop, make_scan) -> None:
    scan = make_scan(identity=IDENTITY)
    for name in (".hidden.h5", "copy.h5.part", "copy.h5.filepart", "notes.txt", "copy.h5~"):
        shutil.copy(scan, drop / name)
    (drop / "link.h5").symlink_to(scan)
    os.mkfifo(drop / "pipe.h5")
    node.start()
    shutil.copy(make_scan("other.h5", seed=1, identity=IDENTITY), drop / "other.h5")
    wait_for(node, drop / "taken" / "other.h5")
    assert [path.name for path in (drop / "taken").iterdir()] == ["other.h5"]
    assert len(list(drop.iterdir())) == 8
    assert len(node.jobs()) == 1


def test_two_files_of_one_name_are_both_kept(node, drop, make_scan) -> None:
    node.start()
    sent = []
    for seed in (0, 1):
        scan = make_scan(f"{seed}.h5", seed=seed, identity=IDENTITY)
        sent.append(scan.read_bytes())
        shutil.copy(scan, drop / "brain.h5")
        wait_for(node, drop / "taken" / ("brain.h5", "brain-1.h5")[seed])
    assert [(drop / "taken" / name).read_bytes() for name in ("brain.h5", "brain-1.h5")] == sent
    node.wait_finished(2)
