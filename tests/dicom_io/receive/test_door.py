"""Hostile and clumsy connections at the door: whoever speaks DICOM is served beside them."""

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from peer import DATA_SET, associate_request, command, fragment, pdu

from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.status import Status

N_HOSTILE = 64


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    return wrap(h5, tmp_path, source)[0]


HOSTILE = {
    "silent": b"",
    "one byte": b"\x01",
    "no DICOM": b"GET / HTTP/1.1\r\n\r\n",
    "4 GiB request": struct.pack(">BxL", 1, 0xFFFFFFFF),
    "half a request": associate_request()[:-30],
    "request and silence": associate_request(),
}
ESTABLISHED = {
    "idle": b"",
    "data set without end": command(DATA_SET) + fragment(bytes(1000), control=0),
    "4 GiB data": struct.pack(">BxL", 4, 0xFFFFFFFF),
    "half a PDU": command(DATA_SET)[:-10],
    "a refused object that goes on": command(DATA_SET) + fragment(bytes(16_000), control=0) * 70,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_honest_sender_is_served_beside_hostile_connections(
    start_node, peers, store, wrapped: Path, kind: str
) -> None:
    """From one address with all of them: only what they do tells them apart."""
    node = start_node(give_way_s=0.3)
    for _ in range(N_HOSTILE):
        peers(node.port).say(HOSTILE[kind])
    assert store(node.port, wrapped) == [Status.SUCCESS]


@pytest.mark.parametrize("kind", ESTABLISHED)
def test_an_honest_sender_is_served_beside_hostile_associations(
    start_node, peers, store, wrapped: Path, kind: str
) -> None:
    """Some have all the places that one address may have, the others wait for one."""
    node = start_node(give_way_s=0.3, max_per_address=8)
    for _ in range(8):
        peers(node.port).established().say(ESTABLISHED[kind])
    for _ in range(N_HOSTILE - 8):
        peers(node.port).say(associate_request())
    assert store(node.port, wrapped) == [Status.SUCCESS]


def test_one_address_cannot_take_all_places(start_node, peers) -> None:
    """Associations that all have just begun, so that none has to make way."""
    node = start_node(max_associations=4, max_per_address=3, give_way_s=60, request_timeout_s=0.5)
    for _ in range(3):
        peers(node.port).established()
    fourth = peers(node.port)
    fourth.say(associate_request())
    peers(node.port, "127.0.0.2").established()
    assert fourth.answer() == (3, bytes([0, 2, 3, 2])), "rejected-transient, local-limit-exceeded"


def test_a_connection_from_nowhere_is_closed_at_once(start_node, peers, caplog) -> None:
    policy = AccessPolicy(callers=(AllowedCaller.of("GATEWAY", ["127.0.0.2"]),))
    node = start_node(policy=policy, request_timeout_s=600)
    for _ in range(3):
        assert peers(node.port).answer() == (0, b"")
    peers(node.port, "127.0.0.2").established()
    (line,) = [record.getMessage() for record in caplog.records if "LF-NET-006" in record.getMessage()]
    assert "127.0.0.1" in line


@pytest.mark.parametrize("said", [b"", b"\x01", associate_request()[:-1]])
def test_a_request_that_does_not_come_in_time(start_node, peers, caplog, said: bytes) -> None:
    peer = peers(start_node(request_timeout_s=0.2).port)
    peer.say(said)
    assert peer.answer() == (0, b"")
    assert "LF-NET-009" in caplog.text


@pytest.mark.parametrize(
    "said", [HOSTILE["no DICOM"], HOSTILE["4 GiB request"], pdu(4, bytes(10)), pdu(1, bytes(131073))]
)
def test_what_is_no_request_is_ended_before_it_is_read(start_node, peers, caplog, said: bytes) -> None:
    peer = peers(start_node(request_timeout_s=600).port)
    peer.say(said[:6])
    assert peer.answer() == (0, b"")
    assert "LF-NET-007" in caplog.text


def test_half_a_request_whose_sender_is_gone(start_node, peers) -> None:
    peer = peers(start_node(request_timeout_s=600).port)
    peer.say(associate_request()[:50])
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.answer() == (0, b"")


def test_a_long_request_in_pieces(start_node, peers) -> None:
    """60 kB, the first bytes one by one."""
    peer = peers(start_node().port)
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = associate_request(padding=60_000)
    for at in range(20):
        peer.say(request[at : at + 1])
    peer.say(request[20:])
    assert peer.answer()[0] == 2


def test_more_connections_than_can_wait(start_node, peers, store, wrapped: Path) -> None:
    node = start_node(request_timeout_s=600)
    first = peers(node.port)
    for _ in range(300):
        peers(node.port)
    assert first.answer() == (0, b""), "the oldest silent one makes room"
    assert store(node.port, wrapped) == [Status.SUCCESS]


def test_those_who_are_sent_away_speak_at_the_same_moment(start_node, peers, store, wrapped: Path) -> None:
    node = start_node(request_timeout_s=600)
    crowd = [peers(node.port) for _ in range(256)]
    for _ in range(5):
        for peer in crowd:
            with suppress(OSError):
                peer.say(b"\x01\0\0\0\0\x10")
        crowd += [peers(node.port) for _ in range(50)]
    assert store(node.port, wrapped) == [Status.SUCCESS]


def test_an_association_that_is_served_does_not_make_way(start_node, peers, store, wrapped: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def enqueue(_: object) -> None:
        entered.set()
        assert leave.wait(30)

    node = start_node(on_received=enqueue, max_associations=1, give_way_s=0.001, request_timeout_s=0.3)
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.extend(store(node.port, wrapped)))
    sender.start()
    assert entered.wait(30)
    late = peers(node.port)
    late.say(associate_request())
    assert late.answer()[0] == 3
    leave.set()
    sender.join(30)
    assert answers == [Status.SUCCESS]


def test_a_silent_association_is_told_that_it_is_aborted(start_node, peers) -> None:
    node = start_node(max_associations=1, give_way_s=0.1)
    silent = peers(node.port).established()
    peers(node.port).established()
    assert silent.answer()[0] == 7


@pytest.mark.parametrize(
    "said",
    [
        fragment(bytes(10_000), control=1) * 20,  # a command without end
        (command(DATA_SET) + fragment(b"abcd", control=2)) * 500,  # requests without waiting for answers
        fragment(b"", control=3),  # a command without content
        pdu(4, struct.pack(">LB", 1, 1)),  # a value without control header
    ],
)
def test_what_no_sender_says_ends_the_association(start_node, peers, said: bytes) -> None:
    node = start_node()
    peer = peers(node.port).established()
    try:
        peer.say(said)
    except ConnectionError:
        return
    kinds = []
    while kind := peer.answer()[0]:
        kinds.append(kind)
    assert kinds[-1:] in ([7], [4]), "aborted, possibly after some answers"
