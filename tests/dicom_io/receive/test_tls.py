"""DICOM over TLS (PS3.15 B.12) before strangers, and hostile connections before the door with TLS in it."""

import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from authority import Authority, Identity
from peer import Peer, associate_request
from pydicom.uid import ExplicitVRLittleEndian, RawDataStorage
from pynetdicom import AE

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.tls import ClientTls, ServerTls

N_HOSTILE = 64


@pytest.fixture
def ours(authority: Authority) -> Identity:
    return authority.issue("node", hosts=["127.0.0.1", "localhost"])


@pytest.fixture
def theirs(authority: Authority) -> Identity:
    return authority.issue("gateway", hosts=["gateway.example.org"])


@pytest.fixture
def start_tls(start_node, authority: Authority, ours: Identity) -> Callable[..., object]:
    """``start_tls(crl=, certificate=, ...)``: a listener with TLS that lets in whom our authority knows."""

    def start(*, crl: Path | None = None, certificate: str | None = None, **settings: object):
        tls = ServerTls(certificate=ours.certificate, key=ours.key, ca=authority.ca, crl=crl)
        callers = (AllowedCaller.of("GATEWAY", ["127.0.0.0/8"], certificate),)
        return start_node(tls=tls, policy=AccessPolicy(callers=callers), **settings)

    return start


def node_at(
    port: int,
    authority: Authority,
    identity: Identity | None,
    host: str = "127.0.0.1",
    crl: Path | None = None,
):
    tls = ClientTls(
        ca=authority.ca,
        crl=crl,
        certificate=identity.certificate if identity else None,
        key=identity.key if identity else None,
    )
    return DicomDestination(
        name="node", host=host, port=port, ae_title="LFNODE", calling_ae_title="GATEWAY", tls=tls
    )


def test_an_object_travels(start_tls, authority, theirs, h5, tmp_path, source) -> None:
    node = start_tls()
    parts = wrap(h5, tmp_path, source)
    (receipt,) = send_objects(node_at(node.port, authority, theirs), parts)
    assert receipt.delivered
    assert len(node.kept) == 1


def test_a_caller_without_certificate_is_refused(start_tls, authority, caplog) -> None:
    answer = echo(node_at(start_tls().port, authority, None))
    assert not answer.answered
    assert "LF-NET-041" in caplog.text
    assert "peer did not return a certificate" in caplog.text


@pytest.mark.parametrize("kind", ["of another authority", "expired", "revoked"])
def test_a_certificate_that_proves_nothing(start_tls, authority, tmp_path, caplog, kind: str) -> None:
    foreign = Authority(tmp_path / "foreign", "Foreign CA")
    identity = (
        foreign.issue("gateway")
        if kind == "of another authority"
        else authority.issue("gateway", days=-1 if kind == "expired" else 1)
    )
    crl = authority.revoke(identity) if kind == "revoked" else None
    assert not echo(node_at(start_tls(crl=crl).port, authority, identity)).answered
    assert "LF-NET-041" in caplog.text
    assert "certificate" in caplog.text


def test_the_revocation_list_lets_the_others_in(start_tls, authority, theirs) -> None:
    crl = authority.revoke(authority.issue("stolen"))
    assert echo(node_at(start_tls(crl=crl).port, authority, theirs)).answered


def test_an_expired_revocation_list_lets_nobody_in(start_tls, authority, theirs) -> None:
    crl = authority.revoke(days=-1)
    assert not echo(node_at(start_tls(crl=crl).port, authority, theirs)).answered


def test_a_new_revocation_list_counts_from_the_next_connection_on(start_tls, authority, theirs) -> None:
    node = start_tls(crl=authority.revoke())
    assert echo(node_at(node.port, authority, theirs)).answered
    authority.revoke(theirs)
    assert not echo(node_at(node.port, authority, theirs)).answered


def test_damaged_files_leave_the_last_good_ones_in_use(start_tls, authority, ours, theirs, caplog) -> None:
    node = start_tls()
    ours.certificate.write_text("no certificate")
    for _ in range(2):
        assert echo(node_at(node.port, authority, theirs)).answered
    assert caplog.text.count("LF-NET-043") == 1


@pytest.mark.parametrize("name", ["gateway", "GATEWAY.example.org"])
def test_a_title_bound_to_a_certificate(start_tls, authority, theirs, name: str) -> None:
    node = start_tls(certificate=name)
    assert echo(node_at(node.port, authority, theirs)).answered


def test_a_title_bound_to_the_certificate_of_another(start_tls, authority, theirs, caplog) -> None:
    node = start_tls(certificate="other.example.org")
    answer = echo(node_at(node.port, authority, theirs))
    assert "Calling AE title not recognised" in answer.detail
    assert "LF-NET-042" in caplog.text


