"""The report by TID 1500, and the difference series: as highdicom and pydicom read them from the file."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from lfmri_node.dicom_io.objects.texts import NOTHING_MARKED
from lfmri_node.recon.types import Figure, Quality, Verdict

_MATRIX = (5, 20, 24)


@pytest.fixture
def two_marks(make):
    lesion = make.lesion(_MATRIX, slices=())
    lesion.activation[1:4, 4:8, 6:12] = 0.6
    lesion.activation[2, 5, 7] = 0.8
    lesion.activation[3, 15, 20] = 0.75
    lesion.scores[:, 0] = (0.1, 0.6, 0.9, 0.7, 0.2)
    return make.deliver(make.trusted(make.geometry(_MATRIX), lesion=lesion))


def sentences(report) -> list[str]:
    """The findings in words, in order."""
    return [
        str(i.TextValue)
        for i in report.ContentSequence
        if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    ]


def test_each_mark_has_a_group_with_its_segment_and_figures(two_marks):
    report = hd.sr.srread(two_marks.files("report")[0])
    (segmentation,) = two_marks.read("segmentation")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == len(segmentation.SegmentSequence) == 2
    for group, segment in zip(groups, segmentation.SegmentSequence, strict=True):
        referenced = group.referenced_segment
        assert referenced.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert referenced.referenced_segment_numbers == [segment.SegmentNumber]
        assert group.tracking_uid == segment.TrackingUID
        assert group.tracking_identifier == segment.TrackingID
        assert group.finding_type == codes.SCT.Lesion
    box = {m.name.value: m for m in groups[0].get_measurements()}
    assert box["118565006"].value == pytest.approx(3 * 4 * 6 * 5.5 * 1.25 * 0.75, abs=0.06)
    assert box["118565006"].unit == codes.UCUM.CubicMillimeter
    assert box["130404"].value == pytest.approx(0.8)
    assert box["slice-score"].value == pytest.approx(0.9)


def test_each_mark_has_a_point_on_the_image_of_its_highest_activation(two_marks):
    """Viewers such as OHIF show what has a place on an image; a reference to a segment shows nothing."""
    report = hd.sr.srread(two_marks.files("report")[0])
    images = {image.SOPInstanceUID: image for image in two_marks.read("lf-mri")}
    groups = report.content.get_volumetric_roi_measurement_groups()
    places = []
    for group in groups:
        (point,) = (item for item in group[0].ContentSequence if item.ValueType == "SCOORD")
        (source,) = point.ContentSequence
        (reference,) = source.ReferencedSOPSequence
        assert (point.GraphicType, source.RelationshipType) == ("POINT", "SELECTED FROM")
        image = images[reference.ReferencedSOPInstanceUID]
        column, row = (int(value) + 1 for value in point.GraphicData)
        places.append((image.InstanceNumber, row, column))
        assert [value % 1 for value in point.GraphicData] == [0.5, 0.5], "the middle of a voxel"
    assert places == [(3, 6, 8), (4, 16, 21)]


def test_a_reader_finds_the_place_in_words(two_marks, elements):
    (report,) = two_marks.read("report")
    text = " ".join(str(e.value) for e in elements(report) if e.keyword == "TextValue")
    assert "Mark 1: instances 2 to 4; highest activation 0.80 at instance 3, row 6, column 8;" in text
    assert "Mark 2: instance 4; highest activation 0.75 at instance 4, row 16, column 21;" in text
    assert sentences(report)[0] == "2 regions were marked."
    assert any("gate 0.4, threshold 0.5" in sentence for sentence in sentences(report))
    assert any("Verdict TRUSTED; acceleration 4" in sentence for sentence in sentences(report))
    assert any("NOT VALIDATED" in sentence for sentence in sentences(report))


def test_nothing_marked_is_said_first_and_the_highest_score_is_told(make):
    lesion = make.lesion(_MATRIX, slices=())
    lesion.scores[3, 0] = 0.31
    delivery = make.deliver(make.trusted(make.geometry(_MATRIX), lesion=lesion))
    report = hd.sr.srread(delivery.files("report")[0])
    assert sentences(report)[0].lower() == f"{NOTHING_MARKED}."
    assert report.content.get_volumetric_roi_measurement_groups() == []
    (group,) = report.content.get_image_measurement_groups()
    (score,) = group.get_measurements()
    assert score.value == pytest.approx(0.31)


def test_every_figure_of_the_gate_is_told_with_its_value_and_range(make):
    figures = (
        Figure(name="acceleration", value=4.0, low=1.5, high=10.0),
        Figure(name="noise relative to signal", value=0.08, low=0.0, high=0.07, n_outside=1),
        Figure(name="calibration lines", value=16.0, low=8.0, n_outside=2),
        Figure(name="data residual of the network's image, beyond noise", value=0.0123, high=0.0314),
        Figure(name="coils", value=8.0),
    )
    quality = Quality(verdict=Verdict.TRUSTED, acceleration=4.0, data_residual=0.0123, figures=figures)
    (report,) = make.deliver(make.trusted(make.geometry((1, 9, 11)), quality=quality)).read("report")
    told = [sentence for sentence in sentences(report) if sentence.startswith("Quality")]
    assert told == [
        "Quality: acceleration 4; trained for 1.5 to 10.",
        "Quality: noise relative to signal 0.08; trained for 0 to 0.07; outside in 1 place.",
        "Quality: calibration lines 16; trained for 8 or more; outside in 2 places.",
        "Quality: data residual of the network's image, beyond noise 0.0123; trained for up to 0.0314.",
        "Quality: coils 8; no range.",
    ]


def test_a_report_is_no_verified_finding(two_marks):
    (report,) = two_marks.read("report")
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    referred = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    uids = {i.ReferencedSOPInstanceUID for series in referred for i in series.ReferencedSOPSequence}
    images = two_marks.read("lf-mri") + two_marks.read("segmentation")
    assert uids == {image.SOPInstanceUID for image in images}


def test_the_difference_is_what_the_lesion_term_changed(make):
    trusted = make.trusted()
    (dataset,) = make.deliver(trusted).read("difference")
    frames = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(trusted.image.shape)
    images = {i.SOPInstanceUID: s for s, i in enumerate(make.deliver(trusted).read("lf-mri"))}
    expected = np.abs(trusted.image) - np.abs(trusted.reference)
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert frame == pytest.approx(expected[images[source]], abs=1e-9)
    window = dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert float(window.WindowCenter) == 0.0, "no change is the middle of the colours"
    assert float(window.WindowWidth) / 2 == pytest.approx(np.abs(expected).max(), rel=1e-5)
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "110852"
