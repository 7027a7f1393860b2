"""Where the objects lie: hand-written LPS numbers against the files, to 1e-3 mm."""

import highdicom as hd
import numpy as np
import pytest
from variants import MATRIX, PLANES

_TOLERANCE_MM = 1e-3


@pytest.fixture(scope="module", params=PLANES)
def case(request, job_of):
    """A job, and by hand: positions of its slices, orientation, centre of the last voxel."""
    plane, job = PLANES[request.param], job_of(request.param)
    return job.reconstruction, job.delivery, *map(np.array, (plane.positions, plane.orientation, plane.last))


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
    frames = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(MATRIX)
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


def test_decimal_strings_fit_sixteen_characters(make, elements):
    geometry = make.geometry(
        MATRIX,
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
    geometry = make.geometry(MATRIX, axis_x=(0.9998, 0.0009, 0.0), axis_y=(0.0, 1.0004, 0.0))
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
