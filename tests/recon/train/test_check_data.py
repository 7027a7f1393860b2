"""What check-data finds, misses and refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.train.check_data import DataReport, SetReport, check_data

HEAD = "file,slice,study_level,x,y,width,height,label\n"


def sets(report: DataReport) -> tuple[SetReport, SetReport, SetReport]:
    fastmri, plus, skm_tea = report.sets
    return fastmri, plus, skm_tea


@pytest.fixture
def everything(tmp_path, write_fastmri, write_skm_tea) -> Path:
    """A folder with a little of each data set, as it comes out of the archives."""
    knee = tmp_path / "fastmri" / "knee"
    write_fastmri(knee / "multicoil_train" / "file1.h5", field=2.89)
    write_fastmri(knee / "multicoil_train" / "file2.h5", acquisition="CORPDFS_FBKREPEAT", field=1.49)
    write_fastmri(knee / "multicoil_val" / "file3.h5", shape=(5, 2, 64, 40))
    write_fastmri(knee / "multicoil_test" / "file4.h5", mask=np.ones(40, dtype=bool))
    plus = tmp_path / "fastmri-plus" / "Annotations"
    plus.mkdir(parents=True)
    (plus / "knee.csv").write_text(HEAD + "file1,0,No,1,2,3,4,Cyst\nfile1,0,No,1,2,3,0,Cyst\n")
    (plus / "knee_file_list.csv").write_text("file1\nfile2\nKnee data\n")
    skm_tea = tmp_path / "skm-tea" / "v1-release"
    write_skm_tea(skm_tea / "files_recon_calib-24" / "MTR_001.h5", masks={4: np.ones((416, 16))})
    images = [
        {
            "id": n,
            "scan_id": f"MTR_00{n}",
            "subject_id": n,
            "matrix_shape": [3, 432, 96],
            "inspected": n == 1,
        }
        for n in (1, 2)
    ]
    box = {"id": 1, "image_id": 1, "category_id": 1, "tissue_id": -1, "confidence": 5.0}
    content = {
        "images": images,
        "categories": [{"id": 1, "name": "Effusion", "supercategory": "Effusion"}],
        "tissues": [],
        "annotations": [box | {"bbox": [1, 1, 1, 1, 1, 1]}, box | {"bbox": [1, 1, 1, -1, 1, 1]}],
    }
    for version in ("v0.0.1", "v1.0.0"):
        folder = skm_tea / "annotations" / version
        folder.mkdir(parents=True)
        (folder / "train.json").write_text(json.dumps(content))
    return tmp_path


class TestFound:
    def test_places_are_found_wherever_the_archives_were_unpacked(self, everything):
        fastmri, plus, skm_tea = sets(check_data(everything))
        knee = "fastmri/knee"
        assert fastmri.places == tuple(f"{knee}/multicoil_{split}" for split in ("test", "train", "val"))
        assert plus.places == tuple(
            f"fastmri-plus/Annotations/{name}" for name in ("knee.csv", "knee_file_list.csv")
        )
        assert skm_tea.places == tuple(
            f"skm-tea/v1-release/{name}" for name in ("files_recon_calib-24", "annotations/v1.0.0/train.json")
        )

    def test_fastmri_is_counted(self, everything):
        fastmri, _, _ = sets(check_data(everything))
        assert dict(fastmri.counts) == {
            "volumes of multicoil_test": 1,
            "volumes of multicoil_train": 2,
            "volumes of multicoil_val": 1,
            "slices of test": 2,
            "slices of train": 4,
            "slices of val": 5,
            "volumes PD": 3,
            "volumes PDFS": 1,
            "volumes at field strength 2.9 T": 3,
            "volumes at field strength 1.5 T": 1,
            "volumes with fastMRI+ state 'finding'": 1,
            "volumes with fastMRI+ state 'no finding'": 1,
            "volumes with fastMRI+ state 'unlabelled'": 2,
        }
        assert fastmri.missing == (
            "971 of 973 volumes of multicoil_train",
            "198 of 199 volumes of multicoil_val",
            "117 of 118 volumes of multicoil_test",
        )
        assert fastmri.oddities == ()

    def test_annotations_and_scans_are_counted(self, everything):
        _, plus, skm_tea = sets(check_data(everything))
        assert dict(plus.counts)["boxes"] == 2
        assert [odd.split(":")[0] for odd in plus.oddities] == [
            "knee_file_list.csv line 3",
            "file1 slice 0",
        ]
        assert dict(skm_tea.counts) == {
            "scans in files_recon_calib-24": 1,
            "scans with 2 coils": 1,
            "scans with Poisson masks": 1,
            "annotated scans of train": 2,
            "annotated scans that nobody inspected": 1,
            "boxes": 2,
            "boxes left out": 1,
            "categories": 1,
        }
        assert skm_tea.missing == (
            "val.json of the annotations",
            "test.json of the annotations",
            "1 annotated scans",
        )

    def test_text_and_json_say_the_same(self, everything):
        report = check_data(everything)
        text, written = report.text(), json.loads(report.to_json())
        assert [entry["name"] for entry in written["sets"]] == [entry.name for entry in report.sets]
        for entry in written["sets"]:
            assert entry["found"]
            assert f"{entry['name']}: in {', '.join(entry['places'])}" in text
            assert f"terms: {entry['terms']['name']}, {entry['terms']['address']}" in text
            for line in (*entry["missing"], *entry["oddities"]):
                assert line in text
            for what, count in entry["counts"].items():
                assert f"  {count} {what}\n" in text

    def test_each_names_its_terms(self, everything):
        names = [entry.terms.name for entry in check_data(everything).sets]
        assert "fastMRI Dataset Sharing Agreement" in names[0]
        assert names[1] == "MIT License"
        assert "Stanford University Dataset Research Use Agreement" in names[2]

    def test_one_of_them_is_enough(self, everything):
        shutil.rmtree(everything / "fastmri")
        shutil.rmtree(everything / "skm-tea")
        found = check_data(everything / "fastmri-plus" / "Annotations")
        assert [entry.found for entry in found.sets] == [False, True, False]
        assert "fastMRI knee, multi-coil: not found" in found.text()

    def test_the_folder_of_a_split_itself_is_enough(self, everything):
        fastmri, _, _ = sets(check_data(everything / "fastmri" / "knee" / "multicoil_val"))
        assert fastmri.places == (".",)
        assert dict(fastmri.counts)["slices of val"] == 5

    def test_no_samples_are_read(self, everything, read_bytes):
        check_data(everything)
        assert max(read_bytes) < 4_000  # headers and masks


class TestDamage:
    def test_is_named_and_the_rest_counted(self, everything):
        train = everything / "fastmri" / "knee" / "multicoil_train"
        (train / "file2.h5").write_bytes(b"<html>")
        (everything / "skm-tea" / "v1-release" / "files_recon_calib-24" / "MTR_001.h5").write_bytes(b"")
        (everything / "fastmri-plus" / "Annotations" / "knee.csv").write_text("file,slice\n")
        fastmri, plus, skm_tea = sets(check_data(everything))
        assert fastmri.oddities == ("multicoil_train/file2.h5: LF-LAB-103 file2.h5 cannot be read as HDF5",)
        assert dict(fastmri.counts)["slices of train"] == 2
        assert [odd.split()[0] for odd in plus.oddities] == ["LF-LAB-106"]
        assert "MTR_001.h5: LF-LAB-103 MTR_001.h5 cannot be read as HDF5" in skm_tea.oddities

    def test_of_a_header_is_named(self, everything, write_fastmri):
        path = everything / "fastmri" / "knee" / "multicoil_train" / "file1.h5"
        write_fastmri(path, header="<ismrmrdHeader>")
        fastmri, _, _ = sets(check_data(everything))
        assert [odd.split()[1] for odd in fastmri.oddities] == ["LF-RAW-003"]

    def test_of_the_annotations_is_named(self, everything):
        for path in (everything / "skm-tea" / "v1-release" / "annotations").rglob("*.json"):
            path.write_text("{")
        _, _, skm_tea = sets(check_data(everything))
        assert skm_tea.places == ("skm-tea/v1-release/files_recon_calib-24",)
        assert [odd.split(":")[0] for odd in skm_tea.oddities] == ["v1.0.0", "v0.0.1"]


class TestRefusals:
    def test_of_what_is_no_folder(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "absent", tmp_path / "file"):
            with pytest.raises(InvalidDataset, match="LF-LAB-101"):
                check_data(path)

    def test_of_a_folder_with_something_else(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        (tmp_path / "multicoil_train").mkdir()  # empty
        (tmp_path / "train.json").write_text('{"images": []}')  # of something else
        with pytest.raises(InvalidDataset, match=r"LF-LAB-102.*holds neither multicoil_train"):
            check_data(tmp_path)

    def test_of_single_coil_data_says_so(self, tmp_path):
        (tmp_path / "singlecoil_train").mkdir()
        with pytest.raises(InvalidDataset, match=r"LF-LAB-102.*get the multi-coil ones"):
            check_data(tmp_path)


def test_real_tables(shared_data):
    fastmri, plus, skm_tea = sets(check_data(shared_data("README.md").parent))
    assert not fastmri.found
    assert dict(plus.counts) == {
        "boxes": 16_154,
        "study-level rows": 13,
        "files with a row": 974,
        "labels": 22,
        "reviewed files": 1_172,
        "rows left out": 6,
        "boxes clipped to the image": 6,
    }
    counts = dict(skm_tea.counts)
    assert (counts["boxes"], counts["boxes left out"]) == (476, 9)
    assert skm_tea.missing == ("155 annotated scans",)
