"""What `explain` says is what `reconstruct` and the node then do."""

import json
from pathlib import Path

import pytest

from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.cli.main import run
from lfmri_node.node.config import Config, from_document
from lfmri_node.node.offline.explain import explain_file
from lfmri_node.recon.phantom.demo_scan import write_demo_scan
from lfmri_node.recon.types import ScanIdentity

WHO = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella", "StudyInstanceUID": "1.2.3"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    gateway = {"fft_sign": 1}
    return from_document({"gateways": {"TURNED": gateway}}, base=tmp_path, name="test")


def test_a_scan_like_those_of_the_training(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "demo.h5"
    write_demo_scan(path, n_slices=2)
    found = explain_file(path, config, calling_ae="", group=None)
    (scan,) = found.scans
    assert scan.fallback_because == ()
    assert all(condition.inside for condition in scan.conditions)
    assert {condition.name: condition.value for condition in scan.conditions}["acceleration"] > 1
    assert scan.used["weights"] == "lfmri-v5"
    assert scan.limit_s == 300 + 2 * 30
    assert scan.expected_s is None  # nothing is on record yet


def test_what_lies_outside_is_named_with_the_code_of_the_verdict(make_scan, config: Config) -> None:
    found = explain_file(make_scan(identity=ScanIdentity(patient_id="1")), config, calling_ae="", group=None)
    (scan,) = found.scans
    outside = {condition.name for condition in scan.conditions if condition.inside is False}
    assert outside == {"readout", "phase encodes"}  # 64 pixels
    assert "LF-QUA-103" in {code for code, _ in scan.fallback_because}
    assert (found.identity, found.missing, found.refused) == ("header", ("StudyInstanceUID",), None)


def test_a_scan_of_nobody_would_be_held(make_scan, config: Config) -> None:
    found = explain_file(make_scan(), config, calling_ae="", group=None)
    assert (found.missing, found.refused) == (("PatientID", "StudyInstanceUID"), None)


def test_an_object_that_contradicts_its_header_is_refused(make_scan, config: Config, tmp_path: Path) -> None:
    scan = make_scan(identity=ScanIdentity(patient_id="SOMEBODY-ELSE"))
    (item,) = wrap(scan, tmp_path, WHO)
    found = explain_file(item, config, calling_ae="", group=None)
    assert (found.identity, found.refused["code"]) == ("dicom", "LF-JOB-023")
    (item,) = wrap(make_scan("other.h5"), tmp_path, WHO)
    assert explain_file(item, config, calling_ae="", group=None).refused is None


def test_geometry_that_is_none_is_refused_and_explained_all_the_same(make_scan, config: Config) -> None:
    scan = make_scan(identity=ScanIdentity(patient_id="1"), read_dir=(0.0, 0.0, 0.0))
    found = explain_file(scan, config, calling_ae="", group=None)
    assert found.refused["code"] == "LF-JOB-022"
    assert found.scans[0].header["geometry_known"] is False


def test_every_pipeline_says_why_it_fits_or_not_and_the_first_that_fits_is_used(
    make_scan, tmp_path: Path
) -> None:
    pacs = {"kind": "dicom", "host": "h", "port": 104, "ae_title": "P"}
    document = {
        "pipelines": [
            {"name": "knee", "only": {"protocol": "knee*"}, "method": "cg-sense"},
            {
                "name": "test",
                "only": {"protocol": "test"},
                "method": "zero-filled",
                "outputs": ["fallback", "summary"],
                "destinations": ["b"],
            },
            {"name": "rest", "only": {}, "method": "wavelet"},
        ],
        "destinations": [{**pacs, "name": "a"}, {**pacs, "name": "b"}],
    }
    config = from_document(document, base=tmp_path, name="test")
    (scan,) = explain_file(make_scan(), config, calling_ae="", group=None).scans
    assert [(answer.rule, answer.fits) for answer in scan.pipelines] == [
        ("knee", False),
        ("test", True),
        ("rest", True),
    ]
    assert scan.pipelines[0].why == "protocol is 'test', wanted 'knee*'"
    assert (scan.used["pipeline"], scan.used["method"]) == ("test", "zero-filled")
    assert (scan.used["outputs"], scan.used["destinations"]) == (["fallback", "summary"], ["b"])


def test_a_gateways_own_settings_are_told(make_scan, config: Config) -> None:
    assert explain_file(make_scan(), config, calling_ae="TURNED", group=None).reader["fft_sign"] == 1
    assert explain_file(make_scan(), config, calling_ae="", group=None).reader["fft_sign"] == -1


def test_a_file_that_is_none_is_explained_too(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "scan.h5"
    path.write_bytes(b"nothing" * 1000)
    found = explain_file(path, config, calling_ae="", group=None)
    assert (found.scans, found.missing) == ((), ())
    assert found.refused["code"].startswith("LF-")


def test_the_command_names_nobody(make_scan, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (item,) = wrap(make_scan(), tmp_path, WHO)
    for arguments in ((), ("--json",)):
        assert run(["explain", str(item), *arguments]) == 0
        out = capsys.readouterr().out
        assert "SENTINEL" not in out
        assert "Zzyzx" not in out
    assert json.loads(out)["identity"] == "dicom"
