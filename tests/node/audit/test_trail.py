"""The trail of a running node: what it holds, on disk and at a repository that comes and goes."""

import json
import logging
import socket
import ssl
import stat
import threading
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest
from authority import Authority, Identity

from lfmri_node.dicom_io.tls import ClientTls
from lfmri_node.node.audit.messages import Speaker
from lfmri_node.node.audit.syslog import Forwarder, Repository
from lfmri_node.node.audit.trail import Trail
from lfmri_node.node.backoff import Backoff

SPEAKER = Speaker(ae_title="LFMRI")
AT_ONCE = Backoff(base_s=0.05, cap_s=0.1)


def events(folder: Path) -> list[dict]:
    (path,) = folder.glob("audit-*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_scan_leaves_its_trail(node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    with socket.create_connection(("127.0.0.1", node.port), source_address=("127.0.0.2", 0)) as stranger:
        assert stranger.recv(1) == b""
    assert node.stop() == 0
    told = events(node.layout.root / "audit")
    assert [(e["event"]["meaning"], e["type"] and e["type"]["meaning"], e["outcome"]) for e in told] == [
        ("Application Activity", "Application Start", 0),
        ("Network Entry", "Attach", 0),
        ("DICOM Instances Transferred", None, 0),
        ("Begin Transferring DICOM Instances", None, 0),
        ("DICOM Instances Transferred", None, 0),
        ("Security Alert", "Node Authentication", 4),
        ("Network Entry", "Detach", 0),
        ("Application Activity", "Application Stop", 0),
    ]
    received, _, sent = told[2:5]
    assert received["participants"][0]["ae_title"] == "GATEWAY"
    assert {s["id"] for s in received["subjects"]} == {s["id"] for s in sent["subjects"]}
    assert "SENTINEL-4711" in {s["id"] for s in sent["subjects"]}
    assert sum(sent["subjects"][0]["classes"].values()) == len(node.pacs.instances())
    for path in (node.layout.root / "audit").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "Zzyzx" not in path.read_text()
    assert not any("SENTINEL" in line for line in node.lines)


def test_without_a_trail_nothing_is_written(node, make_scan) -> None:
    node.configure("[audit]\nenabled = false")
    node.start()
    node.send(make_scan())
    node.wait_finished()
    assert not (node.layout.root / "audit").exists()


def test_a_trail_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog) -> None:
    folder = tmp_path / "audit"
    folder.write_text("a file in its place")
    Trail(folder).record(SPEAKER.application(started=True))
    (record,) = [r for r in caplog.records if r.getMessage() == "audit.unwritten"]
    assert record.fields["code"] == "LF-AUD-001"


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    names = [f"user{n}" for n in range(8)]

    def write(name: str) -> None:
        for _ in range(25):
            trail.record(SPEAKER.login(name * 50, "127.0.0.1", succeeded=True))

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(tmp_path)) == 200


class Collector:
    """An audit repository: reads frames (RFC 5425 4.3) over TLS until it is told to hang up."""

    def __init__(self, identity: Identity, authority: Authority, port: int = 0) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        context.load_verify_locations(cafile=authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        self._context = context
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = int(self._server.getsockname()[1])
        self.messages: list[str] = []
        self._came = threading.Condition()
        self._connections: list[ssl.SSLSocket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._server.accept()
                connection = self._context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: ssl.SSLSocket) -> None:
        with connection.makefile("rb") as stream:
            while length := b"".join(iter(lambda: stream.read(1).strip(), b"")):
                content = stream.read(int(length))
                with self._came:
                    self.messages.append(content.decode("utf-8"))
                    self._came.notify_all()

    def wait_for(self, user: str) -> list[str]:
        """All messages, once one about this user has come."""
        with self._came:
            assert self._came.wait_for(lambda: user in users(self.messages), timeout=60)
            return list(self.messages)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._connections:
            with suppress(OSError):  # the other side has hung up already
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


@pytest.fixture
def server(authority: Authority) -> Identity:
    return authority.issue("repository", hosts=["127.0.0.1"])


@pytest.fixture
def tls(authority: Authority) -> ClientTls:
    ours = authority.issue("node")
    return ClientTls(ca=authority.ca, certificate=ours.certificate, key=ours.key)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def users(messages: list[str]) -> list[str]:
    found = [ElementTree.fromstring(m.partition("\ufeff")[2]) for m in messages]
    return [str(m.find("ActiveParticipant").get("UserID")) for m in found]


def test_a_repository_gets_everything_although_it_is_away_at_times(
    authority, server, tls, free_port, tmp_path
) -> None:
    trail = Trail(tmp_path / "audit")
    trail.record(SPEAKER.login("before", "127.0.0.1", succeeded=True))
    place = Repository(host="127.0.0.1", port=free_port, tls=tls)
    with Forwarder(tmp_path / "audit", place, AT_ONCE):
        first = Collector(server, authority, free_port)
        trail.record(SPEAKER.login("first", "127.0.0.1", succeeded=True))
        assert users(first.wait_for("first")) == ["before", "first"]
        first.close()
        trail.record(SPEAKER.login("away", "127.0.0.1", succeeded=True))
        second = Collector(server, authority, free_port)
        got = second.wait_for("away")
    assert got[0].startswith("<85>1 2")
    assert " lfmri-node - DICOM+RFC3881 - \ufeff<AuditMessage>" in got[0]
    second.close()
    trail.record(SPEAKER.login("later", "127.0.0.1", succeeded=True))
    third = Collector(server, authority, free_port)
    with Forwarder(tmp_path / "audit", place, AT_ONCE):
        again = users(third.wait_for("later"))
    assert "before" not in again, "another process goes on where the last one was"
    third.close()


def test_a_repository_of_another_authority_gets_nothing(authority, tls, tmp_path, caplog) -> None:
    foreign = Authority(tmp_path / "foreign", "Foreign CA")
    stranger = Collector(foreign.issue("repository", hosts=["127.0.0.1"]), authority)
    trail = Trail(tmp_path / "audit")
    trail.record(SPEAKER.login("anna", "127.0.0.1", succeeded=True))
    said = threading.Event()
    place = Repository(host="127.0.0.1", port=stranger.port, tls=tls)

    class Said(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.getMessage() == "audit.unsent":
                said.set()
            return True

    with caplog.filtering(Said()), Forwarder(tmp_path / "audit", place, AT_ONCE):
        assert said.wait(60)
    assert stranger.messages == []
    stranger.close()
