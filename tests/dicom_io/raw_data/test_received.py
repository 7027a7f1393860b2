"""The value beside a received object: equal to what the head says, read instead of it, made again."""

import stat
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.received import (
    parse_measurement,
    recall,
    recall_measurement,
    remember,
    value_path,
)
from lfmri_node.dicom_io.raw_data.wrap import wrap

NAMES = {
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 101": "Wałęsa^Lech",
    "ISO_IR 144": "Жданов^Юлий",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 192": "Wang^XiaoDong=王^小东",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}


@pytest.fixture
def paths(h5: Path, tmp_path: Path, source: dict[str, object]) -> list[Path]:
    return wrap(h5, tmp_path, source, max_part_bytes=30_000)


def blank_the_head(path: Path) -> None:
    """Nothing but the payload is left of the object."""
    offset = read_payload(path).offset
    path.write_bytes(bytes(offset) + path.read_bytes()[offset:])


def test_the_value_is_read_instead_of_the_head(paths: list[Path]) -> None:
    parsed = parse_measurement(paths)
    for part in parsed.parts:
        remember(part)
        blank_the_head(part.path)
    assert recall_measurement(paths) == parsed
    assert recall_measurement(paths).context == parsed.context


def test_the_value_is_for_its_owner_only(paths: list[Path]) -> None:
    remember(read_payload(paths[0]))
    assert stat.S_IMODE(value_path(paths[0]).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["missing", "cut", "one bit", "empty", "another version"])
def test_a_damaged_value_is_made_again(paths: list[Path], damage: str) -> None:
    header = read_payload(paths[0])
    remember(header)
    value = value_path(paths[0])
    content = value.read_bytes()
    at = content.index(b"LF-0001")
    damaged = {
        "cut": content[:-10],
        "one bit": content[:at] + b"M" + content[at + 1 :],
        "empty": b"",
        "another version": content.replace(b'"format": 1', b'"format": 9'),
    }
    if damage == "missing":
        value.unlink()
    else:
        value.write_bytes(damaged[damage])
    assert recall(paths[0]) == header
    assert value.read_bytes() == content


@pytest.mark.parametrize("character_set", NAMES)
def test_names_in_eight_character_sets(h5: Path, tmp_path: Path, character_set: str) -> None:
    (path,) = wrap(h5, tmp_path, {"PatientID": "P", "StudyInstanceUID": "1.2.3"})
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = character_set.split("\\")
    dataset.PatientName = NAMES[character_set]
    dataset.save_as(path)
    remember(read_payload(path))
    assert recall_measurement([path]).context.attributes["PatientName"] == NAMES[character_set]


def test_values_of_every_kind_survive(h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    code, other = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "Schädel"
    other.PatientID, other.TypeOfPatientID = "OLD-1", "TEXT"
    source |= {
        "PatientWeight": "70.5",
        "PatientSize": "1.8",
        "PregnancyStatus": 4,
        "ProcedureCodeSequence": [code],
        "OtherPatientIDsSequence": [other, other],
        "PatientBirthDate": "",
    }
    (path,) = wrap(h5, tmp_path, source)
    remember(read_payload(path))
    attributes = recall_measurement([path]).context.attributes
    original = pydicom.dcmread(path)
    for keyword in ("PatientSize", "PatientWeight", "PregnancyStatus", "PatientBirthDate", "PatientName"):
        assert attributes[keyword] == original[keyword].value
    assert attributes["OtherPatientIDsSequence"][1] == original.OtherPatientIDsSequence[1]
    assert attributes["ProcedureCodeSequence"][0].CodeMeaning == "Schädel"
