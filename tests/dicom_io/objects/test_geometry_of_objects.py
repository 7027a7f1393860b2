"""Where the objects lie: hand-written LPS numbers against the files, to 1e-3 mm."""

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

_TOLERANCE_MM = 1e-3
_MATRIX = (3, 5, 9)
_PLANE = {"spacing_mm": (6.0, 1.5, 0.75), "thickness_mm": 4.5}
_THIRD = 1 / 3

# axes (s, y, x), origin; then by hand: ImagePositionPatient of the 3 slices, ImageOrientationPatient, centre
# of the last voxel (2, 4, 8): origin + 12 axis_s + 6 axis_y + 6 axis_x.
_CASES = {
    "axial": (
        ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        (-3.0, -3.5, 100.25),
        [(-3.0, -3.5, 100.25), (-3.0, -3.5, 106.25), (-3.0, -3.5, 112.25)],
        (1, 0, 0, 0, 1, 0),
        (3.0, 2.5, 112.25),
    ),
    "sagittal": (
        ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        (-6.0, -10.0, 50.0),
        [(-6.0, -10.0, 50.0), (0.0, -10.0, 50.0), (6.0, -10.0, 50.0)],
        (0, 1, 0, 0, 0, -1),
        (6.0, -4.0, 44.0),
    ),
    "coronal": (
        ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
        (-40.0, 12.5, 80.0),
        [(-40.0, 12.5, 80.0), (-40.0, 18.5, 80.0), (-40.0, 24.5, 80.0)],
        (1, 0, 0, 0, 0, -1),
        (-34.0, 24.5, 74.0),
    ),
    "double-oblique": (
        (
            (-_THIRD, -2 * _THIRD, 2 * _THIRD),
            (-2 * _THIRD, 2 * _THIRD, _THIRD),
            (2 * _THIRD, _THIRD, 2 * _THIRD),
        ),
        (10.0, 20.0, 30.0),
        [(10.0, 20.0, 30.0), (8.0, 16.0, 34.0), (6.0, 12.0, 38.0)],
        (0.666667, 0.333333, 0.666667, -0.666667, 0.666667, 0.333333),
        (6.0, 18.0, 44.0),
    ),
    "slices against the normal": (
        ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
        (-3.0, -3.5, 100.25),
        [(-3.0, -3.5, 100.25), (-3.0, -3.5, 94.25), (-3.0, -3.5, 88.25)],
        (1, 0, 0, 0, 1, 0),
        (3.0, 2.5, 88.25),
    ),
}


@pytest.fixture(scope="module", params=_CASES)
def case(request, make_once):
    (axis_s, axis_y, axis_x), origin, positions, orientation, last = _CASES[request.param]
    geometry = make_once.geometry(
        _MATRIX, origin_mm=origin, axis_s=axis_s, axis_y=axis_y, axis_x=axis_x, **_PLANE
    )
    trusted = make_once.trusted(geometry, lesion=make_once.lesion(_MATRIX, slices=(0, 1)))
    return (
        trusted,
        make_once.deliver(trusted, folder=request.param),
        np.array(positions),
        np.array(orientation),
        np.array(last),
    )


def _last_voxel(position, orientation, spacing):
    """Centre of voxel (4, 8) of a plane by PS3.3 C.7.6.2.1.1; spacing is (row spacing, column spacing)."""
    position, orientation = np.array(position, dtype=float), np.array(orientation, dtype=float)
    return position + orientation[:3] * float(spacing[1]) * 8 + orientation[3:] * float(spacing[0]) * 4


@pytest.mark.parametrize("role", ["lf-mri", "reference", "fused"])
def test_single_frame_images_lie_where_the_hand_says(case, role):
    _, delivery, positions, orientation, last = case
    images = delivery.read(role)
    for image, position in zip(images, positions, strict=True):
        assert np.array(image.ImagePositionPatient, dtype=float) == pytest.approx(position, abs=_TOLERANCE_MM)
        assert np.array(image.ImageOrientationPatient, dtype=float) == pytest.approx(orientation, abs=1e-6)
        assert [float(v) for v in image.PixelSpacing] == [1.5, 0.75]
        assert (image.SpacingBetweenSlices, image.SliceThickness) == (6.0, 4.5)
    found = _last_voxel(
        images[-1].ImagePositionPatient, images[-1].ImageOrientationPatient, images[-1].PixelSpacing
    )
    assert found == pytest.approx(last, abs=_TOLERANCE_MM)


