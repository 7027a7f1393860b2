"""Measurements in HDF5 groups of any name, and several of them in one file."""

from pathlib import Path

import h5py
import pytest

from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.send import wrapping_of
from lfmri_node.recon.errors import InvalidRawData

GIVEN = {"PatientID": "A1"}


def renamed(scan: Path, *names: str) -> Path:
    with h5py.File(scan, "r+") as file:
        for name in names:
            file.copy("dataset", name)
        del file["dataset"]
    return scan


@pytest.mark.parametrize("name", ["meas_MID00021", "2024-01-02 10:11:12", "Messung für Übung", "dataset_1"])
def test_any_name_goes_into_the_raw_data_object(make_scan, tmp_path: Path, name: str) -> None:
    scan = renamed(make_scan(), name)
    wrapping = wrapping_of(scan, GIVEN, None)
    (part,) = wrap(scan, tmp_path, wrapping.attributes, group=wrapping.group)
    assert read_payload(part).fields.group == wrapping.group == name


def test_of_several_groups_one_is_named_with_an_option(make_scan) -> None:
    scan = renamed(make_scan(), "dataset_1", "dataset_2")
    with pytest.raises(InvalidRawData) as refused:
        wrapping_of(scan, GIVEN, None)
    assert refused.value.code == "LF-RAW-002"
    assert "--group" in refused.value.hint
    assert wrapping_of(scan, GIVEN, "dataset_2").group == "dataset_2"


@pytest.mark.parametrize("name", ["a\\b", "x" * 65, " padded "])
def test_a_name_that_dicom_cannot_hold_is_refused(make_scan, name: str) -> None:
    with pytest.raises(NodeError) as refused:
        wrapping_of(renamed(make_scan(), name), GIVEN, None)
    assert refused.value.code == "LF-CFG-013"
