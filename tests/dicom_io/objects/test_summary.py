"""The summary page as an Encapsulated PDF: what it says, what it shows, and that it names nobody."""

from dataclasses import replace

import numpy as np
import pypdfium2
import pypdfium2.raw
import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.deliver.orthanc import OrthancDestination, upload_objects
from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.pdf import REPLACED_NOTE
from lfmri_node.dicom_io.objects.summary_page import NO_PATIENT, slice_to_show
from lfmri_node.recon.types import Figure, Method, Quality, Reason, SequenceInfo, Verdict

ASKED = SiteOptions(summary=True)
SHAPE = (5, 40, 48)
FIGURES = (
    Figure(name="acceleration", value=4.0, low=1.5, high=10.0),
    Figure(name="noise relative to signal", value=0.08, low=0.0, high=0.07, n_outside=1),
    Figure(name="calibration lines", value=16.0, low=8.0),
    Figure(name="data residual of the network's image", value=0.01, high=0.03),
)


def document(delivery) -> bytes:
    """The PDF as a reader gets it."""
    (dataset,) = delivery.read("summary")
    return dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]


def words(delivery) -> str:
    (page,) = pypdfium2.PdfDocument(document(delivery))
    return " ".join(page.get_textpage().get_text_range().split())


def drawn(delivery) -> list[np.ndarray]:
    """Pictures and scales of colour from left to right, in their own matrix."""
    (page,) = pypdfium2.PdfDocument(document(delivery))
    found = page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
    images = [(image.get_bounds()[0], np.asarray(image.get_bitmap().to_pil())) for image in found]
    return [pixels for _, pixels in sorted(images, key=lambda pair: pair[0])]


def pictures(delivery) -> list[np.ndarray]:
    return [pixels for pixels in drawn(delivery) if len(pixels) > 1]


def scales(delivery) -> list[np.ndarray]:
    """Colours f32 (n, 3) of each scale, from its lower to its upper end."""
    return [pixels[0].astype(np.float32) for pixels in drawn(delivery) if len(pixels) == 1]


@pytest.fixture
def marked(make):
    """Two marks; the second slice before the last has the highest score."""
    lesion = make.lesion(SHAPE, slices=())
    lesion.activation[1:4, 4:8, 6:12] = 0.6
    lesion.activation[2, 5, 7] = 0.8
    lesion.activation[3, 15, 20] = 0.75
    lesion.scores[:, 0] = (0.1, 0.6, 0.7, 0.9, 0.2)
    quality = Quality(verdict=Verdict.TRUSTED, acceleration=4.0, data_residual=0.0123, figures=FIGURES)
    return make.trusted(make.geometry(SHAPE), lesion=lesion, quality=quality)


def test_only_who_asks_gets_one(make):
    assert SiteOptions() == SiteOptions(summary=False)
    assert "summary" not in make.deliver(make.thin()).roles
    assert make.deliver(make.thin(), folder="asked", options=ASKED).roles[-1] == "summary"


def test_it_is_a_pdf_of_the_study_and_no_verified_finding(summed_up, make):
    (dataset,) = summed_up.read("summary")
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (dataset.Modality, dataset.ConversionType) == ("DOC", "WSD")
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert (dataset.BurnedInAnnotation, dataset.VerificationFlag) == ("NO", "UNVERIFIED")
    assert dataset.SeriesDescription == "RESEARCH NOT VALIDATED Summary first-light t2 tse tra"
    assert dataset.SeriesNumber == 9010
    assert dataset.SeriesInstanceUID == make.key().series_uid("summary")
    assert dataset.SOPInstanceUID == make.key().uid("summary", 1)
    assert dataset.PatientName == "Phantom^Lesion"
    assert (dataset.ContentDate, dataset.ContentTime) == ("20261122", "235958.123456")
    assert document(summed_up).startswith(b"%PDF-")
    assert document(summed_up).rstrip().endswith(b"%%EOF")


def test_it_refers_to_what_it_shows(summed_up):
    (dataset,) = summed_up.read("summary")
    referred = [item.ReferencedSOPInstanceUID for item in dataset.SourceInstanceSequence]
    second = [summed_up.read(role)[1] for role in ("lf-mri", "reference")]
    whole = [summed_up.read(role)[0] for role in ("difference", "map", "segmentation", "report")]
    assert referred == [image.SOPInstanceUID for image in (*second, *whole)]


def test_a_trusted_job_is_told_in_words_and_numbers(make, marked):
    told = words(make.deliver(marked, options=ASKED))
    assert told.startswith("RESEARCH ONLY - NOT FOR DIAGNOSIS NOT VALIDATED: the lesion map")
    assert NO_PATIENT in told
    for text in (
        "TRUSTED: the scan is like those",
        "Protocol t2 tse tra",
        "Field 3 T",
        "Images 5 of 40 x 48, 2-D",
        "acceleration 4 1.5 to 10 0",
        "noise relative to signal 0.08 0 to 0.07 1",
        "calibration lines 16 8 or more 0",
        "up to 0.03 0",
        "2 regions were marked.",
        "1 2-4 instance 3, row 6, column 8",
        "2 4 instance 4, row 16, column 21",
        "gate 0.4, threshold 0.5",
        "Instance 4 of 5: highest score, 0.9",
        f"Weights first-light, SHA-256 {'b2' * 32}",
        "Software lfmri-node 0.1.0",
    ):
        assert text in told, text
    box = 3 * 4 * 6 * 5.5 * 1.25 * 0.75
    assert f"{box:.0f} 0.80 0.90" in told
    assert "FALLBACK" not in told


