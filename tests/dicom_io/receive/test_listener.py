"""The listener on real sockets: who is let in, what is promised with success, what survives."""

import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, RawDataStorage
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.errors import ListenerRefusal
from lfmri_node.dicom_io.raw_data.payload import open_payload, read_payload
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement, parse_measurement
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.status import Status

REJECTED_PERMANENT, BY_USER = 1, 1


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    return wrap(h5, tmp_path, source)[0]


@pytest.fixture
def parts(h5: Path, tmp_path: Path, source: dict[str, object]) -> list[Path]:
    (tmp_path / "parts").mkdir()
    return wrap(h5, tmp_path / "parts", source, max_part_bytes=30_000)


def test_an_object_is_kept_and_passed_on(start_node, store, wrapped: Path, h5: Path, tmp_path: Path) -> None:
    node = start_node()
    assert store(node.port, wrapped) == [Status.SUCCESS]
    (received,) = node.received
    assert received.sha256 == hashlib.sha256(h5.read_bytes()).hexdigest()
    assert received.size_bytes == h5.stat().st_size
    assert received.calling_ae == "GATEWAY"
    assert received.paths == tuple(node.kept)
    with open_payload(received.parts) as window:
        assert window.read() == h5.read_bytes()
    assert node.incoming == []


def test_implicit_vr_is_received_and_opened_in_place(start_node, store, wrapped: Path, h5: Path) -> None:
    node = start_node()
    assert store(node.port, wrapped, syntax=ImplicitVRLittleEndian) == [Status.SUCCESS]
    with open_payload(node.received[0].parts) as window, h5py.File(window) as there, h5py.File(h5) as here:
        np.testing.assert_array_equal(there["dataset/data"][:], here["dataset/data"][:])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("option", "syntax"), [("-xe", ExplicitVRLittleEndian), ("-xi", ImplicitVRLittleEndian)]
)
def test_dcmtk_sends_to_us(
    start_node, dcmtk, wrapped: Path, h5: Path, tmp_path: Path, option: str, syntax: str
) -> None:
    node = start_node()
    called = ["-aet", "GATEWAY", "-aec", "LFNODE", "127.0.0.1", str(node.port)]
    subprocess.run([dcmtk("echoscu"), *called], check=True, timeout=120)
    subprocess.run([dcmtk("storescu"), "-R", option, *called, wrapped], check=True, timeout=120)
    with open_payload(node.received[0].parts) as window:
        assert window.read() == h5.read_bytes()
    with node.kept[0].open("rb") as file:
        assert syntax.encode() + b"\0" in file.read(400)


@pytest.mark.integration
def test_dcmtk_is_rejected_when_it_is_not_listed(start_node, dcmtk, wrapped: Path) -> None:
    node = start_node()
    called = ["-aet", "STRANGER", "-aec", "LFNODE", "127.0.0.1", str(node.port)]
    done = subprocess.run(
        [dcmtk("storescu"), "-v", *called, wrapped], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr
    assert node.kept == []


@pytest.mark.parametrize(
    ("calling", "called", "networks", "reason", "code"),
    [
        ("STRANGER", "LFNODE", ["127.0.0.1"], 3, "LF-NET-001"),
        ("OTHER", "LFNODE", ["127.0.0.1"], 3, "LF-NET-002"),
        ("GATEWAY", "SOMEBODY", ["127.0.0.1"], 7, "LF-NET-003"),
    ],
)
def test_who_is_not_listed_is_rejected(
    start_node, associate, caplog, calling: str, called: str, networks: list[str], reason: int, code: str
) -> None:
    callers = (AllowedCaller.of("GATEWAY", networks), AllowedCaller.of("OTHER", ["192.0.2.0/24"]))
    node = start_node(policy=AccessPolicy(callers=callers))
    association = associate(node.port, calling=calling, called=called)
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (REJECTED_PERMANENT, BY_USER, reason)
    node.listener.stop()
    (line,) = [record for record in caplog.records if record.name.startswith("lfmri_node")]
    assert code in line.getMessage()


def test_nobody_is_listed_by_default(start_node, associate) -> None:
    assert associate(start_node(policy=AccessPolicy()).port).is_aborted


def test_echo(start_node, associate) -> None:
    association = associate(start_node().port, classes=(Verification,))
    assert association.send_c_echo().Status == Status.SUCCESS


def test_only_raw_data_is_negotiated(start_node, associate, caplog) -> None:
    node = start_node()
    association = associate(node.port, classes=(MRImageStorage,))
    (context,) = association.rejected_contexts
    assert context.result == 3, "abstract-syntax-not-supported, PS3.8 table 9-18"
    association.release()
    node.listener.stop()
    (line,) = [record for record in caplog.records if record.name.startswith("lfmri_node")]
    assert "LF-NET-005" in line.getMessage()
    assert MRImageStorage in line.getMessage()


def test_the_limit_of_associations(start_node, associate) -> None:
    node = start_node(max_associations=1, request_timeout_s=0.3, give_way_s=60)
    first = associate(node.port)
    assert first.is_established
    second = associate(node.port)
    answer = second.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2), "local-limit-exceeded"


