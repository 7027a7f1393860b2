"""A copy of a node that runs, restored after its disk is lost: nothing delivered since is lost or doubled."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.backup import back_up
from lfmri_node.node.config import load
from lfmri_node.node.errors import JobError
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.recon.method.modelcard import shipped_weights


def backup(node, folder: Path) -> dict:
    """As an operator does it."""
    command = [sys.executable, "-m", "lfmri_node.node.cli", "backup", str(folder), "--json"]
    done = subprocess.run(
        [*command, "--config", str(node.config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "config.toml").read_text() == node.config.read_text()
    return json.loads(done.stdout)


def restore(node, folder: Path) -> None:
    """The node's disk is lost; yesterday's copy takes its place."""
    shutil.rmtree(node.layout.root)
    shutil.copytree(folder / "data", node.layout.root)


def held(pacs) -> dict[str, tuple[str, int]]:
    """SOP instance UID -> what the PACS holds, and how often something else came under it."""
    return {item.sop_instance_uid: (item.dataset_sha256, item.conflicts) for item in pacs.instances()}


def test_yesterdays_backup_loses_and_doubles_nothing(node, pacs, make_scan, tmp_path: Path) -> None:
    scans = [make_scan(f"{n}.h5", seed=n) for n in range(3)]
    node.start()
    node.send(scans[0])
    node.wait_finished()
    place = node.hold("encode.before")
    node.send(scans[1])
    place.wait()
    made = backup(node, tmp_path / "backup")
    assert (made["raw"], made["objects"]) == (2, 0)  # the Raw Data object and what is known of it
    place.remove_and_release()
    node.wait_finished(2)
    node.send(scans[2])
    node.wait_finished(3)
    before = held(pacs)
    assert len(before) == 9
    assert all(conflicts == 0 for _, conflicts in before.values())
    node.kill()
    restore(node, tmp_path / "backup")
    node.start()
    jobs = node.wait_finished(2)
    assert held(pacs) == before  # the same objects, byte for byte: nothing else came under any UID
    stores = {item.sop_instance_uid: item.stores for item in pacs.instances()}
    with closing(Ledger(node.layout.job_table)) as ledger:
        delivered = [[stores[item.sop_instance_uid] for item in ledger.objects(job.key)] for job in jobs]
    assert delivered == [[1, 1, 1], [2, 2, 2]]  # what was finished before the backup is not sent again
    node.send(scans[2])
    node.wait_finished(3)
    assert held(pacs).keys() == before.keys()  # sent again by its gateway: the UIDs that are there


def test_what_waits_for_a_destination_goes_out_of_the_backup(node, pacs, make_scan, tmp_path: Path) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace(f"port = {pacs.port}", "port = 1"))
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: bool(jobs) and jobs[0].stage is Stage.ENCODED)
    made = backup(node, tmp_path / "backup")
    assert (made["raw"], made["objects"]) == (2, 3)
    node.kill()
    restore(node, tmp_path / "backup")
    node.config.write_text(text)
    node.start()
    (job,) = node.wait_finished()
    assert node.done_stages(job).count(Stage.RECONSTRUCTED) == 1  # made once: the objects were in the backup
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


def test_a_scan_of_which_parts_are_missing_is_in_it(node, make_scan, tmp_path: Path) -> None:
    scan = make_scan()
    who = {"PatientID": "P-1", "PatientName": "Part^Ial"}
    half = scan.stat().st_size // 2 + 1
    parts = wrap(scan, tmp_path, wrapping_of(scan, who, None).attributes, max_part_bytes=half)

    def send(objects) -> None:
        peer = DicomDestination(
            name="node", host="127.0.0.1", port=node.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
        )
        assert all(receipt.delivered for receipt in send_objects(peer, objects))

    node.start()
    send(parts[:1])
    backup(node, tmp_path / "backup")
    node.kill()
    restore(node, tmp_path / "backup")
    node.start()
    send(parts[1:])
    node.wait_finished()


def test_the_copies_are_whole_and_the_users_alone(node, make_scan, tmp_path: Path) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    folder = tmp_path / "backup"
    made = backup(node, folder)
    assert [path.name for path in (folder / "data" / "state").iterdir()] == ["node.sqlite"]
    with closing(sqlite3.connect(folder / "data" / "state" / "node.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert json.loads((folder / "backup.json").read_text()) == made
    assert [path for path in folder.rglob("*") if path.stat().st_mode & 0o077] == []


def test_the_audit_trail_and_weights_of_pipelines_are_in_it(node, make_scan, tmp_path: Path) -> None:
    own = [tmp_path / place / "brain.safetensors" for place in ("one", "two")]
    for weights in own:
        weights.parent.mkdir()
        for kind in (".safetensors", ".json"):
            shutil.copyfile(shipped_weights().with_suffix(kind), weights.with_suffix(kind))
    pipelines = [
        f'[[pipelines]]\nname = "{number}"\nonly.protocol = "{number}*"\nweights = "{place}"\n'
        for number, place in enumerate(own)
    ]
    node.config.write_text("\n".join([node.config.read_text(), *pipelines]))
    node.start()
    node.send(make_scan())
    node.wait_finished()
    folder = tmp_path / "backup"
    made = backup(node, folder)
    files = {str(weights.with_suffix(kind)) for weights in own for kind in (".json", ".safetensors")}
    assert set(made["weights"]) == files
    for name in files:
        assert (folder / "weights" / name.lstrip("/")).read_bytes() == Path(name).read_bytes()
    (trail,) = node.layout.audit.glob("*.jsonl")
    copied = (folder / "data" / "audit" / trail.name).read_text()
    assert copied
    assert trail.read_text().startswith(copied)


def test_a_folder_that_holds_something_is_left_alone(node, tmp_path: Path) -> None:
    node.start()
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / "precious").touch()
    with pytest.raises(JobError) as caught:
        back_up(load(node.config), node.config, folder)
    assert caught.value.code == "LF-OPS-005"
    assert [path.name for path in folder.iterdir()] == ["precious"]
