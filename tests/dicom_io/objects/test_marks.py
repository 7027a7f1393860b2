"""Lesions told apart: regions over slices, their figures against a closed form."""

import numpy as np
import pytest

from lfmri_node.dicom_io.objects.marks import marks_of, numbered
from lfmri_node.recon.types import LesionMap

_MATRIX = (5, 20, 24)


def lesion_map(activation: np.ndarray) -> LesionMap:
    return LesionMap(
        activation=activation,
        scores=np.array([[0.1], [0.6], [0.9], [0.7], [0.2]], dtype=np.float32),
        labels=("lesion",),
        operating_score=0.4,
        threshold=0.5,
        validated=False,
    )


@pytest.fixture
def two(make):
    """A box over slices 1 to 3, and one voxel in slice 3 that does not touch it."""
    activation = np.zeros(_MATRIX, dtype=np.float32)
    activation[1:4, 4:8, 6:12] = 0.6
    activation[2, 5, 7] = 0.8
    activation[3, 15, 20] = 0.5
    return lesion_map(activation), make.geometry(_MATRIX)


def test_regions_that_do_not_touch_have_numbers_of_their_own_the_largest_first(two):
    lesion, geometry = two
    box, voxel = marks_of(lesion, geometry)
    assert (box.number, box.slices, box.peak) == (1, (1, 3), (2, 5, 7))
    assert (voxel.number, voxel.slices, voxel.peak) == (2, (3, 3), (3, 15, 20))
    assert box.volume_mm3 == pytest.approx(3 * 4 * 6 * 5.5 * 1.25 * 0.75)
    assert box.centre_mm == pytest.approx(geometry.voxel_centre_mm(2, 5.5, 8.5))
    assert (box.maximum_activation, box.score) == pytest.approx((0.8, 0.9))
    assert (voxel.maximum_activation, voxel.score) == pytest.approx((0.5, 0.7))


def test_every_marked_voxel_has_one_number(two):
    lesion, geometry = two
    numbers = numbered(marks_of(lesion, geometry), _MATRIX)
    assert np.array_equal(numbers > 0, lesion.mask)
    assert set(np.unique(numbers)) == {0, 1, 2}


def test_voxels_that_touch_at_a_corner_over_slices_are_one_region(make):
    activation = np.zeros(_MATRIX, dtype=np.float32)
    activation[1, 3, 3] = activation[2, 4, 4] = 0.7
    (mark,) = marks_of(lesion_map(activation), make.geometry(_MATRIX))
    assert mark.slices == (1, 2)


def test_one_slice_has_the_volume_of_its_thickness(make):
    activation = np.zeros((1, 9, 11), dtype=np.float32)
    activation[0, 2, 3] = 0.9
    lesion = LesionMap(
        activation=activation,
        scores=np.ones((1, 1), dtype=np.float32),
        labels=("lesion",),
        operating_score=0.4,
        threshold=0.5,
        validated=False,
    )
    (mark,) = marks_of(lesion, make.geometry((1, 9, 11)))
    assert mark.volume_mm3 == pytest.approx(5.0 * 1.25 * 0.75)


def test_nothing_above_the_threshold_is_no_mark(make):
    assert marks_of(lesion_map(np.full(_MATRIX, 0.49, dtype=np.float32)), make.geometry(_MATRIX)) == ()
