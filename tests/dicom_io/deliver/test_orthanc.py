"""Delivery through Orthanc's REST API: a real Orthanc, and a scripted HTTP server for what it never does."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from scripted_web import Said, answering

from lfmri_node.dicom_io.deliver.orthanc import OrthancDestination, reach, upload_objects
from lfmri_node.dicom_io.types import EncodedObject


@pytest.fixture
def destination(orthanc) -> OrthancDestination:
    return OrthancDestination(name="orthanc", url=orthanc.url, user="lfmri", password="test")


@pytest.mark.integration
def test_uploaded_and_read_back(orthanc, destination, make_image) -> None:
    objects = [make_image(300 + n) for n in range(3)]
    receipts = list(upload_objects(destination, objects))
    assert [(r.delivered, r.verified, r.transient) for r in receipts] == [(True, True, False)] * 3
    assert [r.sop_instance_uid for r in receipts] == [item.sop_instance_uid for item in objects]
    assert {r.dimse_status for r in receipts} == {None}
    for item in objects:
        found = orthanc.client.instances.lookup(item.sop_instance_uid)
        assert orthanc.client.instances.get_file(found) == item.path.read_bytes()


@pytest.mark.integration
def test_uploading_again_changes_nothing(orthanc, destination, make_image) -> None:
    item = make_image(310)
    before = orthanc.client.get_statistics().instances_count
    receipts = [*upload_objects(destination, [item]), *upload_objects(destination, [item])]
    assert [(r.delivered, r.verified) for r in receipts] == [(True, True)] * 2
    assert orthanc.client.get_statistics().instances_count == before + 1


@pytest.mark.integration
def test_a_wrong_password_is_permanent(destination, make_image) -> None:
    (receipt,) = upload_objects(replace(destination, password="wrong"), [make_image(320)])
    assert (receipt.delivered, receipt.verified, receipt.transient) == (False, None, False)
    assert "401" in receipt.detail
    assert "401" in reach(replace(destination, password="wrong"))
    assert reach(destination) is None


@pytest.mark.integration
def test_a_file_that_orthanc_cannot_read_is_permanent(destination, make_image) -> None:
    item = make_image(330)
    item.path.write_bytes(b"damaged")
    (receipt,) = upload_objects(destination, [item])
    assert (receipt.delivered, receipt.transient) == (False, False)
    assert "400" in receipt.detail


@pytest.mark.integration
def test_what_orthanc_holds_is_compared(destination, make_image) -> None:
    """The file on disk has changed since it was encoded: its recorded hash no longer fits."""
    item = make_image(340)
    dataset = pydicom.dcmread(item.path)
    dataset.InstanceNumber = 999
    dataset.save_as(item.path)
    (receipt,) = upload_objects(destination, [item])
    assert (receipt.delivered, receipt.verified, receipt.transient) == (False, False, False)


def test_nobody_listens_is_transient(make_image, free_port: int) -> None:
    there = OrthancDestination(name="orthanc", url=f"http://127.0.0.1:{free_port}")
    receipts = list(upload_objects(there, [make_image(1), make_image(2)]))
    assert [(r.delivered, r.verified, r.transient) for r in receipts] == [(False, None, True)] * 2
    assert reach(there) is not None


@pytest.fixture
def scripted() -> Iterator[Callable[..., OrthancDestination]]:
    """``scripted(post=, get=)``: an HTTP server that answers so; None cuts the connection."""
    with ExitStack() as stack:

        def start(*, post: Said, get: Said = None) -> OrthancDestination:
            url = stack.enter_context(answering(lambda asked: post if asked.method == "POST" else get))
            return OrthancDestination(name="orthanc", url=url, timeout_s=5)

        yield start


ID = "-".join(["0123abcd"] * 5)
STORED = json.dumps({"ID": ID, "Status": "Success"}).encode()
KEPT = json.dumps({"ID": ID, "Status": "AlreadyStored"}).encode()
OTHER = bytes(128) + b"DICM" + b"other bytes"
PAGE = b"<!DOCTYPE html><html><body>Log in, SECRET</body></html>"


@pytest.mark.parametrize(
    ("post", "get", "expected"),
    [
        ((500, b"{}"), None, (False, None, True)),
        ((507, b"{}"), None, (False, None, True)),
        ((404, b"{}"), None, (False, None, False)),
        ((413, b"{}"), None, (False, None, False)),
        ((200, b'{"Status": "FilteredOut"}'), None, (False, None, False)),
        (None, None, (False, None, True)),
        ((200, STORED), (500, b"{}"), (False, None, True)),
        ((200, STORED), None, (False, None, True)),
        ((200, STORED), (200, OTHER), (False, False, False)),
        ((200, KEPT), (200, OTHER), (False, False, False)),
    ],
)
def test_classification(
    scripted, make_image, post: Said, get: Said, expected: tuple[bool, bool | None, bool]
) -> None:
    """Never "delivered" before the copy has been read back and compared."""
    (receipt,) = upload_objects(scripted(post=post, get=get), [make_image(1)])
    assert (receipt.delivered, receipt.verified, receipt.transient) == expected
    assert receipt.detail


@pytest.mark.parametrize(
    ("post", "get"),
    [
        ((200, PAGE), None),
        ((200, b""), None),
        ((200, b"\xff\xfe"), None),
        ((200, b"[" * 100_000), None),
        ((200, b'["SECRET"]'), None),
        ((200, b'"SECRET"'), None),
        ((200, b'{"Status": "Success"}'), None),
        ((200, b'{"Status": "Success", "ID": 7}'), None),
        ((200, b'{"Status": "Success", "ID": "../../SECRET"}'), None),
        ((200, b'{"Status": ["SECRET"]}'), None),
        ((409, PAGE), None),
        ((409, b"5"), None),
        ((500, b'["SECRET"]'), None),
        ((500, b'"SECRET"'), None),
        ((200, STORED), (200, PAGE)),
        ((200, STORED), (200, b"")),
        ((200, STORED), (500, b'"SECRET"')),
    ],
)
def test_what_is_not_orthanc_gets_a_receipt_and_another_try(
    scripted, make_image, post: Said, get: Said
) -> None:
    """A proxy's login page answers 200 as well; every try ends with a receipt that quotes nothing."""
    (receipt,) = upload_objects(scripted(post=post, get=get), [make_image(1)])
    assert (receipt.delivered, receipt.verified, receipt.transient) == (False, None, True)
    assert receipt.detail
    assert "SECRET" not in receipt.detail


