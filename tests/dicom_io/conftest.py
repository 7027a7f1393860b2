"""Shared by the DICOM tests: a patient, a small ISMRMRD file, free ports, DCMTK and Orthanc."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from orthanc_archive import OrthancArchive, running_orthanc
from orthanc_archive import free_port as unused_port
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, RawDataStorage
from pynetdicom import AE
from pynetdicom.association import Association

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.listener import Listener, ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.types import CommitmentReport, EncodedObject

_SOURCE: dict[str, object] = {
    "PatientName": "Phantom^Lesion",
    "PatientID": "LF-0001",
    "IssuerOfPatientID": "HOSPITAL",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyDate": "20260304",
    "StudyTime": "101112",
    "StudyID": "S1",
    "AccessionNumber": "ACC-77",
    "ReferringPhysicianName": "Referrer^Rita",
    "SeriesNumber": 100,
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "BodyPartExamined": "BRAIN",
    "Manufacturer": "Maker",
    "ManufacturerModelName": "Scanner 3T",
    "DeviceSerialNumber": "42",
    "SoftwareVersions": "7.1",
    "InstitutionName": "Hospital",
}


@pytest.fixture
def source() -> dict[str, object]:
    """Attributes of an invented patient."""
    return dict(_SOURCE)


@pytest.fixture
def secrets() -> tuple[str, ...]:
    """Values of `source` that must never show up in a log."""
    names = ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber")
    return tuple(str(_SOURCE[name]) for name in names)


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    """A small file of the ISMRMRD layout: group ``dataset`` with ``xml`` and samples."""
    path = tmp_path / "scan.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        group["xml"] = np.bytes_(b"<ismrmrdHeader/>")
        group["data"] = rng.standard_normal((64, 256)).astype(np.float32)
    return path


@pytest.fixture
def dcmtk(program: Callable[[str], Path]) -> Callable[[str], Path]:
    """``dcmtk(name)``: a DCMTK program; the test is skipped where it is not installed."""
    return program


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nobody listens on at the moment."""
    return unused_port()


@pytest.fixture
def peak_kib() -> str:
    """Source of a function for scripts in a process of their own: the most memory they have had.

    Not ``ru_maxrss``: in a child it begins with what the parent has.
    """
    return """
def peak_kib():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0])
"""


@dataclass
class RunningNode:
    """A listener on a free port, and what it has passed on."""

    listener: Listener
    root: Path
    received: list[ReceivedMeasurement]

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def kept(self) -> list[Path]:
        return sorted((self.root / "objects").glob("*.dcm"))

    @property
    def quarantined(self) -> list[str]:
        """Codes of the objects in the quarantine."""
        return sorted(path.name.rsplit("-", 1)[0] for path in (self.root / "quarantine").iterdir())

    @property
    def incoming(self) -> list[Path]:
        return sorted((self.root / "incoming").iterdir())


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """``start_node(**settings)``: a listener that lets GATEWAY in from loopback; stopped at the end."""
    with ExitStack() as stack:

        def start(
            *,
            on_received: Callable[[ReceivedMeasurement], None] = lambda _: None,
            on_report: Callable[[str, CommitmentReport], None] | None = None,
            **settings: object,
        ) -> RunningNode:
            received: list[ReceivedMeasurement] = []

            def pass_on(payload: ReceivedMeasurement) -> None:
                received.append(payload)
                on_received(payload)

            chosen: dict[str, object] = {
                "port": 0,
                "spool": tmp_path / "spool",
                "policy": AccessPolicy(callers=(AllowedCaller.of("GATEWAY", ["127.0.0.0/8"]),)),
                "min_free_bytes": 0,
                "drain_s": 10,
            }
            listener = Listener(ListenerSettings(**(chosen | settings)), pass_on, on_report)
            stack.enter_context(listener)
            return RunningNode(listener=listener, root=tmp_path / "spool", received=received)

        yield start


@pytest.fixture
def associate() -> Iterator[Callable[..., Association]]:
    """``associate(port, calling=, called=, classes=)`` with pynetdicom, independent of our sender."""
    opened: list[Association] = []

    def request(
        port: int,
        *,
        calling: str = "GATEWAY",
        called: str = "LFNODE",
        classes: tuple[str, ...] = (RawDataStorage,),
        syntax: str = ExplicitVRLittleEndian,
    ) -> Association:
        entity = AE(calling)
        for sop_class in classes:
            entity.add_requested_context(sop_class, syntax)
        opened.append(entity.associate("127.0.0.1", port, ae_title=called))
        return opened[-1]

    yield request
    for association in opened:
        association.release() if association.is_established else association.kill()


@pytest.fixture
def store(associate: Callable[..., Association]) -> Callable[..., list[int]]:
    """``store(port, *paths)``: statuses of C-STORE over one association; -1 where none came."""

    def send(port: int, *paths: Path, **options: object) -> list[int]:
        association = associate(port, **options)
        assert association.is_established
        answers = [association.send_c_store(dcmread(path)) for path in paths]
        association.release()
        return [int(answer.Status) if "Status" in answer else -1 for answer in answers]

    return send


@pytest.fixture
def make_image(tmp_path: Path, source: dict[str, object]) -> Callable[..., EncodedObject]:
    """``make_image(number, sop_class=)``: a small image of the invented patient, as a file."""

    def make(
        number: int, *, sop_class: UID = MRImageStorage, pixels: np.ndarray | None = None
    ) -> EncodedObject:
        if pixels is None:
            pixels = np.random.default_rng(number).integers(0, 4096, (32, 48), dtype=np.uint16)
        dataset = Dataset()
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
            setattr(dataset, keyword, source[keyword])
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.7.{number}"
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.7"
        dataset.Modality, dataset.InstanceNumber = "MR", number
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.PixelData = pixels.tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = tmp_path / f"image-{sop_class}-{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return EncodedObject(
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            role="lf-mri",
            sop_class_uid=sop_class,
            sop_instance_uid=dataset.SOPInstanceUID,
            series_instance_uid=dataset.SeriesInstanceUID,
        )

    return make


@pytest.fixture(scope="session")
def orthanc(
    program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OrthancArchive]:
    """Orthanc as a process on free ports with an empty store; it takes C-STORE from LFNODE only."""
    home, binary = tmp_path_factory.mktemp("orthanc"), program("Orthanc")
    with running_orthanc(binary, home, calling="LFNODE", report_port=unused_port()) as server:
        yield server
