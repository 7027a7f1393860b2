"""What the listener refuses: the status, one log line without patient data, nothing kept by mistake."""

import logging
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, RawDataStorage
from pynetdicom import evt

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.dicom_io.status import Status

SIZE, PART_HASH, PART, PARTS, HASH, TOTAL, PAYLOAD = ((0x7FD1, 0x1000 + e) for e in (2, 3, 5, 6, 7, 8, 16))


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    return wrap(h5, tmp_path, source)[0]


@pytest.fixture
def parts(h5: Path, tmp_path: Path, source: dict[str, object]) -> list[Path]:
    (tmp_path / "parts").mkdir()
    return wrap(h5, tmp_path / "parts", source, max_part_bytes=30_000)


def edited(path: Path, out: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(out)
    return out


def foreign(dataset: Dataset) -> None:
    for element in list(dataset.group_dataset(0x7FD1)):
        del dataset[element.tag]
    dataset.private_block(0x7FD1, "SOMEBODY ELSE", create=True).add_new(0x10, "OB", bytes(300_000))


def one_bit(dataset: Dataset) -> None:
    value = bytearray(dataset[PAYLOAD].value)
    value[1000] ^= 1
    dataset[PAYLOAD].value = bytes(value)


def halved(dataset: Dataset) -> None:
    dataset[PAYLOAD].value = dataset[PAYLOAD].value[: dataset[SIZE].value // 4 * 2]


def anonymous(dataset: Dataset) -> None:
    dataset.PatientID = ""


def without_study(dataset: Dataset) -> None:
    dataset.StudyInstanceUID = ""


def part_of_too_few(dataset: Dataset) -> None:
    dataset[PART].value = 2


def wrong_single_hash(dataset: Dataset) -> None:
    dataset[HASH].value = "f" * 64


def unknown_format(dataset: Dataset) -> None:
    del dataset[PARTS]


def send_file_as_it_is(association, path: Path, *, expected: int) -> None:
    """The bytes on disk, whatever they are: starting the listener has switched chunked sending on."""
    assert association.send_c_store(path).Status == expected


@dataclass
class Lines:
    """What was logged by us, and everything that was logged by anybody."""

    caplog: pytest.LogCaptureFixture

    @property
    def ours(self) -> list[str]:
        records = [r for r in self.caplog.records if r.name.startswith("lfmri_node")]
        assert all(record.levelno == logging.WARNING for record in records)
        return [record.getMessage() for record in records]

    def assert_silent_about(self, secrets: tuple[str, ...], uid: str) -> None:
        for record in self.caplog.records:
            for secret in (*secrets, uid):
                assert secret not in record.getMessage()
                assert secret not in str(record.exc_text)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.DEBUG)
    return Lines(caplog)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (foreign, Status.FOREIGN_RAW_DATA, "LF-PAY-003"),
        (unknown_format, Status.UNKNOWN_FORMAT, "LF-PAY-004"),
        (halved, Status.UNKNOWN_FORMAT, "LF-PAY-006"),
        (part_of_too_few, Status.PARTS_CONTRADICT, "LF-PAY-007"),
        (wrong_single_hash, Status.PARTS_CONTRADICT, "LF-PAY-007"),
        (anonymous, Status.NO_IDENTITY, "LF-PAY-008"),
        (without_study, Status.NO_IDENTITY, "LF-PAY-008"),
        (one_bit, Status.WRONG_HASH, "LF-PAY-010"),
    ],
)
def test_refused_objects(
    start_node, store, wrapped, tmp_path, lines, secrets, change, status: Status, code: str
) -> None:
    node = start_node()
    assert store(node.port, edited(wrapped, tmp_path / "changed.dcm", change)) == [status]
    (line,) = lines.ours
    assert line.startswith(code)
    assert f"0x{status:04X}" in line
    assert "GATEWAY" in line
    lines.assert_silent_about(secrets, read_payload(wrapped).sop_instance_uid)
    assert node.received == []
    assert node.kept == node.incoming == []
    assert store(node.port, wrapped) == [Status.SUCCESS], "the right object is accepted afterwards"


def test_one_bit_of_a_long_object(start_node, store, source, tmp_path, lines) -> None:
    """It is hashed while it comes."""
    with h5py.File(tmp_path / "long.h5", "w") as file:
        file["dataset/xml"] = np.bytes_(b"<ismrmrdHeader/>")
        file["dataset/data"] = np.frombuffer(np.random.default_rng(0).bytes(40 << 20), np.uint8)
    (good,) = wrap(tmp_path / "long.h5", tmp_path, source)
    node = start_node()
    assert store(node.port, edited(good, tmp_path / "changed.dcm", one_bit)) == [Status.WRONG_HASH]
    assert node.kept == node.incoming == []
    assert store(node.port, good) == [Status.SUCCESS]
    (kept,) = node.kept
    assert read_payload(kept).fields == read_payload(good).fields
    assert [line.partition(":")[0] for line in lines.ours] == ["LF-PAY-010"]


