"""MRD streams over TLS: who has a certificate of the node's authority may stream, and nobody else."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import Authority
from mrd_client import Sender, messages
from open_doors import IDENTITY, MRD, port_of

from lfmri_node.node.doors.streams import kept_streams


@pytest.fixture
def secured(node, authority: Authority) -> None:
    """The node, not started yet, takes streams over TLS alone."""
    ours = authority.issue("node", hosts=["127.0.0.1"])
    node.configure(
        f"{MRD}[mrd.tls]\ncertificate = '{ours.certificate}'\nkey = '{ours.key}'\nca = '{authority.ca}'\n"
    )


def scanner(authority: Authority, trusted: Authority | None = None, *, named: bool = True) -> ssl.SSLContext:
    """Python's own TLS, with a certificate of ``authority`` where it is ``named``."""
    context = ssl.create_default_context(cafile=(trusted or authority).ca)
    if named:
        identity = authority.issue("scanner")
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def test_a_stream_over_tls_is_a_job_and_its_images_come_back(node, secured, authority, make_scan) -> None:
    node.start()
    scan = make_scan(n_slices=2, identity=IDENTITY)
    with Sender(port_of(node), scanner(authority)) as sender:
        sender.say(*messages(scan, "lfmri-images"))
        said, images = sender.answer()
    assert said["held"] is False
    assert len(images) == 2
    (job,) = node.wait_finished()
    assert job.parent.startswith(said["job"])


def hears(port: int, context: ssl.SSLContext | None, parts: list[bytes]) -> bytes:
    """What somebody hears who streams all of it; nothing where the connection ends first."""
    try:
        with Sender(port, context) as sender:
            sender.say(*parts)
            return sender.connection.recv(1)
    except OSError:  # with TLS 1.3 a client learns it after its own handshake is over
        return b""


def test_who_proves_nothing_is_not_heard(node, secured, authority, make_scan, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign", "Foreign CA")
    node.start()
    parts = list(messages(make_scan(n_slices=1, identity=IDENTITY)))
    for context in (scanner(authority, named=False), scanner(foreign, authority), None):
        assert hears(port_of(node), context, parts) == b""
    assert node.stop() == 0
    told = "".join(node.lines)
    assert told.count("LF-DOR-013") > 0
    assert node.jobs() == []


def test_a_stranger_sees_the_certificate_and_no_old_version(
    node, secured, authority, program: Callable[[str], Path]
) -> None:
    node.start()
    ours = authority.issue("scanner")
    shows = ["-cert", str(ours.certificate), "-key", str(ours.key), "-CAfile", str(authority.ca)]
    connect = [str(program("openssl")), "s_client", "-connect", f"127.0.0.1:{port_of(node)}", *shows]
    seen = subprocess.run([*connect, "-brief"], input=b"", capture_output=True, check=False)
    assert b"Verification: OK" in seen.stderr
    old = subprocess.run([*connect, "-tls1_1"], input=b"", capture_output=True, check=False)
    assert old.returncode != 0


def test_a_cut_stream_over_tls_is_kept_as_incomplete(node, secured, authority, make_scan) -> None:
    node.start()
    parts = list(messages(make_scan(n_slices=1, identity=IDENTITY)))
    with Sender(port_of(node), scanner(authority)) as sender:
        sender.say(*parts[:-5])
        socket.socket.shutdown(sender.connection, socket.SHUT_WR)  # and no word of TLS
    assert node.stop() == 0
    assert [note.code for note in kept_streams(node.layout.spool)] == ["LF-DOR-001"]
    assert node.jobs() == []
