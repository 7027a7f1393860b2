"""Delivery by C-STORE to real SCPs: scripted with pynetdicom, DCMTK's storescp, Orthanc, our listener."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.uid import SecondaryCaptureImageStorage as SecondaryCapture
from pynetdicom import AE, evt
from pynetdicom.pdu import A_RELEASE_RQ
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.errors import DeliveryError
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status


class ScriptedPacs:
    """A storage SCP that does what ``answer`` says with the n-th object, and remembers what it saw."""

    def __init__(
        self, answer: Callable[[evt.Event, int], int], classes: tuple[str, ...], **ae: object
    ) -> None:
        self.objects: list[bytes] = []
        self.contexts: list[tuple[str, list[str]]] = []
        self.released = threading.Event()
        self.answer = answer
        entity = AE("PACS")
        entity.require_called_aet = True
        for name, value in ae.items():
            setattr(entity, name, value)
        for sop_class in classes:
            entity.add_supported_context(sop_class)
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, lambda _: self.released.set()),
        ]
        self.entity = entity
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)

    def _requested(self, event: evt.Event) -> None:
        proposed = event.assoc.requestor.primitive.presentation_context_definition_list
        self.contexts = [(c.abstract_syntax, list(c.transfer_syntax)) for c in proposed]

    def _store(self, event: evt.Event) -> int:
        self.objects.append(event.request.DataSet.getvalue())
        return self.answer(event, len(self.objects) - 1)

    @property
    def destination(self) -> DicomDestination:
        return to(self.server.server_address[1])


def to(port: int, **changes: object) -> DicomDestination:
    settings: dict[str, object] = {
        "name": "pacs",
        "host": "127.0.0.1",
        "port": port,
        "ae_title": "PACS",
        "calling_ae_title": "LFNODE",
        "answer_timeout_s": 30,
    }
    return DicomDestination(**(settings | changes))


@pytest.fixture
def pacs() -> Iterator[Callable[..., ScriptedPacs]]:
    with ExitStack() as stack:

        def start(
            answer: Callable[[evt.Event, int], int] = lambda _event, _n: 0x0000,
            classes: tuple[str, ...] = (Verification, MRImageStorage, SecondaryCapture),
            **ae: object,
        ) -> ScriptedPacs:
            started = ScriptedPacs(answer, classes, **ae)
            stack.callback(started.entity.shutdown)
            return started

        yield start


def wait_until_it_listens(port: int) -> None:
    """A foreign program has no event to wait for."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    pytest.fail("the program does not listen")


def dataset_bytes(path: Path) -> bytes:
    meta = pydicom.filereader.read_file_meta_info(path)
    return path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]


def test_objects_arrive_byte_for_byte_with_a_receipt_each(pacs, make_image) -> None:
    there = pacs()
    objects = [make_image(n) for n in range(5)]
    receipts = list(send_objects(there.destination, objects))
    assert there.objects == [dataset_bytes(item.path) for item in objects]
    assert [r.sop_instance_uid for r in receipts] == [item.sop_instance_uid for item in objects]
    assert all(r.delivered and r.dimse_status == 0 and not r.transient for r in receipts)
    assert {r.verified for r in receipts} == {None}, "C-STORE success is no storage commitment"
    assert {r.destination for r in receipts} == {"pacs"}
    assert there.released.wait(30)


