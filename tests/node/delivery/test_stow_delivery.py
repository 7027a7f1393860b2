"""Delivery by STOW-RS into an Orthanc with DICOMweb: once, whole, and no more claimed than was answered."""

from pathlib import Path

import pytest
from orthanc_api_client import OrthancApiClient

from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer, dicomweb_plugin, find_orthanc

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        find_orthanc() is None or dicomweb_plugin() is None, reason="no Orthanc with DICOMweb"
    ),
]


def test_a_scan_arrives_by_the_web(node, make_scan, tmp_path: Path) -> None:
    program, plugin = find_orthanc(), dicomweb_plugin()
    assert program is not None
    assert plugin is not None
    with OrthancServer(program, tmp_path / "orthanc", plugins=[plugin]) as server:
        secret = tmp_path / "secret"
        secret.write_text(server.password)
        before, after = node.config.read_text().split("[[destinations]]")
        node.config.write_text(
            f"{before}[[destinations]]\nkind = 'stow'\nname = 'web'\nurl = '{server.url}/dicom-web'\n"
            f"user = '{USER}'\npassword_file = '{secret}'\nmax_request_mb = 0.02\n"
            f"[retry]{after.split('[retry]')[1]}"
        )
        node.start()
        node.send(make_scan())
        (job,) = node.wait_finished()
        ledger = Ledger(node.layout.job_table)
        objects = ledger.objects(job.key)
        assert job.stage is Stage.SENT, "an answer is no proof"
        assert [s.receipt.delivered for s in ledger.receipts(job.key)] == [True] * len(objects)
        client = OrthancApiClient(server.url, user=USER, pwd=server.password)
        for item in objects:
            held = client.instances.get_file(client.instances.lookup(item.sop_instance_uid))
            assert held == item.path.read_bytes()
        assert server.password not in "".join(node.lines)
