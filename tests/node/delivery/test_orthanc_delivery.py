"""Delivery through Orthanc's REST API: what it holds is read back, and only then called verified."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from orthanc_api_client import OrthancApiClient

from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer, find_orthanc

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_orthanc() is None, reason="Orthanc is not installed"),
]


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancServer]:
    """An Orthanc that keeps the first object of a UID, as Orthanc does unless it is told otherwise."""
    program = find_orthanc()
    assert program is not None
    with OrthancServer(program, tmp_path / "orthanc", overwrite=False) as server:
        yield server


def deliver_to(node, server: OrthancServer, secret: Path) -> None:
    secret.write_text(server.password)
    before, after = node.config.read_text().split("[[destinations]]")
    node.config.write_text(
        f"{before}[[destinations]]\nkind = 'orthanc'\nname = 'orthanc'\nurl = '{server.url}'\n"
        f"user = '{USER}'\npassword_file = '{secret}'\n[retry]{after.split('[retry]')[1]}"
    )


def test_verified_says_that_orthanc_holds_the_bytes(node, make_scan, orthanc, tmp_path: Path) -> None:
    deliver_to(node, orthanc, tmp_path / "secret")
    node.start()
    node.send(make_scan())
    (job,) = node.wait_finished()
    ledger = Ledger(node.layout.job_table)
    objects = ledger.objects(job.key)
    assert job.stage is Stage.VERIFIED
    assert [(s.receipt.delivered, s.receipt.verified) for s in ledger.receipts(job.key)] == [
        (True, True)
    ] * len(objects)
    client = OrthancApiClient(orthanc.url, user=USER, pwd=orthanc.password)
    for item in objects:
        held = client.instances.get_file(client.instances.lookup(item.sop_instance_uid))
        assert held == item.path.read_bytes()
    assert orthanc.password not in "".join(node.lines)


def test_a_scan_that_a_node_without_memory_gets_again_is_verified(
    node, make_scan, orthanc, tmp_path: Path
) -> None:
    """The disk is lost after the delivery, and no backup knows the scan: its gateway sends it again."""
    deliver_to(node, orthanc, tmp_path / "secret")
    scan = make_scan()
    node.start()
    node.send(scan)
    node.wait_finished()
    client = OrthancApiClient(orthanc.url, user=USER, pwd=orthanc.password)
    before = {name: client.instances.get_file(name) for name in client.get_json("/instances")}
    node.kill()
    shutil.rmtree(node.layout.root)
    node.start()
    node.send(scan)
    (job,) = node.wait_finished()
    assert (job.stage, job.failure) == (Stage.VERIFIED, None)
    assert {name: client.instances.get_file(name) for name in client.get_json("/instances")} == before
