"""C-STORE commands that are not what PS3.7 9.3.1.1 asks for: each is answered, with a status and a code."""

import struct
from pathlib import Path

import pytest
from peer import DATA_SET, NO_DATA_SET, RAW_DATA, command, fragment
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status

SOP_CLASS, MESSAGE_ID, PRIORITY, DATA_SET_TYPE, SOP_INSTANCE = 0x0002, 0x0110, 0x0700, 0x0800, 0x1000
MOVE_ORIGINATOR, MOVE_ORIGINATOR_ID = 0x1030, 0x1031
NO_INSTANCE, NO_CLASS = Status.INVALID_SOP_INSTANCE, Status.SOP_CLASS_NOT_SUPPORTED

MALFORMED = {
    "no instance": ({SOP_INSTANCE: None}, NO_INSTANCE),
    "an empty instance": ({SOP_INSTANCE: b""}, NO_INSTANCE),
    "an instance of padding": ({SOP_INSTANCE: b"\0\0"}, NO_INSTANCE),
    "an instance of 65 characters": ({SOP_INSTANCE: b"1." + b"2" * 63 + b"\0"}, NO_INSTANCE),
    "an instance of 60 kB": ({SOP_INSTANCE: b"1." + b"2" * 60_000}, NO_INSTANCE),
    "an instance of letters": ({SOP_INSTANCE: b"1.2.abc\0"}, NO_INSTANCE),
    "an instance that is no text": ({SOP_INSTANCE: b"\xff\xfe\x80\x81"}, NO_INSTANCE),
    "two instances": ({SOP_INSTANCE: b"1.2.3\\4.5.6\0"}, NO_INSTANCE),
    "no class": ({SOP_CLASS: None}, NO_CLASS),
    "an empty class": ({SOP_CLASS: b""}, NO_CLASS),
    "a class of 66 characters": ({SOP_CLASS: b"1." + b"2" * 64}, NO_CLASS),
    "a class that nobody knows": ({SOP_CLASS: b"1.2.3.4\0"}, NO_CLASS),
    "a class of another service": ({SOP_CLASS: Verification.encode() + b"\0"}, NO_CLASS),
    "images": ({SOP_CLASS: ComputedRadiographyImageStorage.encode() + b"\0"}, NO_CLASS),
    "two classes": ({SOP_CLASS: RAW_DATA + b"\\" + RAW_DATA}, NO_CLASS),
    "an empty priority": ({PRIORITY: b""}, Status.UNREADABLE),
    "a priority that is none": ({PRIORITY: b"\xff\xff"}, Status.UNREADABLE),
    "half a priority": ({PRIORITY: b"\0"}, Status.UNREADABLE),
    "a move originator's message that is none": ({MOVE_ORIGINATOR_ID: b"\0"}, Status.UNREADABLE),
}


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    return wrap(h5, tmp_path, source)[0]


@pytest.fixture
def lines(caplog) -> "Lines":
    return Lines(caplog)