def test_every_frame_of_the_map_shows_the_activation_of_its_own_place(case):
    trusted, delivery, positions, orientation, last = case
    (dataset,) = delivery.read("map")
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    assert [float(v) for v in measures.PixelSpacing] == [1.5, 0.75]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (4.5, 6.0)
    cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert np.array(cosines, dtype=float) == pytest.approx(orientation, abs=1e-6)
    frames = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(_MATRIX)
    images = delivery.read("lf-mri")
    seen = set()
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        s = int(np.abs(positions - position).max(axis=1).argmin())
        assert position == pytest.approx(positions[s], abs=_TOLERANCE_MM)
        assert np.array_equal(frame, trusted.lesion.activation[s])
        referred = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert referred == images[s].SOPInstanceUID
        seen.add(s)
        if s == 2:
            found = _last_voxel(position, cosines, measures.PixelSpacing)
            assert found == pytest.approx(last, abs=_TOLERANCE_MM)
    assert seen == {0, 1, 2}


def test_highdicom_reads_map_and_segment_as_volumes_at_the_same_place(case):
    trusted, delivery, positions, _, last = case
    volume = hd.imread(delivery.files("map")[0]).get_volume(apply_real_world_transform=True)
    to_index = np.linalg.inv(volume.affine)
    for s, position in enumerate(positions):
        index = np.rint(to_index @ [*position, 1])[:3].astype(int)
        assert volume.array[index[0]] == pytest.approx(trusted.lesion.activation[s], abs=0)
    corner = np.rint(to_index @ [*last, 1])[:3].astype(int)
    assert list(corner[1:]) == [4, 8]

    segment = hd.seg.segread(delivery.files("segmentation")[0])
    sources = [str(image.SOPInstanceUID) for image in delivery.read("lf-mri")]
    pixels = segment.get_pixels_by_source_instance(sources, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels.any(axis=-1), trusted.lesion.mask)


def nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (k, j, i) and the LPS affine of columns i, j, k, as an NRRD file states them."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    sizes = [int(n) for n in fields["sizes"].split()]
    kind = {"float": "<f4", "short": "<i2", "unsigned short": "<u2"}[fields["type"]]
    vectors = re.findall(r"\(([^)]*)\)", fields["space directions"] + fields["space origin"])
    affine = np.eye(4)
    affine[:3] = np.array([[float(v) for v in vector.split(",")] for vector in vectors]).T
    return np.frombuffer(gzip.decompress(data), dtype=kind).reshape(sizes[::-1]), affine


def at(values: np.ndarray, affine: np.ndarray, position: np.ndarray) -> float:
    """The value of the voxel whose centre is ``position``; zero outside the volume."""
    i, j, k = np.rint(np.linalg.inv(affine) @ [*position, 1])[:3].astype(int)
    inside = all(0 <= n < size for n, size in zip((k, j, i), values.shape, strict=True))
    return float(values[k, j, i]) if inside else 0.0