def test_every_series_is_told_with_its_number_and_the_count_of_its_objects(make, marked):
    delivery = make.deliver(marked, options=ASKED)
    told = words(delivery)
    for role in delivery.roles:
        images = delivery.read(role)
        assert f"{images[0].SeriesNumber} {images[0].SeriesDescription} {len(images)} " in told
    assert "9002 RESEARCH LF-MRI reference first-light t2 tse tra 5 Magnitude image, LF-MRI network" in told


def test_the_pictures_are_those_of_the_slice_with_the_highest_score(make, marked):
    delivery = make.deliver(marked, options=ASKED)
    reference, image, activation, change = pictures(delivery)
    for role, shown in (("reference", reference), ("lf-mri", image)):
        stored = delivery.read(role)[3]
        low = stored.WindowCenter - 0.5 - (stored.WindowWidth - 1) / 2
        expected = np.clip((stored.pixel_array - low) / (stored.WindowWidth - 1), 0, 1) * 255
        assert np.abs(shown.reshape(*SHAPE[1:], -1)[..., 0] - expected).max() <= 0.51
    coloured = (np.abs(activation - image.reshape(*SHAPE[1:], -1).astype(int)) > 1).any(axis=-1)
    np.testing.assert_array_equal(coloured, marked.lesion.activation[3] > 0)
    differs = np.abs(marked.image[3]) - np.abs(marked.reference[3])
    strong = np.abs(differs) > 0.1 * np.abs(differs).max()
    np.testing.assert_array_equal(
        (change[..., 0] > change[..., 2].astype(int))[strong], (differs > 0)[strong]
    )


def test_the_change_has_a_scale_of_the_same_length_to_both_sides_with_its_unit(make, marked):
    delivery = make.deliver(marked, options=ASKED)
    *_, change = pictures(delivery)
    _, scale = scales(delivery)
    middle = len(scale) // 2
    assert not scale[middle].any(), "no change is black, in the middle"
    np.testing.assert_allclose(scale.sum(axis=1), scale[::-1].sum(axis=1), rtol=0.2)
    differs = np.abs(marked.image) - np.abs(marked.reference)
    largest = float(np.abs(differs).max())
    place = np.rint(middle * (1 + differs[3] / largest)).astype(int)
    np.testing.assert_allclose(change, scale[place], atol=255 / middle)
    told = words(delivery)
    assert f"-{largest:.3g} 0, images' unit +{largest:.3g}" in told
    stored = delivery.read("lf-mri")[3]
    unit = stored.RealWorldValueMappingSequence[0].RealWorldValueSlope
    white = (stored.WindowCenter - 0.5 + (stored.WindowWidth - 1) / 2) * unit
    assert f"white of the grey pictures is {white:.3g}" in told


def test_the_map_has_a_scale_from_none_to_full_activation(make, marked):
    delivery = make.deliver(marked, options=ASKED)
    scale, _ = scales(delivery)
    assert len({*scale[0]}) == 1, "below the least activation the image's own grey"
    assert scale[-1][0] > scale[-1][2] + 20
    assert "0 activation 1" in words(delivery)


def test_a_fallback_that_was_computed_too_takes_the_place_of_the_reference(make, marked):
    both = replace(marked, fallback=(2 * marked.image).astype(np.complex64))
    both = replace(both, provenance=replace(both.provenance, fallback=Method.CG_SENSE))
    delivery = make.deliver(both, options=ASKED)
    first, second, *_ = pictures(delivery)
    assert first.astype(int).sum() > second.astype(int).sum()
    assert "Fallback (CG-SENSE), same grey window" in words(delivery)


def test_where_the_lesion_term_changed_nothing_there_is_no_change_to_show(make, marked):
    delivery = make.deliver(replace(marked, reference=marked.image.copy()), options=ASKED)
    assert len(pictures(delivery)) == 2
    assert "The lesion term changed nothing" in words(delivery)


def test_nothing_marked_excludes_nothing(make):
    told = words(make.deliver(make.trusted(lesion=make.lesion((3, 17, 23), slices=())), options=ASKED))
    assert "Nothing was marked; this does not exclude a lesion." in told
    assert "highest activation at" not in told


def test_more_marks_than_there_is_room_for_are_counted(make):
    lesion = make.lesion(SHAPE, slices=())
    lesion.activation[2, 2:38:4, 3:45:6] = 0.9
    lesion.scores[2] = 0.95
    n_marks = int((lesion.activation > 0).sum())
    told = words(make.deliver(make.trusted(make.geometry(SHAPE), lesion=lesion), options=ASKED))
    assert f"{n_marks} regions were marked." in told
    assert f"The {n_marks - 8} smallest stand in the lesion list" in told


