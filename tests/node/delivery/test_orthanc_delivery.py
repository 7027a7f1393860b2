"""Delivery through Orthanc's REST API: what it holds is read back, and only then called verified."""

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


def test_verified_says_that_orthanc_holds_the_bytes(node, make_scan, tmp_path: Path) -> None:
    program = find_orthanc()
    assert program is not None
    with OrthancServer(program, tmp_path / "orthanc") as server:
        secret = tmp_path / "secret"
        secret.write_text(server.password)
        text = node.config.read_text()
        before, after = text.split("[[destinations]]")
        node.config.write_text(
            f"{before}[[destinations]]\nkind = 'orthanc'\nname = 'orthanc'\nurl = '{server.url}'\n"
            f"user = '{USER}'\npassword_file = '{secret}'\n[retry]{after.split('[retry]')[1]}"
        )
        node.start()
        node.send(make_scan())
        (job,) = node.wait_finished()
        ledger = Ledger(node.layout.job_table)
        objects = ledger.objects(job.key)
        assert job.stage is Stage.VERIFIED
        assert [(s.receipt.delivered, s.receipt.verified) for s in ledger.receipts(job.key)] == [
            (True, True)
        ] * len(objects)
        client = OrthancApiClient(server.url, user=USER, pwd=server.password)
        for item in objects:
            held = client.instances.get_file(client.instances.lookup(item.sop_instance_uid))
            assert held == item.path.read_bytes()
        assert server.password not in "".join(node.lines)
