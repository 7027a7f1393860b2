"""MR images: values, positions and attributes as a reader finds them in the file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.objects.intensity import LARGEST_STORED, Window, common_scaling, tissue_window
from lfmri_node.recon.types import SequenceInfo


def _floats(dataset):
    mapping = dataset.RealWorldValueMappingSequence[0]
    return dataset.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept


@pytest.mark.parametrize("matrix", [(1, 16, 16), (24, 9, 12), (3, 17, 23), (2, 1, 5)])
def test_a_reader_gets_every_magnitude_back_within_half_a_step(make, matrix):
    trusted = make.trusted(make.geometry(matrix))
    delivery = make.deliver(trusted)
    for role, volume in (("lf-mri", trusted.image), ("reference", trusted.reference)):
        images = delivery.read(role)
        assert len(images) == matrix[0]
        for s, image in enumerate(images):
            assert int(image.InstanceNumber) == s + 1
            step = image.RealWorldValueMappingSequence[0].RealWorldValueSlope
            error = np.abs(_floats(image) - np.abs(volume[s].astype(np.complex128)))
            assert error.max() <= step * 0.5000001


def test_equal_stored_values_mean_equal_signal_in_both_series_of_a_job(make):
    trusted = make.trusted()
    delivery = make.deliver(trusted)
    images = delivery.read("lf-mri") + delivery.read("reference")
    assert len({i.RealWorldValueMappingSequence[0].RealWorldValueSlope for i in images}) == 1
    assert len({(i.WindowCenter, i.WindowWidth) for i in images}) == 1
    brightest = max(np.abs(trusted.image).max(), np.abs(trusted.reference).max())
    assert max(i.pixel_array.max() for i in images) == LARGEST_STORED
    assert max(_floats(i).max() for i in images) == pytest.approx(brightest, rel=1e-6)


def test_an_image_of_zeros_is_delivered_as_zeros(make):
    trusted = make.trusted()
    zeros = np.zeros_like(trusted.image)
    delivery = make.deliver(make.trusted(image=zeros, reference=zeros))
    assert all(not image.pixel_array.any() for image in delivery.read("lf-mri"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
@pytest.mark.parametrize("series", ["image", "reference"])
def test_a_volume_that_is_not_finite_is_refused_and_leaves_no_file(make, bad, series):
    trusted = make.trusted()
    volume = getattr(trusted, series).copy()
    volume[1, 2, 3] = bad
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.trusted(**{series: volume}))
    assert refused.value.code == "LF-OBJ-001"
    assert not list(make.folder.rglob("*.dcm"))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.complex64,
        (2, 3, 4),
        elements=st.complex_numbers(max_magnitude=1e6, allow_nan=False, allow_infinity=False, width=64),
    )
)
def test_scaling_round_trip(volume):
    scaling = common_scaling([volume])
    error = np.abs(scaling.store(volume) * scaling.slope - np.abs(volume.astype(np.complex128)))
    assert error.max() <= scaling.slope * 0.5000001


def test_a_bright_rim_of_fat_does_not_darken_the_tissue():
    """A head: air, a rim three times as bright as the tissue. The window is of the tissue, rim or no rim."""
    y, x = np.mgrid[-50:50, -50:50]
    radius = np.hypot(y, x)
    tissue = np.where(radius < 45, np.random.default_rng(0).integers(500, 1000, (4, 100, 100)), 0)
    rim = (radius > 40) & (radius < 45)
    calm = tissue_window(tissue.astype(np.uint16))
    bright = tissue_window(np.where(rim, 3000, tissue).astype(np.uint16))
    for window in (calm, bright):
        assert window.center - window.width / 2 == pytest.approx(500, abs=20)
        assert 990 <= window.center + window.width / 2 < 1300


def test_stored_values_take_twelve_bits(delivered):
    for image in delivered.read("lf-mri"):
        assert (image.BitsAllocated, image.BitsStored, image.HighBit) == (16, 12, 11)
        assert image.pixel_array.max() <= 4095


def test_the_window_is_the_linear_function_of_the_standard():
    # PS3.3 C.11.2.1.2.1 gives these values for center 2048, width 4096, output 0 to 255.
    window = Window(center=2048.0, width=4096.0)
    grey = window.apply(np.array([[0, 4095, 4096, 2048]], dtype=np.uint16)) * 255
    assert grey[0] == pytest.approx([0.0, 255.0, 255.0, ((2048 - 2047.5) / 4095 + 0.5) * 255], abs=1e-3)


def test_attributes_that_say_what_the_image_is(delivered):
    for image in delivered.read("lf-mri") + delivered.read("reference"):
        assert image.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
        assert list(image.ImageType) == ["DERIVED", "PRIMARY", "OTHER"]
        assert image.ContentQualification == "RESEARCH"
        assert image.Modality == "MR"
        assert "RESEARCH" in image.SeriesDescription
        assert "not for diagnosis" in image.ImageComments
        assert "acceleration 4; data residual 0.0123" in image.ImageComments
        assert "method=lf-mri;lesion=focused" in image.DerivationDescription
        assert image.DerivationCodeSequence[0].CodeValue == "113963"
        assert image.BurnedInAnnotation == "NO"
        assert image.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_the_sequence_is_written_where_it_is_known(make):
    known = SequenceInfo(
        protocol="t1\\mprage\tsag",
        field_strength_t=2.8936,
        resonance_frequency_hz=123_256_000,
        repetition_time_ms=2300.0,
        echo_time_ms=2.98,
        inversion_time_ms=900.0,
        flip_angle_deg=9.0,
        three_dimensional=True,
    )
    image = make.deliver(make.trusted(sequence=known)).read("lf-mri")[0]
    assert (image.RepetitionTime, image.EchoTime, image.InversionTime) == (2300.0, 2.98, 900.0)
    assert (image.FlipAngle, image.MagneticFieldStrength, image.ImagingFrequency) == (9.0, 2.8936, 123.256)
    assert image.MRAcquisitionType == "3D"
    assert list(image.ScanningSequence) == ["RM", "IR"]
    assert image.ProtocolName == "t1 mprage sag"


def test_what_the_header_does_not_say_is_empty_not_invented(make):
    image = make.deliver(make.trusted(sequence=SequenceInfo())).read("lf-mri")[0]
    for keyword in ("RepetitionTime", "EchoTime", "EchoTrainLength", "ScanOptions", "PatientPosition"):
        assert keyword in image
        assert image[keyword].is_empty
    optional = ("FlipAngle", "MagneticFieldStrength", "ImagingFrequency", "InversionTime", "ProtocolName")
    for keyword in optional:
        assert keyword not in image
    assert image.ScanningSequence == "RM"


def test_provenance_names_scanner_node_weights_and_source(delivered):
    for role in ("lf-mri", "reference", "difference", "map", "segmentation", "fused", "report"):
        for dataset in delivered.read(role):
            scanner, node, library = dataset.ContributingEquipmentSequence
            assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
            assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("Maker", "Scanner 3T")
            assert (scanner.DeviceSerialNumber, scanner.SoftwareVersions) == ("42", "7.1")
            assert node.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
            assert node.SoftwareVersions == "0.1.0"
            assert "first-light sha256 " + "b2" * 32 in node.ContributionDescription
            assert "ISMRMRD sha256 " + "a1" * 32 in node.ContributionDescription
            assert library.ManufacturerModelName == "highdicom"
            if role == "report":
                continue
            sources = dataset.SourceInstanceSequence
            assert [str(s.ReferencedSOPInstanceUID)[-1] for s in sources] == ["3", "4"]
            for source in sources:
                purpose = source.PurposeOfReferenceCodeSequence[0]
                assert source.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.66"
                assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("128226", "DCM")
                assert purpose.CodeMeaning == "Source raw data"