def test_a_destination_has_to_prove_its_name(start_tls, authority, theirs, tmp_path) -> None:
    port = start_tls().port
    foreign = Authority(tmp_path / "foreign")
    assert "certificate refused" in echo(node_at(port, foreign, theirs)).detail
    wrong = authority.issue("elsewhere", hosts=["pacs.example.org"])
    with _tls_server(wrong, authority) as port:
        detail = echo(node_at(port, authority, theirs)).detail
    assert detail == "no association: no TLS handshake, certificate refused, IP address mismatch"


def test_a_destination_whose_certificate_is_revoked_gets_nothing(authority, ours, theirs, make_image) -> None:
    """The list is read for each connection: one that is renewed counts from the next on."""
    with _tls_server(ours, authority) as port:
        destination = node_at(port, authority, theirs, crl=authority.revoke(theirs))
        assert echo(destination).answered
        authority.revoke(ours)
        refused = "no TLS handshake, certificate refused, certificate revoked"
        assert echo(destination).detail == f"no association: {refused}"
        (receipt,) = send_objects(destination, [make_image(1)])
        assert (receipt.delivered, receipt.transient, refused in receipt.detail) == (False, True, True)
        authority.revoke(days=-1)
        assert "CRL has expired" in echo(destination).detail


def _tls_server(identity: Identity, authority: Authority):
    """pynetdicom's own server, in TLS of the standard library."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    entity = AE("PACS")
    entity.add_supported_context("1.2.840.10008.1.1")
    return _Running(entity.start_server(("127.0.0.1", 0), block=False, ssl_context=context))


class _Running:
    def __init__(self, server) -> None:
        self._server = server

    def __enter__(self) -> int:
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


HOSTILE = {
    "silent": b"",
    "plain DICOM": associate_request(),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "half a hello": bytes.fromhex("16030100c8010000c40303") + bytes(40),
    "a long record": bytes.fromhex("1603014000") + bytes(4000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_honest_sender_is_served_beside_hostile_connections(
    start_tls, peers, authority, theirs, kind: str
) -> None:
    node = start_tls(give_way_s=0.3)
    for _ in range(N_HOSTILE):
        peers(node.port).say(HOSTILE[kind])
    assert echo(node_at(node.port, authority, theirs)).answered


def test_an_honest_sender_is_served_beside_handshakes_without_request(start_tls, authority, theirs) -> None:
    """Of somebody with a good certificate, from the same address."""
    node = start_tls(give_way_s=0.3)
    hostile = [_handshaken(node.port, authority, theirs) for _ in range(N_HOSTILE)]
    assert echo(node_at(node.port, authority, theirs)).answered
    for connection in hostile:
        connection.close()


def test_a_crowd_of_one_address_does_not_push_out_another(start_tls, peers, authority, theirs) -> None:
    node = start_tls(request_timeout_s=600)
    honest = peers(node.port, "127.0.0.2")
    for _ in range(300):
        peers(node.port)
    honest.socket = _client(authority, theirs).wrap_socket(honest.socket, server_hostname="127.0.0.1")
    honest.established()


@pytest.mark.parametrize("said", [b"", HOSTILE["half a hello"]])
def test_a_handshake_has_a_deadline(start_tls, peers, caplog, said: bytes) -> None:
    peer = peers(start_tls(request_timeout_s=0.2).port)
    peer.say(said)
    assert peer.answer() == (0, b"")
    assert "LF-NET-009" in caplog.text


def test_a_request_in_pieces(start_tls, authority, theirs) -> None:
    """Each byte in a record of its own, then a long rest: none of it is lost on the way to pynetdicom."""
    peer = _peer(_handshaken(start_tls().port, authority, theirs))
    request = associate_request(padding=60_000)
    for at in range(20):
        peer.say(request[at : at + 1])
    peer.say(request[20:])
    assert peer.answer()[0] == 2


def test_one_address_cannot_take_all_places(start_tls, authority, theirs) -> None:
    node = start_tls(max_associations=4, max_per_address=2, give_way_s=60, request_timeout_s=0.5)
    held = [_peer(_handshaken(node.port, authority, theirs)).established() for _ in range(2)]
    third = _peer(_handshaken(node.port, authority, theirs))
    third.say(associate_request())
    assert third.answer() == (3, bytes([0, 2, 3, 2])), "rejected-transient, local-limit-exceeded"
    assert len(held) == 2


def _client(authority: Authority, identity: Identity) -> ssl.SSLContext:
    """A client of the standard library, without anything of ours."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(identity.certificate, identity.key)
    return context


def _handshaken(port: int, authority: Authority, identity: Identity) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    return _client(authority, identity).wrap_socket(plain, server_hostname="127.0.0.1")


