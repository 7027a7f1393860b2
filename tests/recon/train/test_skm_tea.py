"""SKM-TEA: planes, masks, statistics, boxes; on files of our own and on the real annotations."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.train.real import Box, Group
from lfmri_node.recon.train.skm_tea import (
    Statistics,
    files,
    padded,
    poisson_mask,
    read_scan,
    slices,
    statistics,
)
from lfmri_node.recon.train.skm_tea_boxes import SkmTeaBoxes, read_boxes

KNOWN = Statistics(std=1.0, maximum=(1.0, 1.0))


def table(matrix=(3, 432, 96), boxes=(), inspected=True, scan="MTR_001"):
    return {
        "images": [
            {"id": 7, "scan_id": scan, "subject_id": 79, "matrix_shape": list(matrix), "inspected": inspected}
        ],
        "categories": [
            {"id": 3, "name": "Meniscal Tear (Radial)", "supercategory": "Meniscal Tear"},
            {"id": 16, "name": "Effusion", "supercategory": "Effusion"},
        ],
        "tissues": [{"id": 1, "name": "Meniscus"}],
        "annotations": [
            {
                "id": n,
                "image_id": 7,
                "category_id": category,
                "tissue_id": -1 if category == 16 else 1,
                "bbox": list(map(float, box)),
                "confidence": 3.0,
            }
            for n, (category, box) in enumerate(boxes, 1)
        ],
    }


@pytest.fixture
def annotate(tmp_path):
    """``annotate(...)``: annotations of one scan, read back from a table."""

    def annotate(split: str = "train", **content: object) -> SkmTeaBoxes:
        path = tmp_path / f"{split}.json"
        path.write_text(json.dumps(table(**content)))
        return read_boxes([path])

    return annotate


class TestPlanes:
    def test_target_is_the_combination_of_the_coils(self, write_skm_tea, tmp_path):
        """sum_c conj(maps_c) ifft2(kspace_c): k-space, maps and target of a plane belong together."""
        path = write_skm_tea(tmp_path / "MTR_001.h5", n_coils=3)
        found = list(slices(path))
        assert [(s.index, s.echo) for s in found] == [(x, e) for x in range(3) for e in (0, 1)]
        for one in found:
            assert one.kspace.shape == one.maps.shape == (3, 432, 96)
            assert one.kspace.dtype == one.target.dtype == np.complex64
            shifted = np.fft.ifft2(np.fft.ifftshift(one.kspace, (1, 2)), norm="ortho")
            combined = (one.maps.conj() * np.fft.fftshift(shifted, (1, 2))).sum(0)
            np.testing.assert_allclose(one.target, combined, atol=1e-4)

    def test_are_divided_by_the_deviation_of_the_magnitude(self, write_skm_tea, tmp_path):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        with h5py.File(path) as file:
            magnitude = np.abs(file["target"][...])
            stored = np.moveaxis(file["kspace"][1, :, :, 1], -1, 0)
        found = list(slices(path))
        assert found[0].scale == pytest.approx(magnitude.std(), rel=1e-5)
        assert np.std([np.abs(s.target) for s in found]) == pytest.approx(1.0, rel=1e-4)
        np.testing.assert_allclose(found[3].kspace * np.float32(found[3].scale), stored, rtol=1e-5)
        for echo in (0, 1):
            expected = magnitude[:, :, :, echo].max() / magnitude.std()
            assert found[echo].data_range == pytest.approx(expected, rel=1e-5)

    def test_echo_plane_and_known_statistics(self, write_skm_tea, tmp_path):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        (only,) = slices(path, echoes=(1,), which=[2], known=KNOWN)
        assert (only.index, only.echo, only.scale) == (2, 1, 1.0)
        assert (only.group, only.field_strength_t) == (Group.SKM_TEA, 3.0)
        assert (only.file, only.subject, only.label, only.boxes) == ("MTR_001", "MTR_001", None, ())

    @pytest.mark.parametrize(("depth", "acquired"), [(144, 64), (160, 80), (168, 88)])
    def test_measured_is_what_was_not_padded(self, write_skm_tea, tmp_path, depth, acquired):
        """48 rows above and below of 512, 40 columns left and right, whatever the depth."""
        path = write_skm_tea(
            tmp_path / "MTR_001.h5", matrix=(1, 512, depth), acquired=(416, acquired), n_coils=1
        )
        (only,) = slices(path, echoes=(0,))
        inside = np.zeros((512, depth), dtype=bool)
        inside[48:464, 40 : depth - 40] = True
        assert np.array_equal(only.measured, inside)
        assert np.array_equal(np.abs(only.kspace[0]) > 0, inside)

    def test_of_a_scan_of_another_matrix_than_annotated_are_refused(self, write_skm_tea, tmp_path, annotate):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        with pytest.raises(InvalidDataset, match="LF-LAB-104"):
            next(slices(path, boxes=annotate(matrix=(3, 432, 100)), known=KNOWN))


class TestMasks:
    @pytest.mark.parametrize(("depth", "mask_depth"), [(160, 80), (144, 64), (168, 88)])
    def test_are_padded_to_the_plane(self, write_skm_tea, tmp_path, depth, mask_depth):
        mask = np.random.default_rng(0).random((416, mask_depth)) < 0.2
        path = write_skm_tea(
            tmp_path / "MTR_001.h5",
            matrix=(1, 512, depth),
            acquired=(416, mask_depth),
            n_coils=1,
            masks={6: mask},
        )
        whole = poisson_mask(path, 6)
        assert whole.shape == (512, depth)
        assert np.array_equal(whole[48:464, 40 : depth - 40], mask)
        assert whole.sum() == mask.sum()
        assert not (whole & ~read_scan(path).measured).any()

    def test_smaller_mask_is_centred(self):
        assert np.argwhere(padded(np.ones((1, 1), dtype=bool), (512, 160))).tolist() == [[256, 80]]

    def test_absent_mask_is_named(self, write_skm_tea, tmp_path):
        path = write_skm_tea(tmp_path / "MTR_001.h5", masks={4: np.ones((416, 16)), 10: np.ones((416, 16))})
        assert read_scan(path).accelerations == (4, 10)
        with pytest.raises(InvalidDataset, match=r"LF-LAB-108.*acceleration 8 \(it has: 4, 10\)"):
            poisson_mask(path, 8)

    def test_masks_tell_what_was_acquired(self, write_skm_tea, tmp_path):
        """A depth of 144 with the masks of 160: 32 columns of padding on each side."""
        path = write_skm_tea(
            tmp_path / "MTR_001.h5", matrix=(1, 512, 144), n_coils=1, masks={4: np.ones((416, 80))}
        )
        assert np.flatnonzero(read_scan(path).measured.any(0)).tolist() == list(range(32, 112))
        assert np.array_equal(poisson_mask(path, 4), read_scan(path).measured)

    def test_mask_larger_than_the_plane_is_refused(self, write_skm_tea, tmp_path):
        path = write_skm_tea(tmp_path / "MTR_001.h5", masks={4: np.ones((416, 100))})
        with pytest.raises(InvalidDataset, match="LF-LAB-104"):
            poisson_mask(path, 4)


class TestRefusals:
    def test_of_what_is_no_hdf5(self, tmp_path):
        (tmp_path / "MTR_001.h5").write_bytes(b"nothing")
        with pytest.raises(InvalidDataset, match="LF-LAB-103"):
            read_scan(tmp_path / "MTR_001.h5")

    @pytest.mark.parametrize("name", ["kspace", "maps", "target"])
    def test_of_files_that_lack_a_part(self, write_skm_tea, tmp_path, name):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        with h5py.File(path, "r+") as file:
            shape = file[name].shape
            del file[name]
        with pytest.raises(InvalidDataset, match=f"LF-LAB-104: MTR_001.h5 has no data set {name}"):
            read_scan(path)
        with h5py.File(path, "r+") as file:
            file.create_dataset(name, (*shape[:3], 9, 9), "c8")
        with pytest.raises(InvalidDataset, match="LF-LAB-104"):
            read_scan(path)

    def test_of_an_empty_target(self, write_skm_tea, tmp_path):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        with h5py.File(path, "r+") as file:
            shape = file["target"].shape
            del file["target"]
            file.create_dataset("target", shape, "c8")
        with pytest.raises(InvalidDataset, match="without signal"):
            next(slices(path))


class TestBoxes:
    def test_are_cut_by_the_planes(self, annotate):
        """Against the voxels of the box, plane by plane."""
        matrix = (6, 40, 30)
        voxels = np.zeros(matrix, dtype=bool)
        voxels[2:5, 10:17, 4:9] = True
        boxes = annotate(matrix=matrix, boxes=[(3, (2, 10, 4, 3, 7, 5))])
        for x in range(6):
            drawn = np.zeros(matrix[1:], dtype=bool)
            for box in boxes.plane_boxes("MTR_001", x):
                drawn[box.row : box.row + box.height, box.column : box.column + box.width] = True
                assert box.label == "Meniscal Tear (Radial)"
            assert np.array_equal(drawn, voxels[x])
            assert boxes.plane_label("MTR_001", x) is bool(voxels[x].any())
        assert boxes.groups == ("Meniscal Tear", "Effusion")
        assert boxes.boxes["MTR_001"][0].tissue == "Meniscus"

    def test_come_with_the_slices(self, write_skm_tea, tmp_path, annotate):
        path = write_skm_tea(tmp_path / "MTR_001.h5")
        boxes = annotate(boxes=[(16, (1, 100, 20, 1, 50, 30))])
        found = list(slices(path, boxes=boxes, echoes=(0,), known=KNOWN))
        assert [s.label for s in found] == [False, True, False]
        assert found[1].boxes == (Box(row=100, column=20, height=50, width=30, label="Effusion"),)
        assert {s.subject for s in found} == {"SKM-TEA 79"}

    def test_without_positive_extent_are_dropped_and_leave_their_planes_unclear(self, annotate):
        boxes = annotate(matrix=(9, 40, 30), boxes=[(3, (6, 10, 4, -3, 7, 5)), (3, (0, 10, 4, 2, 7, 0))])
        assert [odd.place for odd in boxes.dropped] == [
            "MTR_001 annotation 1 of train",
            "MTR_001 annotation 2 of train",
        ]
        labels = [boxes.plane_label("MTR_001", x) for x in range(9)]
        assert labels == [None, None, False, None, None, None, False, False, False]
        assert boxes.n_boxes == 2
        assert boxes.boxes == {}

    def test_beyond_the_matrix_are_clipped(self, annotate):
        boxes = annotate(matrix=(9, 40, 30), boxes=[(3, (7, 30, -2, 5, 20, 10)), (3, (20, 1, 1, 5, 5, 5))])
        assert boxes.plane_boxes("MTR_001", 8) == (
            Box(row=30, column=0, height=10, width=8, label="Meniscal Tear (Radial)"),
        )
        assert (len(boxes.clipped), len(boxes.dropped)) == (1, 1)

    def test_scan_that_nobody_inspected_has_no_negatives(self, annotate):
        boxes = annotate(inspected=False, boxes=[(16, (1, 100, 20, 1, 50, 30))])
        assert [boxes.plane_label("MTR_001", x) for x in range(3)] == [None, True, None]
        assert boxes.plane_label("MTR_999", 0) is None

    @pytest.mark.parametrize("text", ["", "[]", '{"images": []}', '{"images": [{"id": 1}]}'])
    def test_other_tables_are_refused(self, tmp_path, text):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(InvalidDataset, match=r"LF-LAB-106: train\.json"):
            read_boxes([tmp_path / "train.json"])

    def test_scan_in_two_splits_is_refused(self, tmp_path):
        for split in ("train", "val"):
            (tmp_path / f"{split}.json").write_text(json.dumps(table()))
        with pytest.raises(InvalidDataset, match=r"LF-LAB-106: val\.json"):
            read_boxes([tmp_path / "train.json", tmp_path / "val.json"])


@pytest.fixture(scope="module")
def boxes(shared_data) -> SkmTeaBoxes:
    folder: Path = shared_data("skm_tea")
    return read_boxes(folder / f"{split}.json" for split in ("train", "val", "test"))


class TestRealAnnotations:
    def test_counts(self, boxes):
        splits = [scan.split for scan in boxes.scans.values()]
        assert [splits.count(split) for split in ("train", "val", "test")] == [86, 33, 36]
        assert boxes.n_boxes == 242 + 104 + 130
        assert sum(len(found) for found in boxes.boxes.values()) == boxes.n_boxes - 9
        assert sum(not scan.inspected for scan in boxes.scans.values()) == 10
        assert (len(boxes.categories), boxes.groups) == (
            16,
            ("Meniscal Tear", "Ligament Tear", "Cartilage Lesion", "Effusion"),
        )

    def test_nine_negative_extents(self, boxes):
        assert len(boxes.dropped) == 9
        assert boxes.clipped == ()
        assert {odd.place.split()[0] for odd in boxes.dropped} == {
            *("MTR_105", "MTR_057", "MTR_161"),
            *("MTR_139", "MTR_047", "MTR_207", "MTR_023", "MTR_221"),
        }

    def test_subjects_stand_in_one_split(self, boxes):
        splits: dict[str, set[str]] = {}
        for scan in boxes.scans.values():
            splits.setdefault(scan.subject, set()).add(scan.split)
        assert all(len(found) == 1 for found in splits.values())

    def test_depths(self, boxes):
        depths = [scan.matrix[2] for scan in boxes.scans.values()]
        assert {depth: depths.count(depth) for depth in set(depths)} == {
            **{144: 1, 152: 1, 156: 1, 168: 1},
            160: 151,
        }
        assert {scan.matrix[:2] for scan in boxes.scans.values()} == {(512, 512)}

    def test_all_boxes_lie_in_the_matrix(self, boxes):
        for name, found in boxes.boxes.items():
            for box in found:
                for (start, stop), n in zip((box.x, box.y, box.z), boxes.scans[name].matrix, strict=True):
                    assert 0 <= start < stop <= n


class TestStreaming:
    def test_reads_one_plane_at_a_time(self, write_skm_tea, tmp_path, read_bytes):
        path = write_skm_tea(tmp_path / "MTR_001.h5", matrix=(6, 432, 96))
        plane = 432 * 96 * 2 * 2 * 8
        reader = slices(path, known=KNOWN)
        next(reader)
        assert max(read_bytes) == plane
        assert sum(read_bytes) == 2 * plane  # k-space of both echoes, two maps, a target of both echoes
        list(reader)
        assert max(read_bytes) == plane
        del read_bytes[:]
        statistics(path)
        assert max(read_bytes) == plane / 2

    def test_memory_is_that_of_a_few_planes(self, write_skm_tea, tmp_path, peak_growth_mb):
        """A scan of 512 planes and 8 coils, 8.7 GB, never written: its samples read as zero."""
        path = tmp_path / "MTR_001.h5"
        matrix = (512, 512, 160)
        with h5py.File(path, "w") as file:
            for name, rest in {"kspace": (2, 8), "maps": (8, 1), "target": (2, 1)}.items():
                file.create_dataset(name, (*matrix, *rest), "c8")
        plane_mb = 512 * 160 * 8 * 8 / 1e6
        grown, n = peak_growth_mb(
            "from lfmri_node.recon.train.skm_tea import Statistics, slices\n"
            "known = Statistics(std=1.0, maximum=(1.0, 1.0))\n"
            "n = sum(1 for _ in slices(Path(sys.argv[1]), known=known, which=range(0, 512, 32)))",
            path,
        )
        assert n == 32
        assert grown < 12 * plane_mb


def test_files_are_those_of_the_raw_track(write_skm_tea, tmp_path):
    write_skm_tea(tmp_path / "files_recon_calib-24" / "MTR_002.h5")
    write_skm_tea(tmp_path / "files_recon_calib-24" / "MTR_001.h5")
    assert [path.stem for path in files(tmp_path)] == ["MTR_001", "MTR_002"]
    assert files(tmp_path / "image_files") == ()
