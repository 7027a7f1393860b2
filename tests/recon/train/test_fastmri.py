"""fastMRI knee: header, limits, target, masks, splits; one slice in memory at a time."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.train.fastmri import (
    CENTRE_FRACTION,
    MaskKind,
    Split,
    Volume,
    files,
    line_mask,
    read_slice,
    read_volume,
    slices,
)
from lfmri_node.recon.train.fastmri_plus import read_tables
from lfmri_node.recon.train.real import Box, Group

N_COILS = 3


def volume(name: str, columns: int, measured: tuple[int, int]) -> Volume:
    return Volume(
        path=Path(name),
        shape=(1, 1, 1, columns),
        image_shape=(1, 1),
        columns=measured,
        acquisition="CORPD_FBK",
        group=Group.PD,
        field_strength_t=3.0,
        data_range=1.0,
        mask=None,
        acceleration=None,
        n_centre=None,
        has_target=True,
        subject="s",
    )


class TestVolume:
    def test_of_the_published_size(self, write_fastmri, tmp_path):
        """W = 372, center 166, maximum 331: left = 186 - 166 = 20, right = 20 + 331 + 1 = 352."""
        path = tmp_path / "file1000000.h5"
        write_fastmri(path, shape=(1, N_COILS, 640, 372), recon=320, limits=(166, 331))
        read = read_volume(path)
        assert read.shape == (1, N_COILS, 640, 372)
        assert read.columns == (20, 352)
        assert np.flatnonzero(read.measured).tolist() == list(range(20, 352))
        (only,) = slices(path)
        assert (only.kspace.shape, only.kspace.dtype) == ((N_COILS, 640, 372), np.complex64)
        assert only.target is not None
        assert (only.target.shape, only.target.dtype) == ((320, 320), np.float32)
        assert np.abs(only.kspace[..., ~only.measured]).max() == 0
        assert (only.maps, only.sampled, only.scale) == (None, None, 1.0)

    @pytest.mark.parametrize(
        ("acquisition", "group"),
        [("CORPD_FBK", Group.PD), ("CORPDFS_FBK", Group.PDFS), ("CORPDFS_FBKREPEAT", Group.PDFS)],
    )
    def test_acquisition_gives_the_group(self, write_fastmri, tmp_path, acquisition, group):
        path = write_fastmri(tmp_path / "file1.h5", acquisition=acquisition)
        assert read_volume(path).group is group
        assert {found.group for found in slices(path)} == {group}

    def test_subject_range_and_field_strength(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5", patient="abc", field=1.494)
        read = read_volume(path)
        assert (read.subject, read.field_strength_t) == ("abc", 1.494)
        found = list(slices(path))
        assert {s.data_range for s in found} == {max(float(s.target.max()) for s in found)}
        assert [s.index for s in found] == [0, 1]
        assert "abc" not in repr(read) + repr(found[0])

    def test_header_with_a_namespace_prefix(self, write_fastmri, tmp_path):
        ours = tmp_path / "file1.h5"
        write_fastmri(ours, limits=(18, 35))
        with h5py.File(ours, "r+") as file:
            text = file["ismrmrd_header"][()].decode()
            body = text.split("?>")[1]
            prefixed = body.replace("</", "\0").replace("<", "<m:").replace("\0", "</m:")
            del file["ismrmrd_header"]
            file["ismrmrd_header"] = prefixed.replace("xmlns=", "xmlns:m=")
        assert read_volume(ours).columns == (2, 38)

    def test_target_is_made_where_the_file_has_none(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5")
        stored = [s.target for s in slices(path)]
        with h5py.File(path, "r+") as file:
            del file["reconstruction_rss"]
        for made, target in zip(slices(path), stored, strict=True):
            np.testing.assert_allclose(made.target, target, rtol=1e-4)

    def test_one_slice_is_the_same_as_in_the_row(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5", shape=(4, 2, 64, 40))
        row = list(slices(path))
        single = read_slice(read_volume(path), 2)
        (chosen,) = slices(path, which=[2])
        assert single.index == chosen.index == 2
        assert np.array_equal(single.kspace, row[2].kspace)
        assert np.array_equal(chosen.target, row[2].target)

    def test_test_file_brings_its_mask_and_no_target(self, write_fastmri, tmp_path):
        """The mask claims padding: it is cut to columns 2 to 37."""
        mask = np.zeros(40, dtype=bool)
        mask[::4] = True
        path = write_fastmri(tmp_path / "file1.h5", limits=(18, 35), mask=mask)
        read = read_volume(path)
        assert (read.acceleration, read.n_centre, read.data_range) == (4.0, 3, None)
        for found in slices(path):
            assert found.target is None
            assert np.flatnonzero(found.sampled).tolist() == list(range(4, 38, 4))
            assert np.abs(found.kspace[..., ~found.sampled]).max() == 0


class TestRefusals:
    def code(self, path: Path) -> str:
        with pytest.raises(InvalidDataset) as caught:
            list(slices(path))
        assert path.name in caught.value.message
        return caught.value.code

    def test_of_swapped_axes(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5", limits=(18, 35))
        with h5py.File(path, "r+") as file:
            turned = file["kspace"][()].swapaxes(2, 3)
            del file["kspace"]
            file["kspace"] = turned
        assert self.code(path) == "LF-LAB-104"

    def test_of_what_is_no_hdf5(self, tmp_path):
        path = tmp_path / "file1.h5"
        path.write_bytes(b"<html>please log in</html>")
        assert self.code(path) == "LF-LAB-103"
        assert self.code(tmp_path / "absent.h5") == "LF-LAB-103"

    def test_of_a_file_that_is_cut_off(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5")
        path.write_bytes(path.read_bytes()[:5000])
        assert self.code(path) == "LF-LAB-103"

    def test_of_single_coil_files(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5")
        with h5py.File(path, "r+") as file:
            single = file["kspace"][:, 0]
            del file["kspace"]
            file["kspace"] = single
        assert self.code(path) == "LF-LAB-104"

    @pytest.mark.parametrize("limits", [(30, 39), (20, 60)])
    def test_of_limits_beyond_the_columns(self, write_fastmri, tmp_path, limits):
        path = write_fastmri(tmp_path / "file1.h5")
        with h5py.File(path, "r+") as file:
            text = file["ismrmrd_header"][()]
            del file["ismrmrd_header"]
            text = text.replace(b"<center>20", b"<center>%d" % limits[0])
            file["ismrmrd_header"] = text.replace(b"<maximum>39", b"<maximum>%d" % limits[1])
        assert self.code(path) == "LF-LAB-105"

    def test_of_brains(self, write_fastmri, tmp_path):
        assert self.code(write_fastmri(tmp_path / "file1.h5", acquisition="AXFLAIR")) == "LF-LAB-107"

    def test_of_a_target_for_other_slices(self, write_fastmri, tmp_path):
        path = write_fastmri(tmp_path / "file1.h5", target=np.ones((3, 32, 32)))
        assert self.code(path) == "LF-LAB-104"

    def test_of_an_acceleration_without_centre_fraction(self):
        with pytest.raises(InvalidDataset, match="LF-LAB-108"):
            line_mask(volume("file1.h5", 368, (0, 368)), MaskKind.RANDOM, 5)


class TestMasks:
    """The oracle draws in the order of fastMRI: seed, then what the kind needs."""

    NAME = "file1000001.h5"

    def oracle(self, kind: MaskKind, n: int, acceleration: int) -> np.ndarray:
        np_legacy = np.random.RandomState()
        np_legacy.seed(tuple(ord(letter) for letter in self.NAME))
        n_low = round(n * CENTRE_FRACTION[acceleration])
        mask = np.zeros(n, dtype=bool)
        if kind is MaskKind.RANDOM:
            mask = np_legacy.uniform(size=n) < (n / acceleration - n_low) / (n - n_low)
        elif kind is MaskKind.EQUISPACED:
            mask[np_legacy.randint(0, high=acceleration) :: acceleration] = True
        else:
            step = acceleration * (n_low - n) / (n_low * acceleration - n)
            start = np_legacy.randint(0, high=round(step))
            mask[np.around(np.arange(start, n - 1, step)).astype(int)] = True
        pad = (n - n_low + 1) // 2
        mask[pad : pad + n_low] = True
        return mask

    @pytest.mark.parametrize("acceleration", [4, 8])
    @pytest.mark.parametrize("kind", MaskKind)
    @pytest.mark.parametrize("n", [368, 372, 323])
    def test_are_those_of_everybody(self, kind, acceleration, n):
        mask = line_mask(volume(f"some/folder/{self.NAME}", n, (0, n)), kind, acceleration)
        assert np.array_equal(mask, self.oracle(kind, n, acceleration))

    @pytest.mark.parametrize(("acceleration", "tolerance"), [(4, 1), (8, 1)])
    def test_of_exact_fraction_reach_the_acceleration(self, acceleration, tolerance):
        for n in (320, 368, 372, 400):
            for name in ("file1000001.h5", "file1000007.h5", "file1002570.h5"):
                mask = line_mask(volume(name, n, (0, n)), MaskKind.EQUISPACED_FRACTION, acceleration)
                assert abs(mask.sum() - n / acceleration) <= tolerance + 0.5

    @given(
        columns=st.integers(64, 420),
        cut=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
        kind=st.sampled_from(MaskKind),
        acceleration=st.sampled_from([4, 8]),
        name=st.from_regex(r"file\d{7}\.h5", fullmatch=True),
    )
    def test_never_leave_the_measured_columns(self, columns, cut, kind, acceleration, name):
        left, right = int(columns * cut[0]), columns - int(columns * cut[1])
        known = volume(name, columns, (left, right))
        mask = line_mask(known, kind, acceleration)
        assert not mask[:left].any()
        assert not mask[right:].any()
        assert mask[centre_lines(columns, CENTRE_FRACTION[acceleration]) & known.measured].all()
        assert np.array_equal(mask, line_mask(known, kind, acceleration))

    def test_differ_between_files(self):
        names = [f"file100{n:04}.h5" for n in range(20)]
        masks = {line_mask(volume(name, 368, (0, 368)), MaskKind.RANDOM, 4).tobytes() for name in names}
        assert len(masks) == len(names)


def test_splits_are_folders(write_fastmri, tmp_path):
    for name in ("multicoil_train/file2.h5", "multicoil_train/file1.h5", "multicoil_val/file3.h5"):
        write_fastmri(tmp_path / name)
    assert [path.name for path in files(tmp_path, Split.TRAIN)] == ["file1.h5", "file2.h5"]
    assert [path.name for path in files(tmp_path, Split.VALIDATION)] == ["file3.h5"]
    assert files(tmp_path, Split.TEST) == ()


def test_boxes_lie_on_what_was_drawn_in_the_flipped_image(write_fastmri, tmp_path):
    target = np.zeros((2, 32, 32))
    target[1, 5:9, 10:21] = 1.0
    rows, columns = np.nonzero(np.flipud(target[1]))
    x, y = columns.min(), rows.min()
    width, height = columns.max() - x + 1, rows.max() - y + 1
    table, reviewed = tmp_path / "knee.csv", tmp_path / "knee_file_list.csv"
    table.write_text(
        f"file,slice,study_level,x,y,width,height,label\nfile1,1,No,{x},{y},{width},{height},Meniscus Tear\n"
    )
    reviewed.write_text("file1\n")
    labels = read_tables(table, reviewed, shape=(32, 32))
    first, second = slices(write_fastmri(tmp_path / "file1.h5", target=target), labels=labels)
    assert (first.label, first.boxes) == (False, ())
    assert second.label is True
    assert second.boxes == (Box(row=5, column=10, height=4, width=11, label="Meniscus Tear"),)
    (unknown, _) = slices(write_fastmri(tmp_path / "file2.h5"), labels=labels)
    assert unknown.label is None


class TestStreaming:
    def test_reads_what_is_asked_for(self, write_fastmri, tmp_path, read_bytes):
        path = write_fastmri(tmp_path / "file1.h5", shape=(8, N_COILS, 64, 40))
        one = N_COILS * 64 * 40 * 8
        reader = slices(path)
        next(reader)
        assert max(read_bytes) == one
        assert sum(read_bytes) < 1.5 * one
        list(reader)
        assert max(read_bytes) == one
        del read_bytes[:]
        read_volume(path)
        assert sum(read_bytes) < one / 10

    def test_memory_is_that_of_a_few_slices(self, write_fastmri, tmp_path, peak_growth_mb):
        """A volume of 1 GB, never written: the file is small and its samples read as zero."""
        path = write_fastmri(tmp_path / "file1.h5", shape=(1, 1, 640, 372), recon=320)
        with h5py.File(path, "r+") as file:
            for name, shape in {"kspace": (36, 15, 640, 372), "reconstruction_rss": (36, 320, 320)}.items():
                dtype = file[name].dtype
                del file[name]
                file.create_dataset(name, shape, dtype)
        slice_mb = 15 * 640 * 372 * 8 / 1e6
        reader = (
            "from lfmri_node.recon.train.fastmri import slices\nn = sum(1 for _ in slices(Path(sys.argv[1])))"
        )
        grown, n = peak_growth_mb(reader, path)
        assert n == 36
        assert grown < 4 * slice_mb