def test_a_status_that_orthanc_does_not_have_is_not_quoted(scripted, make_image) -> None:
    (receipt,) = upload_objects(scripted(post=(200, b'{"Status": "SECRET"}')), [make_image(1)])
    assert (receipt.delivered, receipt.transient) == (False, True)
    assert "SECRET" not in receipt.detail


@pytest.mark.parametrize("answer", [PAGE, b"[]", b"{}", b"", b'{"Version": ""}'])
def test_what_is_not_orthanc_is_not_reached(scripted, answer: bytes) -> None:
    assert reach(scripted(post=None, get=(200, answer))) is not None


def test_orthanc_is_reached(scripted) -> None:
    assert reach(scripted(post=None, get=(200, b'{"ApiVersion": 18, "Version": "1.12.0"}'))) is None


def test_a_password_that_no_header_can_carry_is_a_receipt(scripted, make_image) -> None:
    there = replace(scripted(post=(200, STORED)), user="lfmri", password="\u65e5\u672c")
    (receipt,) = upload_objects(there, [make_image(1)])
    assert (receipt.delivered, receipt.verified) == (False, None)
    assert reach(there) is not None


def test_the_password_is_not_printed() -> None:
    assert "secret" not in repr(OrthancDestination(name="o", url="http://x", user="u", password="secret"))


def test_a_missing_file_is_an_error_of_ours(scripted, make_image, tmp_path: Path) -> None:
    item = replace(make_image(1), path=tmp_path / "gone.dcm")
    with pytest.raises(FileNotFoundError):
        list(upload_objects(scripted(post=(200, STORED)), [item]))


def test_an_earlier_making_of_the_same_object_is_good(scripted, make_image) -> None:
    """A scan that is sent again to a node without memory: the same UIDs, another time of creation."""

    def made(time: str, number: int) -> EncodedObject:
        item = make_image(350)
        dataset = pydicom.dcmread(item.path)
        dataset.InstanceCreationTime, dataset.InstanceNumber = time, number
        dataset.save_as(item.path)
        return replace(item, sha256=hashlib.sha256(item.path.read_bytes()).hexdigest())

    first = made("115959.123456", 1).path.read_bytes()
    there = scripted(post=(200, KEPT), get=(200, first))
    (again,) = upload_objects(there, [made("120000.654321", 1)])
    (other,) = upload_objects(there, [made("120000.654321", 2)])
    assert (again.delivered, again.verified) == (True, True)
    assert (other.delivered, other.verified) == (False, False)
    assert "earlier" in again.detail