def test_the_pdu_length_and_the_delay_option(start_node, associate) -> None:
    node = start_node()
    association = associate(node.port)
    assert association.acceptor.maximum_length == 131072
    (ours,) = node.listener._server.active_associations
    sock = ours.dul.socket.socket
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_order_of_safety(start_node, store, wrapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, rename, the value beside it, fsync of the directory, on_received; then an answer."""
    steps: list[tuple[str, int, int]] = []
    spool: dict[str, Path] = {}
    fsync = os.fsync

    def step(name: str) -> None:
        counts = [len(list((spool["root"] / where).iterdir())) for where in ("incoming", "objects")]
        steps.append((name, counts[0], counts[1]))

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        step("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().parent.name)

    node = start_node(on_received=lambda _: step("on_received"))
    spool["root"] = node.root
    monkeypatch.setattr(os, "fsync", recorded)
    assert store(node.port, wrapped) == [Status.SUCCESS]
    assert steps == [
        ("fsync incoming", 1, 0),
        ("fsync objects", 0, 2),
        ("fsync spool", 0, 2),
        ("on_received", 0, 2),
    ]


def test_success_waits_for_on_received(start_node, store, wrapped: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def enqueue(_: ReceivedMeasurement) -> None:
        entered.set()
        assert leave.wait(30)

    node = start_node(on_received=enqueue)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(store, node.port, wrapped)
        assert entered.wait(30)
        assert len(node.kept) == 1
        assert not answer.done()
        leave.set()
        assert answer.result(30) == [Status.SUCCESS]


def test_a_refusal_of_on_received_is_answered_and_heals(start_node, store, wrapped: Path) -> None:
    """The queue cannot be written: the sender is told, the object stays, the next try succeeds."""
    full = [True]

    def enqueue(_: ReceivedMeasurement) -> None:
        if full.pop() if full else False:
            raise ListenerRefusal("LF-JOB-001", "queue", "wait", status=Status.OUT_OF_RESOURCES)

    node = start_node(on_received=enqueue)
    assert store(node.port, wrapped) == [Status.OUT_OF_RESOURCES]
    assert [list(m.paths) for m in node.listener.spool.pending()] == [node.kept]
    assert store(node.port, wrapped) == [Status.SUCCESS]
    assert len(node.kept) == 1


def test_an_unexpected_error_is_never_success(start_node, store, wrapped: Path) -> None:
    def enqueue(_: ReceivedMeasurement) -> None:
        raise RuntimeError("broken")

    node = start_node(on_received=enqueue)
    (status,) = store(node.port, wrapped)
    assert 0xC000 <= status <= 0xCFFF
    assert len(node.kept) == 1


def test_the_same_object_again_is_success_and_one_file(start_node, store, wrapped: Path) -> None:
    node = start_node()
    assert store(node.port, wrapped, wrapped) == [Status.SUCCESS, Status.SUCCESS]
    assert store(node.port, wrapped) == [Status.SUCCESS]
    assert len(node.kept) == 1
    assert len(node.received) == 3
    assert {payload.paths for payload in node.received} == {tuple(node.kept)}
    assert node.incoming == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_scan_in_parts_is_passed_on_with_its_last_part(
    start_node, store, parts: list[Path], h5: Path, order: tuple[int, ...]
) -> None:
    node = start_node()
    assert len(parts) == 3
    *first, last = (parts[i] for i in order)
    assert store(node.port, *first) == [Status.SUCCESS, Status.SUCCESS]
    assert node.received == []
    assert node.listener.spool.pending() == ()
    assert store(node.port, last) == [Status.SUCCESS]
    (received,) = node.received
    assert len(received.parts) == 3
    assert received.context.source_instances == parse_measurement(parts).context.source_instances
    with open_payload(received.parts) as window:
        assert window.read() == h5.read_bytes()


def test_what_was_received_is_known_after_a_restart(
    start_node, store, parts: list[Path], tmp_path: Path, source: dict[str, object]
) -> None:
    (tmp_path / "other.h5").write_bytes(b"another measurement")
    (other,) = wrap(tmp_path / "other.h5", tmp_path, source)
    first = start_node()
    assert store(first.port, *parts, other) == [Status.SUCCESS] * 4
    first.listener.stop()
    second = start_node()
    pending = second.listener.spool.pending()
    assert pending == tuple(first.received)
    assert [payload.calling_ae for payload in pending] == ["GATEWAY", "GATEWAY"]
    assert store(second.port, other) == [Status.SUCCESS]
    assert second.received == [pending[1]]
    assert len(second.kept) == 4


def test_parts_meet_across_a_restart(start_node, store, parts: list[Path]) -> None:
    first = start_node()
    store(first.port, *parts[:2])
    first.listener.stop()
    second = start_node()
    assert second.listener.spool.pending() == ()
    store(second.port, parts[2])
    assert [len(measurement.parts) for measurement in second.received] == [3]


def test_leftovers_are_swept_at_start_and_only_ours(start_node, tmp_path: Path) -> None:
    incoming = tmp_path / "spool" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"{'0a' * 16}.part").write_bytes(b"broken transfer")
    (incoming / "notes.txt").write_text("somebody else's")
    node = start_node()
    assert [path.name for path in node.incoming] == ["notes.txt"]


def test_a_damaged_file_in_the_spool_is_told_and_left_alone(start_node, tmp_path: Path, caplog) -> None:
    objects = tmp_path / "spool" / "objects"
    objects.mkdir(parents=True)
    (objects / f"{'ab' * 32}.dcm").write_bytes(b"damaged")
    node = start_node()
    assert "LF-NET-020" in caplog.text
    assert node.listener.spool.pending() == ()
    assert len(node.kept) == 1


def store_fragments(wrapped: Path, longest: int = 16384) -> list[bytes]:
    """The P-DATA-TF PDUs of a C-STORE request."""
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = RawDataStorage
    request.AffectedSOPInstanceUID = read_payload(wrapped).sop_instance_uid
    request.Priority = 2
    meta = pydicom.filereader.read_file_meta_info(wrapped)
    request.DataSet = BytesIO(wrapped.read_bytes()[144 + meta.FileMetaInformationGroupLength :])
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    return [P_DATA_TF(primitive).encode() for primitive in message.encode_msg(1, longest)]


def raw_socket(association: Association) -> socket.socket:
    """The socket of an association whose reactor keeps its hands off."""
    association._reactor_checkpoint.clear()
    return association.dul.socket.socket


def wait_for_the_end(node) -> None:
    """Until the listener has given every association up."""
    for association in node.listener._server.active_associations:
        association.join(30)
        assert not association.is_alive()


@pytest.mark.parametrize("cut", [0, 3, 100])
@pytest.mark.parametrize("kept", [1, 2, 4])
def test_a_sender_that_dies_midway_leaves_nothing(
    start_node, associate, wrapped: Path, kept: int, cut: int
) -> None:
    """After the command, between two PDUs, within a PDU and within its header."""
    node = start_node()
    raw = raw_socket(associate(node.port))
    pdus = store_fragments(wrapped)
    raw.sendall(b"".join(pdus[:kept]) + pdus[kept][:cut])
    raw.shutdown(socket.SHUT_RDWR)
    wait_for_the_end(node)
    assert node.incoming == node.kept == node.received == []


def test_a_sender_that_falls_silent_is_dropped(start_node, associate, wrapped: Path) -> None:
    node = start_node(network_timeout_s=0.3)
    raw_socket(associate(node.port)).sendall(b"".join(store_fragments(wrapped)[:4])[:-100])
    wait_for_the_end(node)
    assert node.incoming == []


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack(">BBI", 4, 0, 200_000),  # a PDU longer than what was agreed
        struct.pack(">BBIIBB", 4, 0, 6, 500, 1, 0),  # a value longer than its PDU
        struct.pack(">BBIIBB", 4, 0, 6, 1, 1, 0),  # a value without control header
        struct.pack(">BBII", 4, 0, 4, 2),  # a value that is cut off
        struct.pack(">BBI", 9, 0, 0),  # no PDU of the standard
    ],
)
def test_nonsense_among_the_data_ends_the_association(
    start_node, associate, wrapped: Path, nonsense: bytes
) -> None:
    node = start_node()
    raw = raw_socket(associate(node.port))
    raw.sendall(b"".join(store_fragments(wrapped)[:3]) + nonsense)
    wait_for_the_end(node)
    assert node.incoming == node.kept == []


@pytest.mark.parametrize("together", [2, 3, 100])
def test_command_and_data_in_one_pdu(start_node, associate, wrapped: Path, together: int) -> None:
    """PS3.8 9.3.5: a PDU holds one or more presentation data values."""
    node = start_node()
    association = associate(node.port)
    raw = raw_socket(association)
    pdus = store_fragments(wrapped, 1024)
    values = b"".join(pdu[6:] for pdu in pdus[:together])
    raw.sendall(struct.pack(">BBI", 4, 0, len(values)) + values + b"".join(pdus[together:]))
    _, answer = association.dimse.get_msg(block=True)
    assert answer.Status == Status.SUCCESS
    association._reactor_checkpoint.set()


@pytest.mark.parametrize("longest", [512, 4096, 131072])
def test_any_pdu_length_of_the_sender(start_node, associate, wrapped: Path, longest: int) -> None:
    node = start_node()
    association = associate(node.port)
    raw_socket(association).sendall(b"".join(store_fragments(wrapped, longest)))
    _, answer = association.dimse.get_msg(block=True)
    assert answer.Status == Status.SUCCESS
    assert node.kept[0].read_bytes().endswith(wrapped.read_bytes()[-60_000:])
    association._reactor_checkpoint.set()


def test_an_abort_among_the_data(start_node, associate, wrapped: Path) -> None:
    node = start_node()
    association = associate(node.port)
    raw = raw_socket(association)
    raw.sendall(b"".join(store_fragments(wrapped)[:3]) + struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0))
    wait_for_the_end(node)
    assert node.incoming == node.kept == []


def test_stopping_lets_a_transfer_finish(start_node, store, associate, wrapped: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def enqueue(_: ReceivedMeasurement) -> None:
        entered.set()
        assert leave.wait(30)

    node = start_node(on_received=enqueue)
    port = node.port
    idle = associate(port)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(store, port, wrapped)
        assert entered.wait(30)
        stopped = pool.submit(node.listener.stop)
        leave.set()
        assert answer.result(30) == [Status.SUCCESS]
        stopped.result(30)
    idle.join(30)
    assert idle.is_aborted
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_an_object_too_long_is_refused_and_the_association_lives_on(
    start_node, store, parts: list[Path], wrapped: Path
) -> None:
    node = start_node(max_payload_bytes=40_000)
    assert store(node.port, wrapped, parts[0]) == [Status.TOO_LARGE, Status.SUCCESS]
    assert len(node.kept) == 1
    assert node.incoming == []


def test_no_space_is_refused_before_it_runs_out(start_node, store, wrapped: Path, caplog) -> None:
    node = start_node(min_free_bytes=1 << 62)
    assert store(node.port, wrapped) == [Status.OUT_OF_RESOURCES]
    assert node.kept == node.incoming == []
    assert "LF-NET-012" in caplog.text


def test_a_data_set_missing_altogether(start_node, associate) -> None:
    """CommandDataSetType 0x0101: no data set follows."""
    node = start_node()
    association = associate(node.port)
    raw = raw_socket(association)
    elements = [
        (0x0002, str(RawDataStorage).encode() + b"\0"),
        (0x0100, struct.pack("<H", 0x0001)),
        (0x0110, struct.pack("<H", 1)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 0x0101)),
        (0x1000, b"1.2.3.4\0"),
    ]
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in elements)
    command = struct.pack("<HHII", 0, 0, 4, len(body)) + body
    pdv = struct.pack(">IBB", len(command) + 2, 1, 3) + command
    raw.sendall(struct.pack(">BBI", 4, 0, len(pdv)) + pdv)
    _, answer = association.dimse.get_msg(block=True)
    assert answer.Status == Status.UNREADABLE
    association._reactor_checkpoint.set()


def test_neither_numerics_nor_hdf5_is_imported() -> None:
    script = "import sys, json, lfmri_node.dicom_io.receive.listener; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "sigpy", "dbos", "h5py", "ismrmrd"} & set(json.loads(done.stdout))


@pytest.mark.integration
def test_memory_of_the_receiver(dcmtk: Callable[[str], Path], tmp_path: Path, peak_kib: str) -> None:
    """200 MB in one object; a receiver that collected it in memory would need more than that."""
    (tmp_path / "in.h5").touch()
    os.truncate(tmp_path / "in.h5", 200_000_000)
    (path,) = wrap(tmp_path / "in.h5", tmp_path, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})
    script = (
        peak_kib
        + """
import sys
from pathlib import Path
from lfmri_node.dicom_io.receive.listener import Listener, ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy

policy = AccessPolicy(any_caller=True)
settings = ListenerSettings(port=0, spool=Path(sys.argv[1]), policy=policy, min_free_bytes=0)
with Listener(settings, lambda payload: None) as listener:
    print(listener.port, flush=True)
    sys.stdin.read()
print(peak_kib())
"""
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "spool"], stdin=-1, stdout=-1, text=True
    ) as node:
        port = node.stdout.readline().strip()
        sent = ["--max-pdu", "131072", "-aec", "LFNODE", "-R", "127.0.0.1", port, path]
        subprocess.run([dcmtk("storescu"), *sent], check=True, timeout=120)
        peak, _ = node.communicate(timeout=120)
    assert int(peak) < 150 * 1024