def _peer(connection: socket.socket) -> Peer:
    peer = Peer.__new__(Peer)
    peer.socket = connection
    return peer


def _s_client(port: int, authority: Authority, identity: Identity, *options: str) -> str:
    """What OpenSSL's own client says; ``-legacy_renegotiation`` and old versions need security level 0."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(authority.ca)]
    command += ["-cert", str(identity.certificate), "-key", str(identity.key), *options]
    done = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("version", "spoken"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_that_are_spoken(start_tls, authority, theirs, program, version: str, spoken: str) -> None:
    program("openssl")
    said = _s_client(start_tls().port, authority, theirs, version)
    assert f"New, {spoken}" in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_versions_that_are_refused(start_tls, authority, theirs, program, version: str) -> None:
    program("openssl")
    said = _s_client(start_tls().port, authority, theirs, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said
    assert "alert protocol version" in said


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "AES256-SHA"])
def test_suites_of_1_2_that_are_refused(start_tls, authority, theirs, program, cipher: str) -> None:
    """No key exchange without forward secrecy, no CBC (RFC 9325 4.1, 4.2)."""
    program("openssl")
    said = _s_client(start_tls().port, authority, theirs, "-tls1_2", "-cipher", cipher)
    assert "Cipher is (NONE)" in said


def test_renegotiation_is_refused(start_tls, authority, theirs, program) -> None:
    program("openssl")
    said = _s_client(start_tls().port, authority, theirs, "-tls1_2")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said.lower() or "unexpected eof" in said.lower()


def test_sessions_are_not_resumed(start_tls, authority, theirs, program, tmp_path) -> None:
    program("openssl")
    node = start_tls()
    for version in ("-tls1_2", "-tls1_3"):
        kept = tmp_path / f"session{version}"
        _s_client(node.port, authority, theirs, version, "-sess_out", str(kept))
        options = ["-sess_in", str(kept)] if kept.exists() else []
        assert "Reused" not in _s_client(node.port, authority, theirs, version, *options)


def test_dcmtk_asks_and_sends(start_tls, authority, theirs, dcmtk, h5, tmp_path, source) -> None:
    node = start_tls()
    part = wrap(h5, tmp_path, source)[0]
    tls = ["+tls", str(theirs.key), str(theirs.certificate), "+cf", str(authority.ca)]
    titles = ["-aet", "GATEWAY", "-aec", "LFNODE"]
    subprocess.run([dcmtk("echoscu"), *tls, *titles, "127.0.0.1", str(node.port)], check=True, timeout=60)
    store = [dcmtk("storescu"), "-R", *tls, *titles, "127.0.0.1", str(node.port), str(part)]
    subprocess.run(store, check=True, timeout=60)
    assert len(node.kept) == 1


def test_dcmtk_receives(authority, ours, theirs, dcmtk, free_port, make_image, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = [dcmtk("storescp"), "-od", str(out), "+tls", str(ours.key), str(ours.certificate)]
    command += ["+cf", str(authority.ca), "-rc", str(free_port)]
    with subprocess.Popen(command) as server:
        try:
            peer = node_at(free_port, authority, theirs)
            while not echo(peer).answered:
                assert server.poll() is None
            (receipt,) = send_objects(peer, [make_image(1)])
            without = echo(node_at(free_port, authority, None))
        finally:
            server.terminate()
    assert receipt.delivered
    assert len(list(out.iterdir())) == 1
    assert not without.answered


def test_a_key_with_a_passphrase_is_refused_without_asking(authority, ours, program) -> None:
    command = [program("openssl"), "pkcs8", "-topk8", "-in", str(ours.key), "-out", str(ours.key) + ".enc"]
    subprocess.run([*command, "-passout", "pass:secret"], check=True)
    tls = ServerTls(certificate=ours.certificate, key=Path(str(ours.key) + ".enc"), ca=authority.ca)
    with pytest.raises(TlsError, match=r"LF-NET-043.*passphrase"):
        tls.context()


def test_files_that_do_not_belong_together(authority, ours, theirs, tmp_path) -> None:
    for certificate, key in ((ours.certificate, theirs.key), (ours.certificate, tmp_path / "none")):
        with pytest.raises(TlsError, match="LF-NET-043"):
            ServerTls(certificate=certificate, key=key, ca=authority.ca).context()


def test_pynetdicom_as_a_stranger(start_tls, authority, theirs) -> None:
    entity = AE("GATEWAY")
    entity.add_requested_context(RawDataStorage, ExplicitVRLittleEndian)
    context = _client(authority, theirs)
    node = start_tls()
    association = entity.associate("127.0.0.1", node.port, ae_title="LFNODE", tls_args=(context, "127.0.0.1"))
    assert association.is_established
    with suppress(RuntimeError):
        association.release()
