"""Delivery by STOW-RS: once, whole, and no more claimed than was answered, or found by QIDO-RS afterwards."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path

import pytest
from orthanc_api_client import OrthancApiClient
from pydicom import dcmread

from lfmri_node.dicom_io.types import Proof
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer, dicomweb_plugin, find_orthanc


def deliver_to(node, url: str, extra: str) -> None:
    before, after = node.config.read_text().split("[[destinations]]")
    node.config.write_text(
        f"{before}[[destinations]]\nkind = 'stow'\nname = 'web'\nurl = '{url}/dicom-web'\n{extra}\n"
        f"[retry]{after.split('[retry]')[1]}"
    )


def known(node, job: Job) -> tuple[set[tuple[bool, bool | None, Proof]], str]:
    """What is known of the objects of a job, and what its delivery says of itself."""
    with closing(Ledger(node.layout.job_table)) as ledger:
        receipts = [stored.receipt for stored in ledger.receipts(job.key)]
        (shipment,) = ledger.shipments(job.key)
        assert len(receipts) == len(ledger.objects(job.key))
    return {(r.delivered, r.verified, r.proof) for r in receipts}, shipment.note


@pytest.mark.integration
@pytest.mark.skipif(find_orthanc() is None or dicomweb_plugin() is None, reason="no Orthanc with DICOMweb")
@pytest.mark.parametrize(
    ("verify", "stage", "proof", "note"),
    [
        ("none", Stage.SENT, (True, None, Proof.NONE), "taken; not asked afterwards"),
        ("query", Stage.VERIFIED, (True, True, Proof.QUERY), "found"),
    ],
)
def test_a_scan_arrives_by_the_web(node, make_scan, tmp_path: Path, verify, stage, proof, note) -> None:
    program, plugin = find_orthanc(), dicomweb_plugin()
    assert program is not None
    assert plugin is not None
    with OrthancServer(program, tmp_path / "orthanc", plugins=[plugin]) as server:
        secret = tmp_path / "secret"
        secret.write_text(server.password)
        login = f"user = '{USER}'\npassword_file = '{secret}'\nmax_request_mb = 0.02\n"
        deliver_to(node, server.url, f"{login}verify = '{verify}'")
        node.start()
        node.send(make_scan())
        (job,) = node.wait_finished()
        assert job.stage is stage, "an answer is no proof"
        assert known(node, job) == ({proof}, note)
        client = OrthancApiClient(server.url, user=USER, pwd=server.password)
        with closing(Ledger(node.layout.job_table)) as ledger:
            for item in ledger.objects(job.key):
                held = client.instances.get_file(client.instances.lookup(item.sop_instance_uid))
                assert held == item.path.read_bytes()
        assert server.password not in "".join(node.lines)


@dataclass
class Web:
    """A DICOMweb server that says "stored" and forgets the first instance until it has come twice."""

    searches: int  # status of an answer to a search
    stored: list[str] = field(default_factory=list)
    url: str = ""

    def store(self, kind: str, body: bytes) -> bytes:
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = [BytesIO(part.get_payload(decode=True)) for part in message.get_payload()]
        uids = [str(dcmread(part, stop_before_pixels=True, force=True).SOPInstanceUID) for part in parts]
        self.stored += uids
        return json.dumps({"00081199": {"Value": [{"00081155": {"Value": [uid]}} for uid in uids]}}).encode()

    def listing(self) -> bytes:
        kept = [uid for uid in self.stored if uid != self.stored[0] or self.stored.count(uid) > 1]
        return json.dumps([{"00080018": {"Value": [uid]}} for uid in kept]).encode()


@contextmanager
def web(searches: int = 200) -> Iterator[Web]:
    there = Web(searches)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.say(200, there.store(self.headers["Content-Type"], body))

        def do_GET(self) -> None:
            self.say(there.searches, there.listing())

        def say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield there
        server.shutdown()


def test_what_a_search_does_not_find_is_sent_again(node, make_scan) -> None:
    with web() as there:
        deliver_to(node, there.url, "verify = 'query'")
        node.start()
        node.send(make_scan())
        (job,) = node.wait_finished()
        assert job.stage is Stage.VERIFIED
        assert known(node, job) == ({(True, True, Proof.QUERY)}, "found")
        first, *others = there.stored
        assert (others.count(first), len(others)) == (1, len(set(there.stored))), (
            "once more, and nothing else"
        )


def test_where_nobody_searches_the_job_is_sent_and_says_why(node, make_scan) -> None:
    with web(searches=501) as there:
        deliver_to(node, there.url, "verify = 'query'")
        node.start()
        node.send(make_scan(n_slices=1))
        (job,) = node.wait_finished()
        assert job.stage is Stage.SENT
        assert known(node, job) == ({(True, None, Proof.NONE)}, "taken; no query there (HTTP 501)")
