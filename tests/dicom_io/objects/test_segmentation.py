"""The thresholded activation as a BINARY segmentation."""

from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("matrix", "slices"), [((1, 16, 16), (0,)), ((24, 9, 13), (3, 4, 20)), ((3, 17, 23), (0, 1, 2))]
)
def test_the_segment_is_the_thresholded_map_on_the_slices_that_have_it(make, matrix, slices):
    trusted = make.trusted(make.geometry(matrix), lesion=make.lesion(matrix, slices=slices))
    delivery = make.deliver(trusted)
    segmentation = hd.seg.segread(delivery.files("segmentation")[0])
    assert segmentation.SegmentationType == "BINARY"
    sources = [str(image.SOPInstanceUID) for image in delivery.read("lf-mri")]
    pixels = segmentation.get_pixels_by_source_instance(sources, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels.any(axis=-1), trusted.lesion.mask)
    assert pixels.sum(axis=-1).max() == 1, "no voxel in two segments"
    per_segment = pixels.any(axis=(1, 2))
    assert int(segmentation.NumberOfFrames) == per_segment.sum()


def test_no_voxel_above_the_threshold_means_no_segmentation(make):
    lesion = make.lesion((3, 17, 23), slices=(1,))
    faint = replace(lesion, activation=lesion.activation * np.float32(0.5))
    assert make.deliver(make.trusted(lesion=faint)).roles == [
        "lf-mri",
        "reference",
        "difference",
        "map",
        "fused",
        "report",
    ]


def test_the_segment_says_what_found_it(delivered, make):
    (dataset,) = delivered.read("segmentation")
    (segment,) = dataset.SegmentSequence
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentLabel == "Mark 1: activation >= 0.5"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert "first-light" in algorithm.AlgorithmName
    assert "weights_sha256=" + "b2" * 32 in algorithm.AlgorithmParameters
    assert "operating_score=0.4" in algorithm.AlgorithmParameters
    assert "threshold=0.5" in algorithm.AlgorithmParameters
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    assert segment.TrackingUID == make.key().uid("tracking", 1)
    assert dataset.ContentQualification == "RESEARCH"


def test_a_threshold_that_an_activation_meets_exactly_includes_it(make):
    lesion = make.lesion((3, 17, 23), slices=())
    lesion.activation[1, 2, 3] = 0.5
    (dataset,) = make.deliver(make.trusted(lesion=lesion)).read("segmentation")
    assert int(dataset.pixel_array.sum()) == 1
