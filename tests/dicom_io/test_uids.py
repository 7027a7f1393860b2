"""The job key and the UIDs that follow from it: frozen vectors, sensitivity to every field."""

import hashlib
import json
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom.uid import UID

from lfmri_node.dicom_io.uids import JobKey, name_uid

KEY = JobKey(
    payload_sha256="a" * 64,
    patient_id="LF-0001",
    issuer_of_patient_id="HOSPITAL",
    study_instance_uid="1.2.3.4",
    contrast=1,
    repetition=2,
    settings="method=lf-mri;lesion=focused",
    weights_sha256="b" * 64,
)
# Recorded once. A change of any of these orphans the objects that stand in PACS already.
HEX = "36ec43b85fc8a944030e423c5588ef7d0084be80bf500988cf2a30ebc683b4ea"
FIRST_IMAGE = "2.25.123340191307237489595752264877963794551"
SECOND_IMAGE = "2.25.109393626708189366893540479534068398720"
SERIES = "2.25.96831211575285354641082370845754550949"

digests = st.binary(max_size=8).map(lambda b: hashlib.sha256(b).hexdigest())
texts = st.text(max_size=12)
keys = st.builds(
    JobKey,
    payload_sha256=digests,
    patient_id=texts,
    issuer_of_patient_id=texts,
    study_instance_uid=texts,
    contrast=st.integers(0, 99),
    repetition=st.integers(0, 99),
    settings=texts,
    weights_sha256=st.one_of(st.just(""), digests),
)


def test_frozen_vectors() -> None:
    assert KEY.hex == HEX
    assert KEY.uid("lf-mri", 0) == FIRST_IMAGE
    assert KEY.uid("lf-mri", 1) == SECOND_IMAGE
    assert KEY.series_uid("lf-mri") == SERIES


def test_first_vector_by_hand() -> None:
    """SHA-256 over the JSON array, then RFC 4122 section 4.3, without our code and without uuid."""
    parts = ["a" * 64, "LF-0001", "HOSPITAL", "1.2.3.4", 1, 2, "method=lf-mri;lesion=focused", "b" * 64]
    key = hashlib.sha256(json.dumps(["lfmri-node job key 2", *parts]).encode()).hexdigest()
    assert key == HEX
    number = int(FIRST_IMAGE.removeprefix("2.25."))
    assert (number >> 76) & 0xF == 5, "version 5: name-based, SHA-1"
    assert (number >> 62) & 0b11 == 0b10, "the variant of RFC 4122"


@given(key=keys, other=keys)
def test_a_change_of_any_field_changes_every_uid(key: JobKey, other: JobKey) -> None:
    for field in fields(JobKey):
        value = getattr(other, field.name)
        if value == getattr(key, field.name):
            continue
        changed = replace(key, **{field.name: value})
        assert changed.hex != key.hex
        assert changed.uid("map") != key.uid("map")
        assert changed.series_uid("map") != key.series_uid("map")


@given(key=keys, text=texts, cut=st.integers(0, 12))
def test_neighbouring_fields_cannot_bleed_into_one_another(key: JobKey, text: str, cut: int) -> None:
    whole = replace(key, patient_id=text, issuer_of_patient_id="")
    parted = replace(key, patient_id=text[:cut], issuer_of_patient_id=text[cut:])
    assume(whole != parted)
    assert whole.hex != parted.hex


@given(key=keys, role=texts, index=st.integers(0, 10_000))
def test_uids_are_valid_and_apart(key: JobKey, role: str, index: int) -> None:
    found = [key.uid(role, index), key.uid(role, index + 1), key.uid(role + "x", index), key.series_uid(role)]
    assert len(set(found)) == 4
    for uid in found:
        assert UID(uid).is_valid
        assert len(uid) <= 64


def test_number_and_text_are_different_names() -> None:
    assert name_uid("part", 1) != name_uid("part", "1")
    assert name_uid("a", "bc") != name_uid("ab", "c")


def test_the_key_does_not_print_the_patient() -> None:
    assert "LF-0001" not in repr(KEY)
    assert "HOSPITAL" not in repr(KEY)
    assert "1.2.3.4" not in repr(KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"payload_sha256": "A" * 64},
        {"payload_sha256": "a" * 63},
        {"payload_sha256": "a" * 64 + "\n"},
        {"weights_sha256": "none"},
        {"contrast": -1},
        {"repetition": -1},
    ],
)
def test_a_malformed_key_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change)).split("_")[0]):
        replace(KEY, **change)
