"""The table of C-STORE statuses: complete, without overlap, and what follows from each."""

import pytest
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from lfmri_node.dicom_io.status import STORAGE_STATUSES, Outcome, Status, meaning_of


def test_ranges_do_not_overlap() -> None:
    codes = [code for row in STORAGE_STATUSES for code in range(row.first, row.last + 1)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("row", STORAGE_STATUSES, ids=lambda row: f"{row.first:04X}")
def test_category_agrees_with_pynetdicom(row) -> None:
    expected = {
        Outcome.STORED: "Success",
        Outcome.STORED_WITH_WARNING: "Warning",
        Outcome.HELD: "Failure",
        Outcome.REFUSED: "Failure",
    }[row.outcome]
    for code in (row.first, row.last):
        assert code in STORAGE_SERVICE_CLASS_STATUS
        assert code_to_category(code) == expected


@pytest.mark.parametrize(
    ("code", "delivered", "transient"),
    [
        (0x0000, True, False),
        (0xB000, True, False),
        (0xB006, True, False),
        (0xB007, True, False),
        (0x0111, True, False),
        (0xA700, False, True),
        (0xA7FF, False, True),
        (0x0213, False, True),
        (0x0110, False, True),
        (0xA900, False, False),
        (0xC000, False, False),
        (0xCFFF, False, False),
        (0x0122, False, False),
        (0x0124, False, False),
        (0x4242, False, True),
    ],
)
def test_what_a_sender_does(code: int, delivered: bool, transient: bool) -> None:
    row = meaning_of(code)
    assert (row.delivered, row.transient) == (delivered, transient)
    assert row.clause


def test_every_status_we_answer_stands_in_the_table() -> None:
    for status in Status:
        assert "PS3." in meaning_of(status).clause
        assert meaning_of(status).delivered == (status is Status.SUCCESS)


def test_one_status_one_cause() -> None:
    assert len({int(status) for status in Status}) == len(Status.__members__)


def test_every_status_says_when_it_is_answered() -> None:
    conditions = [status.condition for status in Status]
    assert len(set(conditions)) == len(conditions)
    assert all(condition[0].isupper() and condition.endswith(".") for condition in conditions)


def test_a_status_is_its_number() -> None:
    assert Status.WRONG_HASH == 0xC104
    assert int(Status.SUCCESS) == 0
