"""The series of evened intensity: the images times the factor, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.validate import check
from lfmri_node.recon.types import ReceiveField, Verdict

SAID = "Divided by a receive field, in the words of whoever estimated it."


def with_field(reconstruction):
    shape = reconstruction.geometry.matrix
    factor = np.linspace(0.5, 2.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return replace(reconstruction, receive_field=ReceiveField(factor=factor, description=SAID))


@pytest.fixture(params=["trusted", "untrusted"])
def job(request, make):
    return with_field(getattr(make, request.param)())


def test_both_verdicts_have_a_series_of_their_own(make, job):
    delivery = make.deliver(job)
    trusted = job.quality.verdict is Verdict.TRUSTED
    assert delivery.roles[-1] == "corrected"
    images = delivery.read("corrected")
    name = "RESEARCH LF-MRI intensity corrected first-light t2 tse tra"
    assert {i.SeriesDescription for i in images} == {
        name if trusted else "RESEARCH FALLBACK L1-wavelet intensity corrected t2 tse tra"
    }
    assert {i.SeriesInstanceUID for i in images} == {make.key().series_uid("corrected")}
    assert {int(i.SeriesNumber) for i in images} == {9009}
    assert all(check(path) == () for path in delivery.files("corrected"))


def test_the_pixels_are_the_image_times_the_factor(make, job):
    for s, image in enumerate(make.deliver(job).read("corrected")):
        (mapping,) = image.RealWorldValueMappingSequence
        magnitude = image.pixel_array * mapping.RealWorldValueSlope
        expected = np.abs(job.image[s]) * job.receive_field.factor[s]
        np.testing.assert_allclose(magnitude, expected, atol=0.51 * mapping.RealWorldValueSlope)
        assert mapping.LUTLabel == "CORRECTED"


def test_what_was_done_is_stated(make, job):
    delivery = make.deliver(job)
    sources = delivery.read("lf-mri") or delivery.read("fallback")
    for image, source in zip(delivery.read("corrected"), sources, strict=True):
        assert image.DerivationDescription.startswith(SAID)
        assert SAID in image.ImageComments
        assert SAID not in source.DerivationDescription + source.ImageComments
        assert list(image.ImageType) == ["DERIVED", "PRIMARY", "OTHER", "NORM"]
        assert [code.CodeValue for code in image.DerivationCodeSequence] == ["113963", "113046"]
        (item,) = image.SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert image.ImagePositionPatient == source.ImagePositionPatient


def test_the_other_objects_are_the_same_bytes_with_and_without(make, job):
    without = make.deliver(replace(job, receive_field=None), folder="without").bytes_by_name
    both = make.deliver(job, folder="with").bytes_by_name
    assert without == {name: content for name, content in both.items() if not name.startswith("corrected")}
    assert len(both) == len(without) + job.geometry.matrix[0]


def test_many_reasons_do_not_push_the_correction_out(make):
    untrusted = make.untrusted()
    reasons = tuple(
        replace(reason, message="far from the training data " * 20) for reason in untrusted.quality.reasons
    )
    told = replace(untrusted, quality=replace(untrusted.quality, reasons=reasons))
    assert make.deliver(with_field(told)).read("corrected")[0].DerivationDescription.startswith(SAID)


def test_the_summary_lists_it_and_does_not_show_it(make):
    delivery = make.deliver(with_field(make.trusted()), options=SiteOptions(summary=True))
    (summary,) = delivery.read("summary")
    shown = {item.ReferencedSOPInstanceUID for item in summary.SourceInstanceSequence}
    assert not shown & {image.SOPInstanceUID for image in delivery.read("corrected")}
    assert delivery.roles[-2:] == ["corrected", "summary"]


def test_a_factor_that_does_not_fit_is_refused(make):
    with pytest.raises(ValueError, match="matrix"):
        replace(
            make.trusted(),
            receive_field=ReceiveField(factor=np.ones((3, 17, 22), dtype=np.float32), description=""),
        )
    with pytest.raises(ValueError, match="positive"):
        ReceiveField(factor=np.zeros((1, 2, 2), dtype=np.float32), description="")