def by_dcmqi(program: str, source: Path, out: Path) -> list[Path]:
    out.mkdir()
    command = [Path(sys.executable).with_name(program), "--inputDICOM", source, "--outputDirectory", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(out.glob("*.nrrd"))


@pytest.mark.skipif(sys.platform != "linux", reason="dcmqi is installed on Linux alone")
@pytest.mark.parametrize("role", ["map", "difference"])
def test_dcmqi_reads_the_maps_at_their_place(case, tmp_path, role):
    trusted, delivery, _, _, _ = case
    (path,) = by_dcmqi("paramap2itkimage", delivery.files(role)[0], tmp_path / "out")
    values, affine = nrrd(path)
    change = np.abs(trusted.image) - np.abs(trusted.reference)
    expected = trusted.lesion.activation if role == "map" else change
    for s, y, x in np.ndindex(_MATRIX):
        place = np.array(trusted.geometry.voxel_centre_mm(s, y, x))
        assert at(values, affine, place) == pytest.approx(expected[s, y, x], abs=1e-7)


@pytest.mark.skipif(sys.platform != "linux", reason="dcmqi is installed on Linux alone")
def test_dcmqi_reads_every_segment_at_its_place(case, tmp_path):
    trusted, delivery, _, _, _ = case
    paths = by_dcmqi("segimage2itkimage", delivery.files("segmentation")[0], tmp_path / "out")
    (dataset,) = delivery.read("segmentation")
    assert len(paths) == len(dataset.SegmentSequence)
    volumes = [nrrd(path) for path in paths]
    for s, y, x in np.ndindex(_MATRIX):
        place = np.array(trusted.geometry.voxel_centre_mm(s, y, x))
        marked = sum(at(values, affine, place) > 0 for values, affine in volumes)
        assert marked == trusted.lesion.mask[s, y, x]


def test_dcm2niix_puts_the_images_where_they_are(case, tmp_path, program):
    """NIfTI is RAS: x and y change their sign against LPS."""
    trusted, delivery, _, _, _ = case
    source = tmp_path / "series"
    source.mkdir()
    for path in delivery.files("lf-mri"):
        (source / path.name).write_bytes(path.read_bytes())
    command = [program("dcm2niix"), "-b", "n", "-z", "n", "-f", "volume", "-o", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    content = (tmp_path / "volume.nii").read_bytes()
    shape = struct.unpack_from("<8h", content, 40)[1:4]
    offset = int(struct.unpack_from("<f", content, 108)[0])
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4)
    values = np.frombuffer(content, dtype="<i2", offset=offset).reshape(shape[::-1])
    stored = [image.pixel_array for image in delivery.read("lf-mri")]
    for s, y, x in np.ndindex(_MATRIX):
        lps = np.array(trusted.geometry.voxel_centre_mm(s, y, x))
        assert at(values, affine, lps * [-1, -1, 1]) == stored[s][y, x]


def test_decimal_strings_fit_sixteen_characters(make, elements):
    geometry = make.geometry(
        _MATRIX,
        spacing_mm=(np.pi, 1 / 3, 0.1 + 0.2),
        thickness_mm=np.e,
        origin_mm=(-123.456789012345, 1e-9, -987.654321098765),
        axis_s=(-1 / 3, -2 / 3, 2 / 3),
        axis_y=(-2 / 3, 2 / 3, 1 / 3),
        axis_x=(2 / 3, 1 / 3, 2 / 3),
    )
    for dataset in make.deliver(make.trusted(geometry)).read():
        for element in elements(dataset):
            if element.VR == "DS" and not element.is_empty:
                values = element.value if element.VM > 1 else [element.value]
                assert all(len(str(value)) <= 16 for value in values)
    image = make.deliver(make.trusted(geometry), folder="again").read("lf-mri")[2]
    expected = np.array(geometry.voxel_centre_mm(2, 0, 0))
    assert np.array(image.ImagePositionPatient, dtype=float) == pytest.approx(expected, abs=1e-9)


def test_axes_that_are_orthonormal_only_to_a_thousandth_become_legal(make):
    geometry = make.geometry(_MATRIX, axis_x=(0.9998, 0.0009, 0.0), axis_y=(0.0, 1.0004, 0.0))
    image = make.deliver(make.trusted(geometry)).read("lf-mri")[0]
    row, column = np.array(image.ImageOrientationPatient, dtype=float).reshape(2, 3)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-9)
    assert np.linalg.norm(column) == pytest.approx(1, abs=1e-9)
    assert row @ column == pytest.approx(0, abs=1e-9)
    assert row == pytest.approx(geometry.axis_x, abs=1e-3)


def test_one_slice_has_no_spacing_between_slices(make):
    images = make.deliver(make.trusted(make.geometry((1, 8, 8)))).read("lf-mri")
    assert [("SpacingBetweenSlices" in i, i.SliceThickness) for i in images] == [(False, 5.0)]


def test_unknown_geometry_never_enters_the_frame_of_reference_of_the_study(make):
    delivery = make.deliver(make.trusted(make.geometry(known=False)))
    for dataset in delivery.read():
        assert "GEOMETRY UNKNOWN" in dataset.SeriesDescription
        if dataset.Modality == "SR":
            continue
        assert "stand-in" in dataset.ImageComments
        assert dataset.FrameOfReferenceUID == make.key().frame_of_reference_uid
        assert dataset.FrameOfReferenceUID != make.context().frame_of_reference_uid
