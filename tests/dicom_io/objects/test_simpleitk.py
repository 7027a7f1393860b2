"""Our objects in SimpleITK, as most who compute on images read them: values and places in LPS."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from variants import MATRIX, PLANES, VARIANTS

_TOLERANCE_MM = 1e-3


@pytest.fixture(params=PLANES)
def plane(request, job_of):
    return PLANES[request.param], job_of(request.param)


def read_series(folder: Path, series_instance_uid: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series_instance_uid))
    return reader.Execute()


def values_at(image: sitk.Image, geometry) -> np.ndarray:
    """The values of ``image`` at the centres of all voxels of ``geometry``; 0 outside the image."""
    values = np.zeros(geometry.matrix)
    for s, y, x in np.ndindex(*geometry.matrix):
        index = image.TransformPhysicalPointToIndex(geometry.voxel_centre_mm(s, y, x))
        if all(0 <= n < size for n, size in zip(index, image.GetSize(), strict=True)):
            values[s, y, x] = image.GetPixel(*index)
    return values


@pytest.mark.parametrize("role", ["lf-mri", "reference", "corrected"])
def test_a_series_is_a_volume_where_the_hand_says(plane, role):
    expected, job = plane
    datasets = job.delivery.read(role)
    image = read_series(job.delivery.folder, datasets[0].SeriesInstanceUID)
    first, last = np.array(expected.positions[0]), np.array(expected.last)
    assert image.GetSize() == MATRIX[::-1]
    assert image.GetSpacing() == pytest.approx((0.75, 1.5, 6.0), abs=1e-9)
    along_x, along_y, along_z = np.array(image.GetDirection()).reshape(3, 3).T
    assert [*along_x, *along_y] == pytest.approx(expected.orientation, abs=1e-6)
    assert along_z == pytest.approx(np.cross(along_x, along_y), abs=1e-6)
    corners = {image.TransformPhysicalPointToIndex([float(v) for v in place]) for place in (first, last)}
    ascending = np.dot(last - first, along_z) > 0
    assert corners == ({(0, 0, 0), (8, 4, 2)} if ascending else {(0, 0, 2), (8, 4, 0)})
    origin = first if ascending else expected.positions[-1]
    assert image.GetOrigin() == pytest.approx(origin, abs=_TOLERANCE_MM)
    stored = np.array([dataset.pixel_array for dataset in datasets])
    assert np.array_equal(values_at(image, job.geometry), stored)


@pytest.mark.parametrize("name", PLANES)
def test_a_lesion_lies_where_it_was_planted(make_once, name):
    """GDCM takes the frames of a segmentation for neighbours, which those of one lesion are.

    Of slices whose voxels are no multiple of eight it leaves the last ones to chance.
    """
    planted = PLANES[name].build(make_once, (3, 8, 16))
    delivery = make_once.deliver(planted, folder=f"{name}, slices of whole bytes")
    image = sitk.ReadImage(str(delivery.files("segmentation")[0]))
    assert image.GetSpacing() == pytest.approx((0.75, 1.5, 6.0), abs=1e-9)
    mask = planted.lesion.mask
    assert mask.any(axis=(1, 2)).sum() == 2, "a lesion of more than one slice"
    assert np.array_equal(values_at(image, planted.geometry) > 0, mask)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(image > 0)
    centre = np.mean([planted.geometry.voxel_centre_mm(*index) for index in np.argwhere(mask)], axis=0)
    assert shape.GetCentroid(1) == pytest.approx(centre, abs=_TOLERANCE_MM)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_series_of_single_frames_is_one_volume(job_of, name):
    delivery = job_of(name).delivery
    for role in {"lf-mri", "reference", "fallback", "corrected", "fused"}.intersection(delivery.roles):
        files = delivery.files(role)
        volume = read_series(delivery.folder, pydicom.dcmread(files[0]).SeriesInstanceUID)
        assert volume.GetDepth() == len(files)


def test_gdcm_reads_no_float_pixel_data(job_of):
    """A limit of GDCM, not of the maps: when this fails, compare their values as those of the images are."""
    for role in ("map", "difference"):
        with pytest.raises(RuntimeError, match="Unable to determine ImageIO reader"):
            sitk.ReadImage(str(job_of("axial").delivery.files(role)[0]))