def test_a_truncated_payload(start_node, associate, wrapped, lines, secrets) -> None:
    """The data set stops in the middle of the payload element; the PDUs are complete."""
    node = start_node()
    whole = wrapped.read_bytes()
    wrapped.write_bytes(whole[: len(whole) // 2])
    association = associate(node.port)
    send_file_as_it_is(association, wrapped, expected=Status.TRUNCATED)
    (line,) = lines.ours
    assert line.startswith("LF-PAY-005")
    lines.assert_silent_about(secrets, "2.25.")
    assert node.kept == node.incoming == []


def test_an_mr_image_in_the_context_of_raw_data(
    start_node, associate, wrapped, tmp_path, lines, secrets
) -> None:
    """Negotiated as Raw Data, announced as an MR image in the command."""

    def become_mr(dataset: Dataset) -> None:
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage

    image = edited(wrapped, tmp_path / "image.dcm", become_mr)
    node = start_node()
    association = associate(node.port)
    (context,) = association.accepted_contexts
    context._abstract_syntax = MRImageStorage  # the peer's mistake
    send_file_as_it_is(association, image, expected=Status.SOP_CLASS_NOT_SUPPORTED)
    association.release()
    (line,) = lines.ours
    assert line.startswith("LF-NET-018")
    lines.assert_silent_about(secrets, "2.25.")
    assert node.kept == node.incoming == []


def test_an_mr_image_announced_as_raw_data(start_node, associate, wrapped, tmp_path, lines) -> None:
    def become_mr(dataset: Dataset) -> None:
        dataset.SOPClassUID = MRImageStorage

    image = edited(wrapped, tmp_path / "image.dcm", become_mr)
    send_file_as_it_is(associate(start_node().port), image, expected=Status.DATA_SET_MISMATCH)
    assert lines.ours[0].startswith("LF-PAY-002")


def test_command_and_data_set_name_different_instances(
    start_node, associate, wrapped, tmp_path, lines
) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = "1.2.3.4"

    changed = edited(wrapped, tmp_path / "changed.dcm", rename)
    send_file_as_it_is(associate(start_node().port), changed, expected=Status.DATA_SET_MISMATCH)
    assert lines.ours[0].startswith("LF-NET-014")


@pytest.mark.integration
def test_dcmtk_is_told_why(start_node, dcmtk, wrapped, tmp_path) -> None:
    node = start_node()
    path = edited(wrapped, tmp_path / "foreign.dcm", foreign)
    sent = ["-d", "-R", "-aet", "GATEWAY", "-aec", "LFNODE", "127.0.0.1", str(node.port), path]
    done = subprocess.run([dcmtk("storescu"), *sent], capture_output=True, text=True, timeout=60, check=False)
    output = done.stdout + done.stderr
    assert "0xc101" in output.lower()
    assert "LF-PAY-003" in output, "the Error Comment names the cause"


def test_another_object_under_a_known_uid_is_quarantined(
    start_node, store, wrapped, tmp_path, lines, secrets
) -> None:
    def comment(dataset: Dataset) -> None:
        dataset.PatientComments = "changed"

    changed = edited(wrapped, tmp_path / "changed.dcm", comment)
    node = start_node()
    assert store(node.port, wrapped) == [Status.SUCCESS]
    before = node.kept[0].read_bytes()
    assert store(node.port, changed, changed) == [Status.CHANGED_INSTANCE] * 2
    assert node.quarantined == ["LF-NET-016"], "the same object twice is one file in the quarantine"
    assert [path.read_bytes() for path in node.kept] == [before]
    assert len(node.received) == 1
    assert len(lines.ours) == 1
    node.listener.stop()
    assert lines.ours[1:] == [lines.ours[0].replace("'GATEWAY' at 127.0.0.1", "127.0.0.1, 1 more since")]
    lines.assert_silent_about(secrets, read_payload(wrapped).sop_instance_uid)


def test_changed_payload_under_a_known_uid_is_quarantined(start_node, store, h5, tmp_path, source) -> None:
    """The other measurement is consistent in itself; only the UID is taken already."""
    (wrapped,) = wrap(h5, tmp_path, source)
    uid = read_payload(wrapped).sop_instance_uid
    with h5py.File(h5, "r+") as file:
        file["dataset/data"][0, 0] += 1
    (tmp_path / "other").mkdir()

    def take_uid(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid

    (other,) = wrap(h5, tmp_path / "other", source)
    node = start_node()
    answers = store(node.port, wrapped, edited(other, tmp_path / "taken.dcm", take_uid))
    assert answers == [Status.SUCCESS, Status.CHANGED_INSTANCE]
    assert node.quarantined == ["LF-NET-016"]


@pytest.mark.parametrize("change", [{"PatientID": "LF-0002"}, {"IssuerOfPatientID": "CLINIC"}])
def test_the_same_measurement_under_another_patient_is_quarantined(
    start_node, store, h5, tmp_path, source, lines, secrets, change
) -> None:
    (tmp_path / "other").mkdir()
    paths = wrap(h5, tmp_path, source) + wrap(h5, tmp_path / "other", source | change)
    first = start_node()
    assert store(first.port, *paths) == [Status.SUCCESS, Status.OTHER_PATIENT]
    assert first.quarantined == ["LF-NET-017"]
    assert len(first.kept) == len(first.received) == 1
    assert len(lines.ours) == 1
    lines.assert_silent_about((*secrets, "LF-0002", "CLINIC"), "2.25.")
    first.listener.stop()
    second = start_node()
    assert store(second.port, paths[1]) == [Status.OTHER_PATIENT], "known after a restart, too"


def test_the_same_measurement_in_another_study_of_the_patient_is_another_scan(
    start_node, store, h5, tmp_path, source
) -> None:
    """The job key tells them apart; nothing is merged."""
    (tmp_path / "other").mkdir()
    paths = wrap(h5, tmp_path, source) + wrap(h5, tmp_path / "other", source | {"StudyInstanceUID": "1.2.9"})
    node = start_node()
    assert store(node.port, *paths) == [Status.SUCCESS] * 2
    assert len({payload.paths for payload in node.received}) == 2


def test_a_long_object_is_refused_as_soon_as_its_head_is_there(
    start_node, associate, h5, tmp_path, source, lines
) -> None:
    """What comes after it takes no room; the sender is answered at the end all the same."""
    h5.write_bytes(h5.read_bytes() + bytes(3_000_000))
    changed = edited(wrap(h5, tmp_path, source)[0], tmp_path / "anonymous.dcm", anonymous)
    node = start_node(min_free_bytes=0)
    association = associate(node.port)
    (ours,) = node.listener._server.active_associations
    rooms: list[int] = []

    def look(event: evt.Event) -> None:
        rooms.append(sum(path.stat().st_size for path in node.incoming))

    ours.bind(evt.EVT_PDU_RECV, look)
    send_file_as_it_is(association, changed, expected=Status.NO_IDENTITY)
    association.release()
    assert lines.ours[0].startswith("LF-PAY-008")
    assert 0 < max(rooms) < 1_300_000
    assert rooms[-1] == 0


@pytest.mark.parametrize("change", [{"AccessionNumber": "ACC-78"}, {"PatientName": "Phantom^Lesion^^Dr"}])
def test_a_corrected_study_is_told_and_quarantined(
    start_node, store, h5, tmp_path, source, lines, secrets, change
) -> None:
    """The same payload, patient and study with other words: what was made of the first stays, and is said."""
    (tmp_path / "other").mkdir()
    paths = wrap(h5, tmp_path, source) + wrap(h5, tmp_path / "other", source | change)
    first = start_node()
    assert store(first.port, *paths) == [Status.SUCCESS, Status.OTHER_ATTRIBUTES]
    assert first.quarantined == ["LF-NET-019"]
    assert len(first.kept) == len(first.received) == 1
    assert lines.ours[-1].startswith("LF-NET-019")
    lines.assert_silent_about((*secrets, *change.values()), "2.25.")
    first.listener.stop()
    second = start_node()
    assert store(second.port, paths[1]) == [Status.OTHER_ATTRIBUTES], "known after a restart, too"


def test_a_duplicate_under_another_uid_is_kept_once_and_told(
    start_node, store, h5, tmp_path, source, caplog
) -> None:
    """Wrapped again at another time: nothing that a derived object copies has changed."""
    caplog.set_level(logging.INFO, logger="lfmri_node")
    (tmp_path / "other").mkdir()
    again = wrap(h5, tmp_path / "other", source | {"ContentTime": "235959"})
    node = start_node()
    assert store(node.port, *wrap(h5, tmp_path, source), *again) == [Status.SUCCESS] * 2
    assert len(node.kept) == 1
    assert node.incoming == []
    assert {measurement.paths for measurement in node.received} == {tuple(node.kept)}
    assert "came again under another SOP Instance UID" in caplog.text


def test_the_same_attributes_given_or_from_the_header_are_the_same_measurement(
    start_node, store, h5, tmp_path, source
) -> None:
    (tmp_path / "other").mkdir()
    again = wrap(h5, tmp_path / "other", source, given=["PatientID"])
    node = start_node()
    assert store(node.port, *wrap(h5, tmp_path, source), *again) == [Status.SUCCESS] * 2
    assert len(node.kept) == 1


def test_parts_that_do_not_come(start_node, store, parts, caplog) -> None:
    """Told in the log, listed for other processes, known after a restart, gone with the last part."""
    caplog.set_level(logging.INFO, logger="lfmri_node")
    first = start_node()
    assert store(first.port, parts[0], parts[2]) == [Status.SUCCESS] * 2
    (scan,) = incomplete_scans(first.root)
    assert (scan.parts, scan.n_parts, scan.missing, scan.calling_ae) == ((1, 3), 3, (2,), "GATEWAY")
    assert f"scan {scan.name} waits for 1 of 3 parts" in caplog.text
    assert not scan.overdue(scan.last_at, 60)
    assert scan.overdue(scan.last_at + timedelta(seconds=61), 60)
    first.listener.stop()
    (note,) = (first.root / "incomplete").iterdir()
    note.unlink()
    second = start_node()
    assert incomplete_scans(second.root) == [scan]
    store(second.port, parts[1])
    assert incomplete_scans(second.root) == []
    assert len(second.received) == 1


def test_parts_that_have_not_come_in_time_are_reported_once(start_node, store, parts, caplog) -> None:
    said = threading.Event()
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "LF-NET-022" in record.getMessage():
                heard.append(record.getMessage())
                said.set()

    ear = Ear()
    logging.getLogger("lfmri_node").addHandler(ear)
    try:
        node = start_node(incomplete_after_s=0.1)
        store(node.port, parts[0])
        assert said.wait(30)
        store(node.port, *parts[1:])
        node.listener.stop()
    finally:
        logging.getLogger("lfmri_node").removeHandler(ear)
    (scan,) = {line.split()[2] for line in heard}
    assert "2 of 3 parts" in heard[0]
    assert len(scan) == 12


def test_the_spool_is_for_its_owner_only(start_node, store, wrapped) -> None:
    node = start_node()
    store(node.port, wrapped)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (node.root, *node.root.rglob("*"))}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}


def test_what_the_payload_is_the_listener_does_not_ask(start_node, store, tmp_path, source) -> None:
    """HDF5 is opened by the worker only, so bytes that are none are received like any others."""
    (tmp_path / "no.h5").write_bytes(b"no HDF5 at all")
    node = start_node()
    assert store(node.port, *wrap(tmp_path / "no.h5", tmp_path, source)) == [Status.SUCCESS]


def test_parts_that_contradict_one_another(start_node, store, parts, tmp_path) -> None:
    def one_more(dataset: Dataset) -> None:
        dataset[PARTS].value = 4

    node = start_node()
    changed = edited(parts[1], tmp_path / "changed.dcm", one_more)
    assert store(node.port, parts[0], changed) == [Status.SUCCESS, Status.PARTS_CONTRADICT]
    assert store(node.port, *parts[1:]) == [Status.SUCCESS] * 2
    assert len(node.received) == 1


def test_two_parts_of_one_number(start_node, store, parts, tmp_path) -> None:
    def renumber(dataset: Dataset) -> None:
        dataset[PART].value = 1

    node = start_node()
    changed = edited(parts[1], tmp_path / "changed.dcm", renumber)
    assert store(node.port, parts[0], changed) == [Status.SUCCESS, Status.PARTS_CONTRADICT]


def test_parts_that_are_right_one_by_one_and_wrong_together(start_node, store, parts, tmp_path) -> None:
    """Two parts swap their contents: every part agrees with its own hash, the file does not."""
    swapped = []
    for content, number in ((parts[1], 1), (parts[0], 2)):

        def renumber(dataset: Dataset, number: int = number) -> None:
            dataset[PART].value = number

        swapped.append(edited(content, tmp_path / f"swapped{number}.dcm", renumber))
    node = start_node()
    assert store(node.port, *swapped) == [Status.SUCCESS] * 2
    assert store(node.port, parts[2]) == [Status.WRONG_HASH]
    assert node.received == []


def test_malformed_values_are_not_quoted(start_node, associate, wrapped, lines, recwarn) -> None:
    """pydicom's warnings about a value hold the value."""
    content = wrapped.read_bytes()
    malformed = content.replace(b"1.2.826.0.1.3680043.8.498.1\0", b"1.2.826.0.1.3680043.8.498.X\0")
    assert malformed != content
    wrapped.write_bytes(malformed)
    send_file_as_it_is(associate(start_node().port), wrapped, expected=Status.SUCCESS)
    lines.assert_silent_about(("498.X",), "498.X")
    assert not [warning for warning in recwarn if "498.X" in str(warning.message)]


def test_raw_data_class_is_the_one_of_the_standard() -> None:
    assert RawDataStorage == "1.2.840.10008.5.1.4.1.1.66"
