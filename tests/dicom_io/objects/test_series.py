"""The whole delivery: which objects, what they are called, the same bytes for the same input."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.recon.types import Method, Reason, SequenceInfo


def test_a_trusted_job_has_all_roles_in_order(delivered):
    assert delivered.roles == ["lf-mri", "reference", "difference", "map", "segmentation", "fused", "report"]
    names = [path.name for path in delivered.files()]
    assert names == [
        *(f"lf-mri-{n:04d}.dcm" for n in (1, 2, 3)),
        *(f"reference-{n:04d}.dcm" for n in (1, 2, 3)),
        "difference-0001.dcm",
        "map-0001.dcm",
        "segmentation-0001.dcm",
        *(f"fused-{n:04d}.dcm" for n in (1, 2, 3)),
        "report-0001.dcm",
    ]
    assert sorted(names) == sorted(path.name for path in delivered.folder.iterdir())


def test_each_entry_describes_its_file(delivered, make):
    key = make.key()
    for entry, dataset in zip(delivered.objects, delivered.read(), strict=True):
        assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
        assert entry.sop_class_uid == dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID
        assert entry.sop_instance_uid == dataset.SOPInstanceUID == key.uid(entry.role, dataset.InstanceNumber)
        assert entry.series_instance_uid == dataset.SeriesInstanceUID == key.series_uid(entry.role)


def test_series_have_numbers_and_descriptions_of_their_own(make):
    delivery = make.deliver(make.trusted(), options=SiteOptions(first_series_number=500))
    series = {(d.SeriesNumber, d.SeriesDescription, d.SeriesInstanceUID) for d in delivery.read()}
    assert sorted((number, text) for number, text, _ in series) == [
        (500, "RESEARCH LF-MRI first-light t2 tse tra"),
        (501, "RESEARCH LF-MRI reference first-light t2 tse tra"),
        (502, "RESEARCH LF-MRI change first-light t2 tse tra"),
        (503, "RESEARCH NOT VALIDATED Activation map first-light t2 tse tra"),
        (504, "RESEARCH NOT VALIDATED Activation SEG first-light t2 tse tra"),
        (505, "RESEARCH NOT VALIDATED Activation fused first-light t2 tse tra"),
        (506, "RESEARCH NOT VALIDATED Lesion list first-light t2 tse tra"),
    ]
    assert len({uid for _, _, uid in series}) == 7


def test_what_restricts_the_use_is_never_cut(make):
    key = make.key(contrast=12, repetition=345)
    sequence = SequenceInfo(protocol="a protocol whose name is far longer than any series description")
    trusted = make.trusted(make.geometry(known=False), sequence=sequence)
    for role in ("lf-mri", "map", "report"):
        for dataset in make.deliver(trusted, key=key).read(role):
            assert len(dataset.SeriesDescription) <= 64
            assert dataset.SeriesDescription.startswith("RESEARCH ")
            assert ("NOT VALIDATED" in dataset.SeriesDescription) is (role != "lf-mri")
            assert "GEOMETRY UNKNOWN C12R345" in dataset.SeriesDescription


def test_re_runs_with_other_weights_have_other_names(make):
    trusted = make.trusted()
    other = replace(trusted.provenance, weights_name="second-light")
    for first, second in zip(
        make.deliver(trusted, folder="first").read(),
        make.deliver(replace(trusted, provenance=other), key=make.key(weights_sha256="c3" * 32)).read(),
        strict=True,
    ):
        assert first.SeriesDescription != second.SeriesDescription


@pytest.mark.parametrize(
    ("source", "contrast", "repetition", "expected"),
    [("7", 0, 0, 7000), ("7", 1, 2, 7120), (None, 0, 0, 9001), ("0", 0, 1, 9011), ("-3", 0, 0, 9001)],
)
def test_series_numbers_derive_from_the_series_of_the_source(make, source, contrast, repetition, expected):
    context = make.context(**({} if source is None else {"SeriesNumber": source}))
    key = make.key(contrast=contrast, repetition=repetition)
    delivery = make.deliver(make.thin(), context, key)
    numbers = [int(delivery.read(role)[0].SeriesNumber) for role in delivery.roles]
    assert numbers == list(range(expected, expected + 7))


def test_a_protocol_that_only_the_source_object_names_is_told(make):
    unnamed = make.trusted(make.geometry((1, 9, 11)), sequence=SequenceInfo())
    (image,) = make.deliver(unnamed, make.context(SeriesDescription="pd sag knee")).read("lf-mri")
    assert image.SeriesDescription.endswith(" pd sag knee")


def test_what_changed_nothing_is_not_sent_twice(make):
    trusted = make.trusted()
    delivery = make.deliver(replace(trusted, reference=trusted.image.copy()))
    assert delivery.roles == ["lf-mri", "map", "segmentation", "fused", "report"]
    for image in delivery.read("lf-mri"):
        assert "The lesion term changed nothing" in image.ImageComments
    assert "changed nothing" not in make.deliver(trusted, folder="other").read("lf-mri")[0].ImageComments


@pytest.mark.parametrize(
    ("method", "name"), [(Method.WAVELET, "Wavelet SENSE"), (Method.CG_SENSE, "CG-SENSE")]
)
def test_a_fallback_is_one_image_series_that_says_why(make, method, name):
    delivery = make.deliver(make.untrusted(method))
    assert delivery.roles == ["fallback"]
    for image in delivery.read():
        assert image.SeriesDescription == f"RESEARCH FALLBACK {name} t2 tse tra"
        for text in (image.ImageComments, image.DerivationDescription):
            assert "FALLBACK: LF-QUA-001, LF-QUA-004." in text
            assert "LF-QUA-001: acceleration 12 is beyond the trained 8." in text
            assert "LF-QUA-004: noise is four times the trained level (instances 1-3)." in text
        assert "LF-MRI" not in image.SeriesDescription
        node = image.ContributingEquipmentSequence[1]
        assert f"Reconstruction by {name}; no trained weights" in node.ContributionDescription


def test_a_fallback_says_why_it_is_by_its_method(make):
    why = "squared error over energy, estimated on samples left out: wavelet 0.2, cg-sense 0.1"
    untrusted = make.untrusted(Method.CG_SENSE)
    judged = replace(untrusted, provenance=replace(untrusted.provenance, choice=why))
    assert f"Method of the fallback: {why}." in make.deliver(judged).read()[0].ImageComments


def test_an_accelerator_is_named_and_that_its_memory_ran_out(make):
    done = make.thin()
    notes = ("cuda (X) ran out of memory with 4 slices at a time; 2 from there on",)
    named = replace(done, provenance=replace(done.provenance, device="cuda (X)", device_notes=notes))
    comments = make.deliver(named).read("lf-mri")[0].ImageComments
    assert f"Computed on cuda (X). {notes[0]}." in comments
    assert "omputed on" not in make.deliver(done, folder="other").read("lf-mri")[0].ImageComments


def test_a_fallback_that_was_set_says_nothing_of_a_choice(make):
    untrusted = make.untrusted(Method.CG_SENSE)
    assert "Method of the fallback" not in make.deliver(untrusted).read()[0].ImageComments


def test_many_reasons_are_cut_to_the_vr_and_no_code_is_lost(make):
    reasons = [
        Reason(code=f"LF-QUA-{n:03d}", message=f"figure {n} " + "is far from the training data " * 9)
        for n in range(40)
    ]
    image = make.deliver(make.untrusted(reasons=reasons)).read()[0]
    assert len(image.DerivationDescription) <= 1024
    assert len(image.ImageComments) <= 10240
    for reason in reasons:
        assert reason.code in image.DerivationDescription
        assert reason.code in image.ImageComments


def test_an_untrusted_image_of_the_network_is_refused(make):
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.untrusted(Method.LF_MRI))
    assert refused.value.code == "LF-OBJ-007"
    assert not make.folder.joinpath("out").exists()


def test_a_map_without_the_network_is_refused(make):
    trusted = make.trusted()
    other = type(trusted.provenance)(
        method=Method.CG_SENSE, software_version="0.1.0", source_sha256="a1" * 32, settings=""
    )
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.trusted(provenance=other, reference=None))
    assert refused.value.code == "LF-OBJ-008"


def test_a_map_of_another_size_is_refused(make):
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.trusted(lesion=make.lesion((3, 17, 22))))
    assert refused.value.code == "LF-OBJ-009"


def test_a_method_that_the_site_asked_for_is_no_fallback_and_no_lf_mri(make):
    untrusted = make.untrusted(Method.CG_SENSE)
    asked = make.trusted(lesion=None, reference=None, provenance=untrusted.provenance)
    delivery = make.deliver(asked)
    assert delivery.roles == ["fallback"]
    assert {image.SeriesDescription for image in delivery.read()} == {"RESEARCH CG-SENSE t2 tse tra"}


def test_same_input_same_bytes(make):
    first = make.deliver(make.trusted(), folder="first")
    second = make.deliver(make.trusted(), folder="second")
    assert first.bytes_by_name == second.bytes_by_name


def test_every_date_and_time_is_that_of_the_job_or_of_the_source(delivered, elements):
    job = {"20261122", "235958.123456", "20261122235958.123456+0100"}
    source = {"19700101", "20260304", "101112"}
    for dataset in delivered.read():
        found = {str(e.value) for e in elements(dataset) if e.VR in ("DA", "TM", "DT") and not e.is_empty}
        assert found <= job | source
        assert job <= found
        assert (dataset.ContentDate, dataset.SeriesDate, dataset.InstanceCreationDate) == ("20261122",) * 3


def test_every_uid_is_derived_from_the_key_or_comes_from_the_source(delivered, make, elements):
    again = make.deliver(make.trusted(), key=make.key(repetition=1))
    fixed = ("1.2.840.10008.", "1.2.826.0.1.3680043.")
    for first, second in zip(delivered.read(), again.read(), strict=True):
        ours, theirs = (
            [str(e.value) for e in elements(d) if e.VR == "UI" and not str(e.value).startswith(fixed)]
            for d in (first, second)
        )
        assert len(ours) == len(theirs) > 1
        assert set(ours) & set(theirs) <= {name_uid("device", "1")}


def test_times_are_in_the_zone_of_the_source(make):
    delivery = make.deliver(make.thin(), make.context(TimezoneOffsetFromUTC="-0500"))
    for dataset in delivery.read():
        assert dataset.TimezoneOffsetFromUTC == "-0500"
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261122", "175958.123456")
    midnight = datetime(2026, 1, 1, 4, 30, tzinfo=UTC)
    moved = make.deliver(
        make.thin(), make.context(TimezoneOffsetFromUTC="-0500"), folder="moved", created_at=midnight
    )
    assert {d.SeriesDate for d in moved.read()} == {"20251231"}


def test_no_clock_is_asked_when_objects_are_made(make):
    """A scan that came in before the clock was set back, or from east of the node, is later than now."""
    later = datetime.now(UTC) + timedelta(days=2)
    east = make.context(TimezoneOffsetFromUTC="+1400")
    for folder, context, created_at in (("later", None, later), ("east", east, datetime.now(UTC))):
        delivery = make.deliver(make.trusted(), context, folder=folder, created_at=created_at)
        assert "report" in delivery.roles
        moment = created_at if context is None else created_at + timedelta(hours=14)
        for dataset in delivery.read():
            for name in ("Series", "Content", "InstanceCreation"):
                assert dataset[f"{name}Date"].value == moment.strftime("%Y%m%d")
                assert dataset[f"{name}Time"].value == moment.strftime("%H%M%S.%f")


@pytest.mark.parametrize("offset", ["", "+9900", "0100", "+01:00"])
def test_an_illegal_time_zone_of_the_source_is_left_out(make, offset):
    for dataset in make.deliver(make.thin(), make.context(TimezoneOffsetFromUTC=offset)).read():
        assert "TimezoneOffsetFromUTC" not in dataset
        assert dataset.ContentTime == "235958.123456"


def test_a_time_without_zone_is_refused(make):
    with pytest.raises(ValueError, match="time zone"):
        make.deliver(make.trusted(), created_at=datetime(2026, 1, 1))


def test_a_second_run_keeps_the_files_of_the_first(make):
    first = make.deliver(make.trusted())
    marks = {path: path.stat().st_ino for path in first.files()}
    first.files("map")[0].unlink()
    second = make.deliver(make.trusted())
    assert second.objects == first.objects
    assert first.files("map")[0].exists()
    kept = [path for path in second.files() if path != first.files("map")[0]]
    assert {path: path.stat().st_ino for path in kept} == {path: marks[path] for path in kept}


def test_other_bytes_under_the_same_uid_are_refused_and_nothing_changes(make):
    first = make.deliver(make.trusted())
    before = first.bytes_by_name
    with pytest.raises(ObjectError) as refused:
        make.deliver(make.trusted(), make.context(PatientWeight="80"))
    assert refused.value.code == "LF-OBJ-006"
    assert first.bytes_by_name == before
    assert sorted(before) == sorted(path.name for path in first.folder.iterdir())
