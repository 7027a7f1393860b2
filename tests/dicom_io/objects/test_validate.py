"""Legal or not: dciodvfy as the gate before an object leaves."""

import os
import re
import subprocess
from pathlib import Path

import pydicom
import pytest

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.publish import publish
from lfmri_node.dicom_io.objects.validate import check, program, require_legal


@pytest.fixture
def image(delivered):
    return delivered.read("lf-mri")[0]


def _save(dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_missing_attribute_is_an_error(image, tmp_path):
    del image.FrameOfReferenceUID
    (problem,) = check(_save(image, tmp_path / "broken.dcm"))
    assert "FrameOfReferenceUID" in problem


def test_an_attribute_that_may_not_be_present_is_an_error_though_dciodvfy_ends_with_zero(image, tmp_path):
    image.Laterality = "L"  # of a brain
    path = _save(image, tmp_path / "broken.dcm")
    assert subprocess.run([program("dciodvfy"), path], capture_output=True, check=False).returncode == 0
    assert any("Laterality" in problem for problem in check(path))


@pytest.mark.parametrize("content", [b"", b"hello " * 100, b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_dicom_is_an_error(tmp_path, content):
    path = tmp_path / "junk.dcm"
    path.write_bytes(content)
    assert check(path)


def test_a_truncated_file_is_an_error(delivered, tmp_path):
    path = tmp_path / "short.dcm"
    path.write_bytes(delivered.files("lf-mri")[0].read_bytes()[:-20])
    assert check(path)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(
    ("keyword", "value", "rule"),
    [
        ("PatientName", "Secret> - Length" * 9, "Length invalid for this VR"),
        ("PatientID", "Secret" * 20, "Length invalid for this VR"),
        ("PatientID", "AB\nError - Secret Element=<Secret> Module=<Secret>", "Value invalid for this VR"),
        ("PatientID", "Se\\cret", "Bad attribute Value Multiplicity"),
        ("PatientSex", "SECRET", "Unrecognized enumerated value"),
        ("PatientBirthDate", "Secret", "Length invalid for this VR"),
        ("AccessionNumber", "Secret" * 10, "Length invalid for this VR"),
    ],
)
def test_an_error_names_the_attribute_and_never_the_value(image, tmp_path, monkeypatch, keyword, value, rule):
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    setattr(image, keyword, value)
    broken = _save(image, tmp_path / "broken.dcm")
    with pytest.raises(ObjectError) as refused:
        require_legal({broken: check(broken)})
    assert refused.value.code == "LF-OBJ-005"
    assert f"{keyword}: {rule}" in str(refused.value)
    assert not {"secret", "cret"} & set(re.findall(r"[a-z]+", str(refused.value).lower()))


def test_a_validator_that_does_not_answer_is_given_up(tmp_path):
    silent = tmp_path / "pipe.dcm"
    os.mkfifo(silent)  # opening it for reading waits for a writer that never comes
    with pytest.raises(ObjectError) as refused:
        check(silent, timeout_s=0.2)
    assert refused.value.code == "LF-OBJ-004"


def test_a_validator_that_is_not_installed_is_an_error():
    with pytest.raises(ObjectError) as refused:
        program("dciodvfy-of-another-package")
    assert refused.value.code == "LF-OBJ-003"


def test_one_illegal_object_keeps_all_from_appearing(delivered, image, tmp_path):
    good = delivered.read("reference")[0]
    del image.FrameOfReferenceUID
    with pytest.raises(ObjectError) as refused:
        publish([(Role.REFERENCE, good), (Role.LF_MRI, image)], tmp_path / "out")
    assert refused.value.code == "LF-OBJ-005"
    assert list((tmp_path / "out").iterdir()) == []
