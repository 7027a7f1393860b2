"""Raw Data objects that others write by A.A.7.3 of the conformance statement; what is answered by A.A.7.4.

Nothing here is written by our own writer: the elements are those of the statement's table, typed off.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from peer import DATA_SET, NO_DATA_SET, Peer, command, fragment
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from lfmri_node.dicom_io.raw_data.payload import open_payload

STATEMENT = Path(__file__).parents[3] / "deploy" / "docs" / "conformance.md"
RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"
GROUP, CREATOR = 0x7FD1, "LFMRI ISMRMRD 1.0"
FORMAT, LENGTH, PART_HASH, HDF5_GROUP, PART, PARTS, HASH, TOTAL, PAYLOAD = (1, 2, 3, 4, 5, 6, 7, 8, 16)
FILE = b"".join(struct.pack("<I", n) for n in range(300)) + b"odd"
STORED, UID = 0x0000, "1.2.826.0.1.3680043.8.498.77"


def written(
    payload: bytes = FILE, *, part: int = 1, parts: int = 1, file: bytes | None = None, block: int = 0x10
) -> Dataset:
    """An object of one part, by the rules."""
    whole = payload if file is None else file
    dataset = Dataset()
    dataset.SOPClassUID = RAW_DATA
    dataset.SOPInstanceUID = f"{UID}.{part}"
    dataset.PatientID, dataset.StudyInstanceUID = "4711", "1.2.826.0.1.3680043.8.498.1"
    dataset.add_new((GROUP, block), "LO", CREATOR)
    values = {
        FORMAT: ("LO", "ISMRMRD-HDF5"),
        LENGTH: ("UL", len(payload)),
        PART_HASH: ("LO", hashlib.sha256(payload).hexdigest()),
        HDF5_GROUP: ("LO", "dataset"),
        PART: ("US", part),
        PARTS: ("US", parts),
        HASH: ("LO", hashlib.sha256(whole).hexdigest()),
        TOTAL: ("LO", str(len(whole))),
        PAYLOAD: ("OB", payload + bytes(len(payload) % 2)),
    }
    for number, (vr, value) in values.items():
        dataset.add_new((GROUP, block << 8 | number), vr, value)
    return dataset


def in_parts(file: bytes = FILE, n: int = 3) -> list[Dataset]:
    size = -(-len(file) // n)
    pieces = [file[at : at + size] for at in range(0, len(file), size)]
    return [written(piece, part=i, parts=n, file=file) for i, piece in enumerate(pieces, start=1)]


def encoded(dataset: Dataset, tmp_path: Path, *, implicit: bool = False) -> bytes:
    path = tmp_path / "encoded"
    dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)
    return path.read_bytes()


@dataclass(frozen=True)
class Sent:
    """One C-STORE request: a data set as bytes, and what its command names."""

    data: bytes
    instance: str = f"{UID}.1"
    sop_class: str = RAW_DATA


Send = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def send(peers: Callable[..., Peer]) -> Send:
    """``send(port, *requests)``: status and error code of each, over one association."""

    def over(port: int, *requests: Sent, syntax: str = ExplicitVRLittleEndian) -> list[tuple[int, str]]:
        peer = peers(port).established(syntax)
        answers = []
        for request in requests:
            change = {0x0002: even(request.sop_class), 0x1000: even(request.instance)}
            peer.say(command(DATA_SET if request.data else NO_DATA_SET, change=change))
            for at in range(0, len(request.data), 16_000):
                last = at + 16_000 >= len(request.data)
                peer.say(fragment(request.data[at : at + 16_000], control=2 if last else 0))
            answer = peer.response()
            answers.append((int(answer.Status), str(answer.get("ErrorComment", ""))[:10]))
        return answers

    return over


def even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("block", [0x10, 0xA7])
def test_one_object_is_accepted(start_node, send, tmp_path, syntax: str, block: int) -> None:
    node = start_node()
    data = encoded(written(block=block), tmp_path, implicit=syntax == ImplicitVRLittleEndian)
    assert send(node.port, Sent(data), syntax=syntax) == [(STORED, "")]
    (received,) = node.received
    with open_payload(received.parts) as payload:
        assert payload.read() == FILE


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_parts_are_accepted_in_any_order(start_node, send, tmp_path, order: Sequence[int]) -> None:
    node, parts = start_node(), in_parts()
    requests = [Sent(encoded(parts[n], tmp_path), parts[n].SOPInstanceUID) for n in order]
    assert send(node.port, *requests) == [(STORED, "")] * 3
    (received,) = node.received
    with open_payload(received.parts) as payload:
        assert payload.read() == FILE


def test_the_same_again_is_accepted_and_kept_once(start_node, send, tmp_path) -> None:
    node, data = start_node(), encoded(written(), tmp_path)
    other = written()
    other.SOPInstanceUID = "1.2.3"
    again = Sent(encoded(other, tmp_path), "1.2.3")
    assert send(node.port, Sent(data), Sent(data), again) == [(STORED, "")] * 3
    assert len(node.kept) == 1


def cases() -> list[tuple[str, int, str]]:
    """Name, status and code of each row of A.A.7.4."""
    section = STATEMENT.read_text(encoding="utf-8").partition("#### A.A.7.4")[2].partition("####")[0]
    for name, status, code in re.findall(
        r"^\| ([\w-]+) \| .* \| 0x(\w{4}) \| (\S+) \|$", section, re.MULTILINE
    ):
        yield name, int(status, 16), code


def changed(**values: object) -> Dataset:
    dataset = written()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def without(*tags: int | tuple[int, int]) -> Dataset:
    dataset = written()
    for tag in tags:
        del dataset[(GROUP, 0x1000 | tag) if isinstance(tag, int) else tag]
    return dataset


def with_element(dataset: Dataset, number: int, value: object) -> Dataset:
    dataset[(GROUP, 0x1000 | number)].value = value
    return dataset


def other_creator() -> Dataset:
    dataset = written()
    dataset[(GROUP, 0x0010)].value = "SOMEBODY ELSE"
    return dataset


def no_block() -> Dataset:
    dataset = written()
    for element in list(dataset.group_dataset(GROUP)):
        del dataset[element.tag]
    return dataset


def upper_case() -> Dataset:
    digest = hashlib.sha256(FILE).hexdigest().upper()
    return with_element(with_element(written(), PART_HASH, digest), HASH, digest)


def long_head() -> Dataset:
    dataset = written()
    for number in range(0x1000, 0x1020):
        dataset.add_new((0x0009, number), "UN", bytes(60_000))
    return dataset


def many_elements() -> Dataset:
    dataset = written()
    for number in range(0x1000, 0x8000):
        dataset.add_new((0x0009, number), "UN", b"")
    return dataset


def undefined_length(data: bytes) -> bytes:
    """The payload as one fragment of an encapsulated value (PS3.5 A.4), which only pixel data may be."""
    head = struct.pack("<HH2sHI", GROUP, 0x1000 | PAYLOAD, b"OB", 0, len(FILE) + 1)
    at = data.index(head)
    items = struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, len(FILE) + 1)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return data[:at] + head[:8] + b"\xff" * 4 + items + data[at + 12 :] + end


def endless_sequence(data: bytes) -> bytes:
    """Before the block, a sequence of undefined length that nothing ends."""
    at = data.index(struct.pack("<HH", GROUP, 0x0010))
    return data[:at] + struct.pack("<HH2sHI", 0x0040, 0x0555, b"SQ", 0, 0xFFFFFFFF) + data[at:]


ONE: dict[str, Callable[[], Dataset]] = {
    "other-class": lambda: changed(SOPClassUID=SecondaryCaptureImageStorage),
    "other-instance": lambda: changed(SOPInstanceUID="1.2.3"),
    "no-instance": lambda: changed(SOPInstanceUID=""),
    "no-patient": lambda: changed(PatientID=""),
    "no-study": lambda: without((0x0020, 0x000D)),
    "long-head": long_head,
    "many-elements": many_elements,
    "no-block": no_block,
    "other-creator": other_creator,
    "no-format": lambda: without(FORMAT),
    "other-format": lambda: with_element(written(), FORMAT, "ISMRMRD-HDF6"),
    "no-length": lambda: without(LENGTH),
    "no-group": lambda: with_element(written(), HDF5_GROUP, ""),
    "upper-case": upper_case,
    "no-number": lambda: with_element(written(), TOTAL, "many"),
    "no-payload": lambda: without(PAYLOAD),
    "wrong-length": lambda: with_element(written(), PAYLOAD, FILE + b"\0\0\0"),
    "other-bytes": lambda: with_element(written(), PAYLOAD, bytes(len(FILE) + 1)),
    "part-zero": lambda: with_element(written(), PART, 0),
    "part-beyond": lambda: with_element(written(), PART, 2),
    "longer-than-file": lambda: with_element(in_parts()[0], TOTAL, "9"),
    "single-hash": lambda: with_element(written(), HASH, "f" * 64),
}
"""One object that is not right."""


def same_number() -> list[Dataset]:
    first, second, _ = in_parts()
    return [first, with_element(second, PART, 1)]


def swapped() -> list[Dataset]:
    first, second, third = in_parts(FILE[:1200])
    return [with_element(first, PART, 2), with_element(second, PART, 1), third]


def renamed(dataset: Dataset, **values: object) -> Dataset:
    """Under another SOP Instance UID unless one is given."""
    for keyword, value in ({"SOPInstanceUID": "1.2.3.4"} | values).items():
        setattr(dataset, keyword, value)
    return dataset


SEVERAL: dict[str, Callable[[], list[Dataset]]] = {
    "other-count": lambda: [in_parts()[0], with_element(in_parts()[1], PARTS, 4)],
    "same-number": same_number,
    "swapped": swapped,
    "part-of-other-patient": lambda: [in_parts()[0], renamed(in_parts()[1], PatientID="4712")],
    "part-with-other-words": lambda: [in_parts()[0], renamed(in_parts()[1], AccessionNumber="A1")],
    "changed-instance": lambda: [written(), renamed(written(b"others"), SOPInstanceUID=f"{UID}.1")],
    "other-patient": lambda: [written(), renamed(written(), PatientID="4712")],
    "other-words": lambda: [written(), renamed(written(), AccessionNumber="A1")],
}
"""Objects of which the last is not right."""

BYTES: dict[str, Callable[[bytes], Sent]] = {
    "command-class": lambda data: Sent(data, sop_class=SecondaryCaptureImageStorage),
    "command-instance": lambda data: Sent(data, instance="1.2.abc"),
    "no-data-set": lambda _: Sent(b""),
    "no-dicom": lambda _: Sent(b"This is a text and no DICOM at all." * 5),
    "endless-sequence": lambda data: Sent(endless_sequence(data)),
    "undefined-length": lambda data: Sent(undefined_length(data)),
    "cut-off": lambda data: Sent(data[:-100]),
}
"""One object that is right, and what becomes of it on the way."""

SETTINGS = {"too-long": {"max_payload_bytes": 500}, "no-room": {"min_free_bytes": 1 << 60}}
"""One object that is right, and a node that does not take it."""


@pytest.mark.parametrize(("name", "status", "code"), cases(), ids=str)
def test_what_breaks_a_rule_gets_the_status_of_the_statement(
    start_node, send, tmp_path, name: str, status: int, code: str
) -> None:
    node = start_node(**SETTINGS.get(name, {}))
    if name in BYTES:
        requests = [BYTES[name](encoded(written(), tmp_path))]
    else:
        objects = SEVERAL[name]() if name in SEVERAL else [ONE.get(name, written)()]
        named = f"{UID}.1" if name in ("other-instance", "no-instance") else None
        requests = [Sent(encoded(d, tmp_path), named or d.SOPInstanceUID) for d in objects]
    *before, last = send(node.port, *requests)
    assert last == (status, code)
    assert before == [(STORED, "")] * len(before)
    assert len(node.kept) == len(before)


def test_every_row_has_its_object_and_every_object_its_row() -> None:
    assert sorted(name for name, _, _ in cases()) == sorted([*ONE, *SEVERAL, *BYTES, *SETTINGS])
