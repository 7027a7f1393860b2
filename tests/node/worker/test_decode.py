"""The decode stage: reads the value beside the object, opens the foreign file, and says what is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.received import remember, value_path
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import from_document
from lfmri_node.node.errors import StageFailed
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.worker.stages import Pipeline
from lfmri_node.node.worker.task import Task
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.types import ScanIdentity

SOURCE: Mapping[str, object] = {"PatientID": "P", "StudyInstanceUID": "1.2.3", "PatientName": "A^B"}


@pytest.fixture
def spooled(tmp_path: Path):
    """``spooled(h5)``: the task of a measurement as it lies in the spool after reception."""

    def put(h5: Path) -> Task:
        (path,) = wrap(h5, tmp_path, SOURCE)
        header = read_payload(path)
        remember(header)
        config = from_document({"recon": {"method": "wavelet"}}, base=tmp_path, name="test")
        return Task(
            sources=(path,),
            source_sha256=header.fields.sha256,
            contrast=0,
            repetition=0,
            recipe=Recipe.of(config),
            work=tmp_path / "work",
            objects=tmp_path / "objects",
            created_at=datetime(2026, 5, 6, tzinfo=UTC),
        )

    return put


def decode(task: Task) -> Mapping[str, object]:
    return Pipeline().decode(task, lambda _done, _total: None)


def test_the_head_is_not_parsed_again(spooled, make_scan) -> None:
    """Nothing but the payload is left of the object, and decoding gives what it gave before."""
    task = spooled(make_scan())
    before = decode(task)
    (path,) = task.sources
    offset = read_payload(path).offset
    path.write_bytes(bytes(offset) + path.read_bytes()[offset:])
    assert decode(task) == before
    assert before["n_slices"] == 3


def test_a_lost_value_is_made_again(spooled, make_scan) -> None:
    task = spooled(make_scan())
    before = decode(task)
    value_path(task.sources[0]).unlink()
    assert decode(task) == before
    assert value_path(task.sources[0]).exists()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (ScanIdentity(patient_id="SOMEBODY"), "PatientID"),
        (ScanIdentity(patient_name="Other^Person"), "PatientName"),
        (ScanIdentity(study_instance_uid="1.2.9"), "StudyInstanceUID"),
    ],
)
def test_a_header_that_names_somebody_else(spooled, make_scan, said: ScanIdentity, field: str) -> None:
    with pytest.raises(StageFailed, match="LF-JOB-023") as caught:
        decode(spooled(make_scan(identity=said)))
    assert field in caught.value.message
    assert caught.value.refused
    for value in (said.patient_id, said.patient_name, said.study_instance_uid):
        assert not value or value not in str(caught.value)


def test_a_payload_that_is_no_hdf5(spooled, tmp_path: Path) -> None:
    (tmp_path / "no.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(ReconError, match="LF-RAW-001"):
        decode(spooled(tmp_path / "no.h5"))