class Lines:
    """Our lines of the log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __iter__(self):
        return (r.getMessage() for r in self._caplog.records if r.name.startswith("lfmri_node"))


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("has_data_set", [True, False])
def test_a_malformed_request_is_answered_with_a_code(
    start_node, peers, lines, kind: str, has_data_set: bool
) -> None:
    """Its data set is read and dropped, so that the next request on the association is served."""
    change, status = MALFORMED[kind]
    node = start_node()
    peer = peers(node.port).established()
    data_set = fragment(b"abcd", control=0) + fragment(b"efgh", control=2) if has_data_set else b""
    peer.say(command(DATA_SET if has_data_set else NO_DATA_SET, message_id=7, change=change) + data_set)
    assert peer.status() == (7, status)
    (line,) = lines
    assert line.startswith("LF-NET-018" if status == NO_CLASS else "LF-NET-013")
    peer.say(command(DATA_SET, message_id=8) + fragment(b"efgh", control=2))
    assert peer.status() == (8, Status.DATA_SET_MISMATCH), "no Raw Data object, and so answered"
    assert node.kept == node.incoming == []


@pytest.mark.parametrize("change", [{PRIORITY: None}, {MOVE_ORIGINATOR: b"A" * 18}])
def test_what_the_node_does_not_need_may_be_wrong(start_node, peers, wrapped: Path, change: dict) -> None:
    node = start_node()
    peer = peers(node.port).established()
    (meta_length,) = struct.unpack_from("<I", wrapped.read_bytes(), 140)
    data_set = wrapped.read_bytes()[144 + meta_length :]
    uid = read_payload(wrapped).sop_instance_uid.encode()
    peer.say(command(DATA_SET, change={SOP_INSTANCE: uid + b"\0" * (len(uid) % 2), **change}))
    for at in range(0, len(data_set), 16_000):
        peer.say(fragment(data_set[at : at + 16_000], control=2 * (at + 16_000 >= len(data_set))))
    assert peer.status() == (1, Status.SUCCESS)
    assert len(node.kept) == 1


@pytest.mark.parametrize("data", [b"", fragment(b"", control=2)])
def test_a_request_without_data_set_is_answered(start_node, peers, data: bytes) -> None:
    node = start_node()
    peer = peers(node.port).established()
    peer.say(command(DATA_SET if data else NO_DATA_SET) + data)
    assert peer.status() == (1, Status.UNREADABLE)
    assert node.kept == node.incoming == []


@pytest.mark.parametrize(
    "said",
    [
        command(DATA_SET, change={MESSAGE_ID: None}),
        command(DATA_SET, change={MESSAGE_ID: b""}),
        command(DATA_SET, change={DATA_SET_TYPE: None}),
        command(DATA_SET, change={0x0100: None}),
        command(DATA_SET, change={0x0100: b"\x34\x12"}),
        command(DATA_SET) + command(DATA_SET, message_id=2),
    ],
    ids=[
        "no message ID",
        "an empty one",
        "no type of data set",
        "no command",
        "a foreign one",
        "two at once",
    ],
)
def test_what_cannot_be_answered_ends_the_association_and_is_told(
    start_node, peers, lines, said: bytes
) -> None:
    """Without message ID there is nothing that a response could name."""
    node = start_node()
    peer = peers(node.port).established()
    peer.say(said)
    kind = peer.answer()[0]
    while kind == 4:
        kind = peer.answer()[0]
    assert kind == 7, "aborted"
    assert [line.split(":")[0] for line in lines] == ["LF-NET-015"]
    node.listener.stop()
    assert node.kept == node.incoming == []


def test_a_command_in_many_fragments_with_reserved_bits(start_node, peers) -> None:
    """Only the two lowest bits of a control header count (PS3.8 E.2)."""
    node = start_node()
    peer = peers(node.port).established()
    whole = command(DATA_SET, change={SOP_INSTANCE: None})[12:]
    for at in range(0, len(whole) - 10, 10):
        peer.say(fragment(whole[at : at + 10], control=0xF9))
    at += 10
    peer.say(fragment(whole[at:], control=0xFF) + fragment(b"abcd", control=0xFE))
    assert peer.status() == (1, Status.INVALID_SOP_INSTANCE)


def test_a_response_names_what_the_request_named(start_node, peers) -> None:
    """What a response says of class and instance is what the request said, or nothing (PS3.7 9.1.1.1)."""
    peer = peers(start_node().port).established()
    peer.say(command(DATA_SET) + fragment(b"abcd", control=2))
    _, content = peer.answer()
    assert struct.pack("<HHI", 0, SOP_INSTANCE, 8) + b"1.2.3.4\0" in content
    peer.say(command(NO_DATA_SET, change={SOP_INSTANCE: b"1.2.abc\0"}))
    _, content = peer.answer()
    assert struct.pack("<HH", 0, SOP_INSTANCE) not in content