@pytest.mark.timeout(300)
def test_a_peer_that_does_not_answer_a_release_keeps_nobody(make_image) -> None:
    """The answer to a release is not waited for as long as that to an object."""
    over, entity = threading.Event(), AE("PACS")
    entity.add_supported_context(MRImageStorage)

    def received(event: evt.Event) -> None:
        if isinstance(event.pdu, A_RELEASE_RQ):
            over.wait()

    handlers = [(evt.EVT_C_STORE, lambda _event: 0x0000), (evt.EVT_PDU_RECV, received)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    there = DicomDestination(
        name="pacs",
        host="127.0.0.1",
        port=server.server_address[1],
        ae_title="PACS",
        calling_ae_title="LFMRI",
        answer_timeout_s=100_000,
    )
    (receipt,) = send_objects(there, [make_image(1)])
    assert receipt.delivered
    over.set()
    server.shutdown()


def test_only_the_pairs_that_occur_are_proposed(pacs, make_image) -> None:
    there = pacs()
    list(
        send_objects(
            there.destination, [make_image(1), make_image(2), make_image(1, sop_class=SecondaryCapture)]
        )
    )
    assert sorted(there.contexts) == sorted(
        [(MRImageStorage, [ExplicitVRLittleEndian]), (SecondaryCapture, [ExplicitVRLittleEndian])]
    )


def test_paths_are_sent_like_objects(pacs, make_image) -> None:
    there = pacs()
    (receipt,) = send_objects(there.destination, [make_image(1).path])
    assert receipt.delivered
    assert len(there.objects) == 1


@pytest.mark.parametrize("code", [0xB000, 0xB006, 0xB007, 0x0111])
def test_a_warning_is_delivered_and_told(pacs, make_image, code: int) -> None:
    (receipt,) = send_objects(pacs(lambda _e, _n: code).destination, [make_image(1)])
    assert receipt.delivered
    assert receipt.dimse_status == code
    assert f"0x{code:04X}" in receipt.detail
    assert len(receipt.detail) > len("0x0000 stored")


@pytest.mark.parametrize(
    ("code", "transient"),
    [(0xA700, True), (0xA900, False), (0xC123, False), (0x0122, False), (0x0124, False)],
)
def test_a_failure_concerns_one_object(pacs, make_image, code: int, transient: bool) -> None:
    there = pacs(lambda _e, n: code if n == 1 else 0)
    receipts = list(send_objects(there.destination, [make_image(n) for n in range(3)]))
    assert [r.delivered for r in receipts] == [True, False, True]
    assert receipts[1].dimse_status == code
    assert receipts[1].transient is transient


def test_an_association_lost_midway(pacs, make_image) -> None:
    def answer(event: evt.Event, n: int) -> int:
        if n == 1:
            event.assoc.abort()
        return 0

    receipts = list(send_objects(pacs(answer).destination, [make_image(n) for n in range(4)]))
    assert [r.delivered for r in receipts] == [True, False, False, False]
    assert [r.transient for r in receipts] == [False, True, True, True]
    assert {r.dimse_status for r in receipts[1:]} == {None}
    assert "no answer" in receipts[1].detail
    assert receipts[2].detail == "the association was lost before this object"


@contextmanager
def cutting(port: int, after: int) -> Iterator[int]:
    """The port of a way to ``port`` that ends, in the middle of a PDU, after so many bytes of the sender."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def carry() -> None:
            with server.accept()[0] as sender, socket.create_connection(("127.0.0.1", port)) as pacs:
                threading.Thread(target=back, args=(pacs, sender), daemon=True).start()
                left = after
                while left and (data := sender.recv(min(left, 4096))):
                    pacs.sendall(data)
                    left -= len(data)
                for end in (sender, pacs):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

        def back(pacs: socket.socket, sender: socket.socket) -> None:
            with suppress(OSError):
                while data := pacs.recv(4096):
                    sender.sendall(data)

        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(30)


@pytest.mark.parametrize("after", [20_000, 100_000])
def test_a_connection_that_ends_in_the_middle_of_a_pdu(pacs, make_image, after: int) -> None:
    """Of three objects of 98 kB: within the first, and within the second."""
    there = pacs()
    objects = [make_image(n, pixels=np.zeros((220, 220), np.uint16)) for n in range(3)]
    with cutting(there.destination.port, after) as port:
        receipts = list(send_objects(to(port), objects))
    whole = after // 98_000
    assert [r.delivered for r in receipts] == [n < whole for n in range(3)]
    assert all(r.transient and r.dimse_status is None for r in receipts[whole:])
    assert len(there.objects) == whole


def test_a_destination_that_never_answers(pacs, make_image) -> None:
    leave = threading.Event()
    there = pacs(lambda _e, _n: int(leave.wait(30)) * 0)
    destination = to(there.destination.port, answer_timeout_s=0.5)
    receipts = list(send_objects(destination, [make_image(1), make_image(2)]))
    leave.set()
    assert [(r.delivered, r.transient, r.dimse_status) for r in receipts] == [(False, True, None)] * 2


def test_a_class_that_is_not_accepted_is_permanent_for_its_objects_only(pacs, make_image) -> None:
    there = pacs(classes=(SecondaryCapture,))
    receipts = list(
        send_objects(there.destination, [make_image(1), make_image(2, sop_class=SecondaryCapture)])
    )
    assert [r.delivered for r in receipts] == [False, True]
    assert not receipts[0].transient
    assert "MR Image Storage" in receipts[0].detail


def test_rejected_for_good(pacs, make_image) -> None:
    destination = to(pacs().destination.port, ae_title="SOMEBODY")
    receipts = list(send_objects(destination, [make_image(1), make_image(2)]))
    assert [(r.delivered, r.transient) for r in receipts] == [(False, False)] * 2
    assert "Called AE title not recognised" in receipts[0].detail


def test_rejected_for_now(pacs, make_image) -> None:
    there = pacs(maximum_associations=1)
    entered, leave = threading.Event(), threading.Event()
    there.answer = lambda _e, _n: int(entered.set() or leave.wait(30)) * 0
    with ThreadPoolExecutor() as pool:
        first = pool.submit(lambda: list(send_objects(there.destination, [make_image(1)])))
        assert entered.wait(30)
        (receipt,) = send_objects(there.destination, [make_image(2)])
        leave.set()
        assert first.result(30)[0].delivered
    assert not receipt.delivered
    assert receipt.transient


def test_nobody_listens(make_image, free_port: int) -> None:
    receipts = list(send_objects(to(free_port), [make_image(1), make_image(2)]))
    assert [(r.delivered, r.transient, r.dimse_status) for r in receipts] == [(False, True, None)] * 2


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_a_name_without_an_address_gets_receipts_and_another_try(make_image, host: str) -> None:
    """A name server that is down must leave a trace, not an exception that nobody records."""
    there = replace(to(1), host=host)
    receipts = list(send_objects(there, [make_image(1), make_image(2)]))
    assert [(r.delivered, r.transient) for r in receipts] == [(False, True)] * 2
    assert not echo(there).answered


def test_nothing_to_send(free_port: int) -> None:
    assert list(send_objects(to(free_port), [])) == []


@pytest.mark.parametrize("content", [None, b"", b"not DICOM at all", bytes(128) + b"DICM"])
def test_what_is_no_dicom_file_stops_everything(
    pacs, make_image, tmp_path: Path, content: bytes | None
) -> None:
    there = pacs()
    broken = tmp_path / "broken.dcm"
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(DeliveryError, match="LF-NET-031"):
        send_objects(there.destination, [make_image(1), broken])
    assert there.objects == []


def test_more_kinds_than_contexts(pacs, make_image) -> None:
    there = pacs()
    objects = [make_image(1, sop_class=UID(f"1.2.3.{n}")) for n in range(129)]
    with pytest.raises(DeliveryError, match="LF-NET-032"):
        send_objects(there.destination, objects)
    assert there.contexts == []


def test_the_association_is_released_when_the_caller_stops_listening(pacs, make_image) -> None:
    there = pacs()
    receipts = send_objects(there.destination, [make_image(1), make_image(2)])
    assert next(receipts).delivered
    receipts.close()
    assert there.released.wait(30)
    assert len(there.objects) == 1


def test_sent_without_delay(pacs, make_image) -> None:
    found: list[int] = []

    def answer(_event: evt.Event, _n: int) -> int:
        for thread in threading.enumerate():
            if thread.name.startswith("RequestorThread"):
                ours = thread.dul.socket.socket
                found.append(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return 0

    list(send_objects(pacs(answer).destination, [make_image(1)]))
    assert len(found) == 1
    assert found[0] != 0


@pytest.mark.parametrize("longest", [0, 512, 1 << 24])
def test_any_pdu_length_of_the_peer(pacs, make_image, longest: int) -> None:
    """0 means that the peer takes any length; PDUs stay short all the same."""
    image = make_image(1, pixels=np.zeros((700, 700), np.uint16))
    there = pacs(maximum_pdu_size=longest)
    (receipt,) = send_objects(there.destination, [image])
    assert receipt.delivered
    assert there.objects == [dataset_bytes(image.path)]


def test_echo(pacs, free_port: int) -> None:
    there = pacs()
    assert echo(there.destination).answered
    rejected = echo(to(there.destination.port, ae_title="SOMEBODY"))
    assert not rejected.answered
    assert "not recognised" in rejected.detail
    assert not echo(to(free_port)).answered
    assert not echo(pacs(classes=(MRImageStorage,)).destination).answered


@pytest.mark.parametrize("title", ["", "TOO LONG FOR AN AE TITLE"])
def test_malformed_titles_are_found_early(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        to(104, ae_title=title)


def test_our_sender_and_our_listener(start_node, h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    """The gateway command sends this way; the parts of a scan go over one association."""
    node = start_node()
    paths = wrap(h5, tmp_path, source, max_part_bytes=20_000)
    destination = to(node.port, ae_title="LFNODE", calling_ae_title="GATEWAY")
    receipts = list(send_objects(destination, paths))
    assert [r.dimse_status for r in receipts] == [Status.SUCCESS] * len(paths)
    assert len(node.received) == 1


@pytest.mark.integration
def test_dcmtk_receives(dcmtk, make_image, free_port: int, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    command = [dcmtk("storescp"), "+B", "-d", "-aet", "PACS", "-od", tmp_path / "out", str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        objects = [make_image(n) for n in range(3)]
        wait_until_it_listens(free_port)
        receipts = list(send_objects(to(free_port), objects))
        server.terminate()
        server.communicate(timeout=120)
    assert all(receipt.delivered for receipt in receipts)
    kept = sorted(dataset_bytes(path) for path in (tmp_path / "out").iterdir())
    assert kept == sorted(dataset_bytes(item.path) for item in objects)


def test_memory_of_the_sender(start_node, tmp_path: Path, peak_kib: str) -> None:
    """100 MB in one object; pynetdicom's own queue would hold most of it."""
    (tmp_path / "in.h5").touch()
    os.truncate(tmp_path / "in.h5", 100_000_000)
    (path,) = wrap(tmp_path / "in.h5", tmp_path, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})
    script = (
        peak_kib
        + """
import sys
from pathlib import Path
from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects

base = peak_kib()
there = DicomDestination(
    name="node", host="127.0.0.1", port=int(sys.argv[1]), ae_title="LFNODE", calling_ae_title="GATEWAY"
)
(receipt,) = send_objects(there, [Path(sys.argv[2])])
print(receipt.dimse_status, peak_kib() - base)
"""
    )
    command = [sys.executable, "-c", script, str(start_node().port), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, grown_kib = map(int, done.stdout.split())
    assert status == Status.SUCCESS
    assert grown_kib < 40 * 1024


@pytest.mark.integration
def test_orthanc_takes_the_objects_and_returns_equal_pixels(orthanc, make_image) -> None:
    objects = [make_image(100 + n) for n in range(3)]
    destination = to(orthanc.dicom_port, ae_title="ORTHANC")
    assert echo(destination).answered
    receipts = list(send_objects(destination, objects))
    assert [r.dimse_status for r in receipts] == [Status.SUCCESS] * 3
    for item in objects:
        found = orthanc.client.instances.lookup(item.sop_instance_uid)
        there = pydicom.dcmread(BytesIO(orthanc.client.instances.get_file(found)))
        here = pydicom.dcmread(item.path)
        np.testing.assert_array_equal(there.pixel_array, here.pixel_array)
        assert there == here


@pytest.mark.integration
def test_orthanc_does_not_know_the_caller(orthanc, make_image) -> None:
    item = make_image(200)
    destination = to(orthanc.dicom_port, ae_title="ORTHANC", calling_ae_title="STRANGER")
    (receipt,) = send_objects(destination, [item])
    assert not receipt.delivered
    assert receipt.verified is None
    assert orthanc.client.instances.lookup(item.sop_instance_uid) is None