def test_a_fallback_says_why_and_shows_its_picture(make):
    untrusted = make.untrusted(Method.WAVELET)
    delivery = make.deliver(untrusted, options=ASKED)
    assert delivery.roles == ["fallback", "summary"]
    told = words(delivery)
    assert "FALLBACK: these are not images of the network" in told
    assert (
        "FALLBACK: the images are a classical reconstruction (Wavelet SENSE), not the network's, because:"
        in told
    )
    assert "LF-QUA-001: acceleration 12 is beyond the trained 8." in told
    assert "LF-QUA-004: noise is four times the trained level (instances 1-3)." in told
    assert "No lesion map was made" in told
    assert "does not exclude a lesion" in told
    assert "No trained weights." in told
    assert "Instance 2 of 3: the middle one" in told
    assert len(pictures(delivery)) == 1
    (dataset,) = delivery.read("summary")
    assert dataset.SeriesDescription == "RESEARCH FALLBACK Summary t2 tse tra"


def test_many_long_reasons_leave_one_page_and_no_code_is_lost_silently(make):
    reasons = [
        Reason(code=f"LF-QUA-{n:03d}", message=f"figure {n} " + "is far from the training data " * 9)
        for n in range(40)
    ]
    told = words(make.deliver(make.untrusted(reasons=reasons), options=ASKED))
    assert all(f"LF-QUA-{n:03d}: figure {n}" in told for n in range(10))
    assert "30 more: all stand in the images' comments." in told
    assert "What each series is" in told


def test_the_pdf_names_no_patient(make, marked):
    who = {
        "PatientName": "Secretname^Given",
        "PatientID": "SECRETID77",
        "PatientBirthDate": "19311224",
        "AccessionNumber": "SECRETACC",
        "ReferringPhysicianName": "Secretdoctor^Rita",
        "InstitutionName": "Secrethospital",
        "StudyDescription": "secretstudy",
        "StudyDate": "20010203",
    }
    delivery = make.deliver(marked, make.context(**who), options=ASKED)
    opened = pypdfium2.PdfDocument(document(delivery))
    told = words(delivery) + str(opened.get_metadata_dict())
    for value in ("secret", "given", "rita", "1931", "2001", "1.2.826.0.1.3680043.8.498"):
        assert value not in told.lower()
    assert b"ecret" not in document(delivery)
    (dataset,) = delivery.read("summary")
    assert dataset.PatientName == "Secretname^Given", "the header says whose it is"


def test_same_input_same_bytes(make, marked):
    first, second = (make.deliver(marked, folder=name, options=ASKED) for name in ("first", "second"))
    assert first.bytes_by_name == second.bytes_by_name


def test_a_protocol_in_another_script_is_told_to_be_incomplete(make):
    named = make.trusted(sequence=SequenceInfo(protocol="T2 Größe 脑"))
    told = words(make.deliver(named, options=ASKED))
    assert "Protocol T2 Größe ?" in told
    assert told.endswith(REPLACED_NOTE)


def test_an_unknown_place_is_told_and_no_side_is_named(make):
    told = words(make.deliver(make.trusted(make.geometry(known=False)), options=ASKED))
    assert "GEOMETRY UNKNOWN" in told
    assert "right side ?, lower side ?" in told


def test_scores_that_are_all_alike_do_not_choose_the_first_slice(make, marked):
    """As in a 3-D volume that was turned: each slice has the score of the whole."""
    lesion = marked.lesion
    alike = replace(lesion, scores=np.full_like(lesion.scores, 0.9))
    assert slice_to_show(replace(marked, lesion=alike)) == 2
    empty = replace(alike, activation=np.zeros_like(lesion.activation))
    assert slice_to_show(replace(marked, lesion=empty)) == 2
    assert slice_to_show(marked) == 3


@pytest.mark.integration
def test_orthanc_takes_it_both_ways_and_shows_the_same_pdf(orthanc, make):
    rest, dimse = make.context(), make.key(repetition=1)
    by_rest = make.deliver(make.thin(), rest, options=ASKED)
    by_dimse = make.deliver(make.thin(), rest, dimse, folder="dimse", options=ASKED)
    server = OrthancDestination(name="orthanc", url=orthanc.url, user="lfmri", password="test")
    peer = DicomDestination(
        name="orthanc",
        host="127.0.0.1",
        port=orthanc.dicom_port,
        ae_title="ORTHANC",
        calling_ae_title="LFNODE",
    )
    for delivery, receipts in (
        (by_rest, list(upload_objects(server, by_rest.objects))),
        (by_dimse, list(send_objects(peer, by_dimse.objects))),
    ):
        assert all(receipt.delivered for receipt in receipts), [receipt.detail for receipt in receipts]
        found = orthanc.client.instances.lookup(delivery.objects[-1].sop_instance_uid)
        shown = orthanc.client.get_binary(f"instances/{found}/pdf")
        assert shown[: len(document(delivery))] == document(delivery)
