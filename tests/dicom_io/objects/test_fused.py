"""The colour series: grey where nothing is suspected, colour where it is, the legend beside it."""

import numpy as np
import pytest

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.colour import edge, fuse, hot, opacity
from lfmri_node.dicom_io.objects.intensity import Window
from lfmri_node.dicom_io.objects.legend import with_legend


def _grey(image):
    window = Window(center=float(image.WindowCenter), width=float(image.WindowWidth))
    return np.rint(window.apply(image.pixel_array) * 255).astype(np.uint8)


@pytest.mark.parametrize("matrix", [(1, 16, 16), (3, 17, 23), (2, 64, 40)])
def test_one_picture_a_slice_with_the_windowed_image_where_there_is_no_activation(make, matrix):
    trusted = make.trusted(make.geometry(matrix))
    delivery = make.deliver(trusted)
    for s, (fused, image) in enumerate(zip(delivery.read("fused"), delivery.read("lf-mri"), strict=True)):
        assert fused.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert fused.PhotometricInterpretation == "RGB"
        assert fused.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
        picture = fused.pixel_array[: matrix[1], : matrix[2]]
        quiet = trusted.lesion.activation[s] == 0
        assert np.array_equal(picture[quiet], np.repeat(_grey(image)[quiet][:, None], 3, axis=1))
        strong = trusted.lesion.activation[s] > 0.6
        assert (picture[strong].max(axis=1) > picture[strong].min(axis=1)).all()


def test_the_picture_says_that_words_are_burned_in_and_shows_no_patient(delivered, make):
    for fused in delivered.read("fused"):
        assert fused.BurnedInAnnotation == "YES"
        assert list(fused.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    other = make.deliver(make.trusted(), make.context(PatientName="Another^Patient", PatientID="XX"))
    for first, second in zip(delivered.read("fused"), other.read("fused"), strict=True):
        assert first.PixelData == second.PixelData


def test_a_site_may_leave_the_colour_series_out(make):
    delivery = make.deliver(make.trusted(), options=SiteOptions(fused=False))
    assert delivery.roles == ["lf-mri", "reference", "difference", "map", "segmentation", "report"]


def test_patient_orientation_letters_follow_the_axes(make):
    sagittal = make.geometry(axis_s=(1.0, 0.0, 0.0), axis_y=(0.0, 0.0, -1.0), axis_x=(0.0, 1.0, 0.0))
    assert list(make.deliver(make.trusted(sagittal)).read("fused")[0].PatientOrientation) == ["P", "F"]


def test_weak_activation_is_transparent_and_opacity_only_rises():
    activation = np.linspace(0, 1, 101, dtype=np.float32)
    share = opacity(activation)
    assert not share[activation <= 0.08].any()
    assert (np.diff(share) >= 0).all()
    assert share.max() < 0.7, "anatomy must show through"


def test_colours_grow_brighter_with_activation():
    luminance = hot(np.linspace(0, 1, 50, dtype=np.float32)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_anatomy_shows_through_the_strongest_activation():
    image = np.array([[0.2, 0.8]], dtype=np.float32)
    dark, bright = fuse(image, np.ones_like(image))[0].astype(int).mean(axis=1)
    assert bright - dark > 60


def test_the_outline_is_the_inner_edge():
    region = np.zeros((6, 7), dtype=bool)
    region[1:5, 2:6] = True
    expected = region.copy()
    expected[2:4, 3:5] = False
    assert np.array_equal(edge(region), expected)
    assert edge(np.ones((3, 3), dtype=bool)).sum() == 8


@pytest.mark.parametrize("shape", [(1, 1), (16, 300), (300, 16), (320, 320)])
def test_the_legend_leaves_every_pixel_of_the_picture_alone(shape):
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    page = with_legend(picture, ["RESEARCH - NOT FOR DIAGNOSIS"], threshold=0.5)
    assert np.array_equal(page[: shape[0], : shape[1]], picture)
    assert page[shape[0] :].max() > 200, "the words are drawn below"
    assert page[: shape[0], shape[1] :].max() > 0 or shape[0] == 1
