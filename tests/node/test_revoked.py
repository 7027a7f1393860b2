"""Servers whose certificate was revoked, played by ``openssl s_server``: nobody tells them anything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authority import Authority, Identity
from pynetdicom import AE, evt
from pynetdicom.sop_class import RawDataStorage
from servers import Hook, Mailbox, serving

from lfmri_node.dicom_io.deliver.orthanc import OrthancDestination, reach, upload_objects
from lfmri_node.dicom_io.deliver.qido import reach_web
from lfmri_node.dicom_io.deliver.stow import store_instances
from lfmri_node.dicom_io.deliver.web import WebDestination
from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.tls import ServerTls
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.cli.main import run
from lfmri_node.node.config import Config, from_document
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.notify.ways import FAILURES, require_secrets, tell

pytestmark = pytest.mark.integration
DOCUMENT = {"at": "2026-01-02T03:04:05Z", "node": "LFMRI", "text": "t", "new": []}


@pytest.fixture
def theirs(authority: Authority) -> Identity:
    return authority.issue("server", hosts=["127.0.0.1"])


@pytest.fixture
def stranger(program: Callable[[str], Path], theirs: Identity) -> Iterator[int]:
    """Port of a server of OpenSSL's that answers a GET with a page."""
    command = [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-www"]
    command += ["-cert", theirs.certificate, "-key", theirs.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("ACCEPT "))
        yield int(line.rpartition(":")[2])
        server.kill()


@pytest.fixture(params=["revoked", "of another", "expired"])
def listed(request: pytest.FixtureRequest, authority: Authority, theirs: Identity) -> tuple[Path, str]:
    """A revocation list, and what has to be said for it; "" where it does not name the server."""
    if request.param == "expired":
        return authority.revoke(days=-1), "CRL has expired"
    if request.param == "revoked":
        return authority.revoke(theirs), "certificate revoked"
    return authority.revoke(authority.issue("stolen")), ""


@pytest.fixture
def item(tmp_path: Path) -> EncodedObject:
    path = tmp_path / "object.dcm"
    path.write_bytes(b"object")
    return EncodedObject(
        path=path,
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3",
        series_instance_uid="1.2.4",
        role="lf-mri",
        sha256="0" * 64,
    )


@pytest.fixture
def hook(theirs) -> Iterator[Hook]:
    """A web server that answers what is posted, with the same certificate."""
    server = Hook()
    tls = ServerTls(certificate=theirs.certificate, key=theirs.key, require_client_certificate=False)
    server.socket = tls.context().wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server


def test_destinations_behind_https(stranger, hook, authority, listed, item) -> None:
    crl, why = listed
    port = stranger if why else hook.server_port
    more = {"url": f"https://127.0.0.1:{port}", "ca": authority.ca, "crl": crl}
    orthanc, web = OrthancDestination(name="o", **more), WebDestination(name="w", **more)
    (uploaded,), (stored,) = upload_objects(orthanc, [item]), store_instances(web, [item])
    said = [uploaded.detail, stored.detail, reach(orthanc) or "", reach_web(web) or ""]
    assert not uploaded.delivered
    assert not stored.delivered
    if why:
        assert all(f"(certificate refused, {why})" in words for words in said), said
    else:
        assert said[0] == "what answers is not Orthanc (a proxy, a login page?)"
        assert (said[2], said[3]) == ("HTTP 501", ""), "it was asked, and knows no searches"


def test_notices(stranger, hook, authority, listed) -> None:
    crl, why = listed
    if why:
        with pytest.raises(FAILURES, match=why):
            tell(section(f"https://127.0.0.1:{stranger}/hook", authority, crl).notify[0], DOCUMENT)
        return
    tell(section(hook.url.replace("http:", "https:"), authority, crl).notify[0], DOCUMENT)
    assert hook.got.get(timeout=60)


def test_notices_by_mail(authority, listed, theirs, tmp_path: Path) -> None:
    crl, why = listed
    tls = ServerTls(certificate=theirs.certificate, key=theirs.key, require_client_certificate=False)
    mailbox = Mailbox(tls.context(), "node", "secret")
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    there = {"host": "127.0.0.1", "port": mailbox.port, "ca_file": str(authority.ca), "crl": str(crl)}
    login = {"user": "node", "password_file": "password", "sender": "n@example.org", "to": ["a@example.org"]}
    document = {"notify": [{"kind": "mail", "name": "m", **there, **login}]}
    (way,) = from_document(document, base=tmp_path, name="test").notify
    with serving(mailbox):
        if why:
            with pytest.raises(FAILURES, match=why):
                tell(way, DOCUMENT)
            assert mailbox.got.empty()
            return
        tell(way, DOCUMENT)
        assert mailbox.got.get(timeout=60)


def section(url: str, authority: Authority, crl: Path) -> Config:
    hook = {"kind": "webhook", "name": "h", "url": url, "ca_file": str(authority.ca), "crl": str(crl)}
    return from_document({"notify": [hook]}, base=crl.parent, name="test")


def test_send(stranger, authority, listed, theirs, make_scan, capsys) -> None:
    crl, why = listed
    words = ["send", str(make_scan()), "--patient-id", "1", "--study-uid", "1.2.3"]
    words += ["--tls-ca", str(authority.ca), "--tls-crl", str(crl), "--to"]
    if why:
        assert run([*words, f"LFMRI@127.0.0.1:{stranger}"]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "LF-DEL-022" in said
        assert f"certificate refused, {why}" in said
        return
    tls = ServerTls(certificate=theirs.certificate, key=theirs.key, require_client_certificate=False)
    node = AE("LFMRI")
    node.add_supported_context(RawDataStorage)
    handlers = [(evt.EVT_C_STORE, lambda _event: 0x0000)]
    server = node.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls.context()
    )
    try:
        assert run([*words, f"LFMRI@127.0.0.1:{server.server_address[1]}"]) == 0
    finally:
        server.shutdown()


def test_a_list_that_is_none_is_refused_before_anything_is_sent(authority, tmp_path, item) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no list")
    there = {"name": "x", "url": "https://127.0.0.1:1", "ca": str(authority.ca), "crl": str(bad)}
    for kind in ("stow", "orthanc"):
        config = from_document({"destinations": [{"kind": kind, **there}]}, base=tmp_path, name="test")
        with pytest.raises(TlsError, match="LF-NET-043"):
            destinations_of(config)
    with pytest.raises(TlsError, match="LF-NET-043"):
        require_secrets(section("https://127.0.0.1:1/", authority, bad))
    for deliver, kind in ((upload_objects, OrthancDestination), (store_instances, WebDestination)):
        (receipt,) = deliver(kind(name="x", url=there["url"], ca=authority.ca, crl=bad), [item])
        assert "bad.pem cannot be used for TLS" in receipt.detail


@pytest.mark.parametrize(
    "document",
    [
        {"destinations": [{"kind": "stow", "name": "x", "url": "https://h", "crl": "crl.pem"}]},
        {"notify": [{"kind": "webhook", "name": "x", "url": "https://h", "crl": "crl.pem"}]},
    ],
)
def test_a_list_without_its_authority_is_refused(document, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="crl belongs to ca"):
        from_document(document, base=tmp_path, name="test")
