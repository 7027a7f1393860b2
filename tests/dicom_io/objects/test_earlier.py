"""Objects that are made again say another time of creation, and are recognised by all the rest."""

from dataclasses import replace
from datetime import UTC, datetime

import pydicom
import pytest

from lfmri_node.dicom_io.deliver.earlier import is_earlier_making
from lfmri_node.dicom_io.objects.attributes import SiteOptions

LATER = datetime(2027, 11, 30, 21, 43, 5, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def again(make_once) -> dict:
    """The job of `delivered`, made a second time."""
    made = make_once.deliver(make_once.trusted(), folder="again", created_at=LATER)
    return {item.path.name: item for item in made.objects}


def test_every_kind_of_object_is_known_again(delivered, again) -> None:
    roles = set()
    for path in delivered.files():
        later = again[path.name]
        assert later.path.read_bytes() != path.read_bytes()
        assert is_earlier_making(later, path.read_bytes()), path.name
        roles.add(pydicom.dcmread(path, stop_before_pixels=True).SeriesDescription)
    assert len(roles) > 4


def test_an_object_that_differs_in_anything_else_is_another_one(delivered, again) -> None:
    for path in delivered.files():
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        assert not is_earlier_making(again[path.name], bytes(content))
        assert not is_earlier_making(again[path.name], path.read_bytes() + b"\0\0")


def test_a_file_that_changed_since_it_was_written_is_like_nothing(delivered) -> None:
    first = delivered.objects[0]
    assert is_earlier_making(first, first.path.read_bytes())
    assert not is_earlier_making(replace(first, sha256="0" * 64), first.path.read_bytes())


def test_another_patient_or_another_version_is_another_object(make, again) -> None:
    other = make.deliver(make.trusted(), make.context(PatientID="4712"), created_at=LATER)
    site = make.deliver(make.trusted(), folder="site", options=SiteOptions(device_serial_number="2"))
    for made in (other, site):
        for path in made.files():
            assert not is_earlier_making(again[path.name], path.read_bytes())
