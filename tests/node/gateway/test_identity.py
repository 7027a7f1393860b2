"""Identity that is given at the gateway: by option, environment, file or standard input, and never quoted."""

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfmri_node.dicom_io.raw_data.context import contradictions
from lfmri_node.dicom_io.raw_data.received import parse_measurement, recall_measurement, remember
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.cli.main import app
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.identity import read_identity
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.recon.types import ScanIdentity

TEXT = 'PatientID = "4711"\nPatientName = "Probe^Nine"\nPatientBirthDate = "19700301"\n'


def test_a_file_and_options_over_it(tmp_path: Path) -> None:
    (tmp_path / "who.toml").write_text(TEXT)
    given = read_identity(tmp_path / "who.toml", {"PatientID": "4712", "AccessionNumber": None})
    assert given == {"PatientID": "4712", "PatientName": "Probe^Nine", "PatientBirthDate": "19700301"}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert read_identity(Path("-"), {})["PatientID"] == "4711"


@pytest.mark.parametrize(
    "text", ['PatientID = "secret', "PatientID = 4711", 'Secret = "a"', 'PixelData = "secret"', "[PatientID]"]
)
def test_a_file_of_another_kind_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "who.toml").write_text(text)
    with pytest.raises(NodeError) as refused:
        read_identity(tmp_path / "who.toml", {})
    assert refused.value.code == "LF-CFG-012"
    assert "ecret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("command", ["send", "reconstruct"])
def test_the_environment_serves_in_place_of_options(command: str) -> None:
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for name in (
        "LFMRI_PATIENT_ID",
        "LFMRI_PATIENT_NAME",
        "LFMRI_STUDY_UID",
        "LFMRI_ACCESSION",
        "--identity",
    ):
        assert name in text


def test_what_is_given_stands_over_the_header(make_scan) -> None:
    scan = make_scan(identity=ScanIdentity(patient_id="anonymous", patient_name="anonymous"))
    said = wrapping_of(scan, {}, None)
    assert (said.attributes["PatientID"], said.group) == ("anonymous", "dataset")
    given = wrapping_of(scan, {"PatientID": "4711"}, None)
    assert (given.attributes["PatientID"], given.attributes["PatientName"]) == ("4711", "anonymous")
    assert "4711" not in repr(given)


def test_nobody_is_no_patient(make_scan) -> None:
    with pytest.raises(NodeError) as refused:
        wrapping_of(make_scan(), {}, None)
    assert refused.value.code == "LF-CFG-007"


def test_the_object_says_what_was_given_and_the_rest_is_still_compared(make_scan, tmp_path: Path) -> None:
    scan = make_scan(identity=ScanIdentity(patient_id="anonymous", accession_number="12"))
    attributes = wrapping_of(scan, {"PatientID": "4711"}, None).attributes
    paths = wrap(scan, tmp_path, {**attributes, "AccessionNumber": "13"}, given=("PatientID",))
    received = parse_measurement(paths)
    remember(received.parts[0])
    identity = ScanIdentity(patient_id="anonymous", accession_number="12")
    for known in (received, recall_measurement(paths)):
        assert known.given == {"PatientID"}
        assert contradictions(identity, known.context, known.given) == ("AccessionNumber",)
    assert contradictions(identity, received.context) == ("PatientID", "AccessionNumber")
