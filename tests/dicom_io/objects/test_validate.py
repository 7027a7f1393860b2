"""Legal or not: dciodvfy as the gate, dcentvfy over a whole study, highdicom's tables as a second opinion."""

import os
import re
import subprocess
from pathlib import Path

import pydicom
import pytest
from highdicom import _standard_utils as standard

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.publish import publish
from lfmri_node.dicom_io.objects.validate import assert_valid, check, program
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.wrap import wrap

_ROLES = ("lf-mri", "reference", "difference", "map", "segmentation", "fused", "report", "summary")

# Its table lists what every kind of content item needs, and the root is a container.
_OF_CONTENT_ITEMS = "sr-document-content"


@pytest.fixture
def image(delivered):
    return delivered.read("lf-mri")[0]


def _save(dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("role", _ROLES)
def test_what_we_write_is_legal(summed_up, role):
    assert summed_up.files(role)
    for path in summed_up.files(role):
        assert check(path) == ()


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
    with pytest.raises(ObjectError) as refused:
        assert_valid([_save(image, tmp_path / "broken.dcm")])
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


def test_the_objects_and_their_raw_data_agree_as_a_study(make, h5, source, tmp_path):
    raw = wrap(h5, tmp_path, source)
    context = parse_measurement(raw).context
    delivery = make.deliver(make.trusted(), context)
    files = [str(path) for path in (*raw, *delivery.files())]
    answer = subprocess.run([program("dcentvfy"), *files], capture_output=True, text=True, check=False)
    told = (answer.stdout + answer.stderr).splitlines()
    # dcentvfy counts Accession Number to the study in a report and to the series in images
    assert [line for line in told if "Element=<AccessionNumber> IE <" not in line] == []
    assert answer.returncode == 0


@pytest.mark.parametrize("role", _ROLES)
def test_module_tables_of_the_standard_agree(summed_up, role):
    """Every mandatory module has its type 1 and 2 attributes, and there is none of another IOD."""
    modules = standard.get_module_attribute_map()
    for dataset in summed_up.read(role):
        iod = standard.get_iod_module_map()[standard.get_sop_class_iod_map()[dataset.SOPClassUID]]
        known = {"TimezoneOffsetFromUTC"}
        for module in iod:
            top = [a for a in modules.get(module["key"], ()) if not a["path"]]
            known |= {a["keyword"] for a in top}
            if module["usage"] != "M" or module["key"] == _OF_CONTENT_ITEMS:
                continue
            for attribute in top:
                if attribute["type"] in ("1", "2"):
                    assert attribute["keyword"] in dataset, (module["key"], attribute["keyword"])
                if attribute["type"] == "1":
                    assert not dataset[attribute["keyword"]].is_empty, attribute["keyword"]
        assert {element.keyword for element in dataset} <= known
