"""The job table's side of proofs: whose report counts, what it changes, and when patience ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.types import CommitmentReport, DeliveryReceipt, EncodedObject
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.backoff import Patience
from lfmri_node.node.config import from_document
from lfmri_node.node.delivery.proof import Proofs, Prover
from lfmri_node.node.jobs.job import Failure, Stage
from lfmri_node.node.jobs.store import ScanFound, Store

PARENT, KEY = "a" * 64, "b" * 64
A, B, C = "1.2.1", "1.2.2", "1.2.3"
FAILURE = Failure(code="LF-DEL-001", message="m", hint="h", transient=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A job with three objects, each of which both destinations have taken."""
    part = tmp_path / "spool" / "part.dcm"
    part.parent.mkdir()
    part.touch()
    made = Store(tmp_path / "state" / "node.sqlite")
    made.add_measurement(
        key=PARENT,
        source_sha256=PARENT,
        calling_ae="GATEWAY",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        recipe={},
        parts=[part],
    )
    made.split(PARENT, [ScanFound(key=KEY, contrast=0, repetition=0)], seconds=0.1, learned={})
    for stage in (Stage.CALIBRATED, Stage.RECONSTRUCTED):
        made.finish(KEY, stage, seconds=0.1)
    objects = [
        EncodedObject(
            path=tmp_path / "objects" / f"{uid}.dcm",
            sha256="c" * 64,
            role="lf-mri",
            sop_class_uid="1.2.3.4",
            sop_instance_uid=uid,
            series_instance_uid="1.2",
        )
        for uid in (A, B, C)
    ]
    made.encoded(KEY, objects, ("archive", "other"), seconds=0.1)
    for destination in ("archive", "other"):
        for uid in (A, B, C):
            made.add_receipt(KEY, taken(uid, destination))
    yield made
    made.close()


def taken(uid: str, destination: str) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=uid,
        destination=destination,
        dimse_status=0,
        delivered=True,
        verified=None,
        detail="0x0000 stored",
        answered_at=datetime.now(UTC),
    )


def report(uid: str, committed: set[str], failed: dict[str, int] | None = None) -> CommitmentReport:
    return CommitmentReport(transaction_uid=uid, committed=frozenset(committed), failed=failed or {})


def known(store: Store, destination: str = "archive") -> list[tuple[bool, bool | None]]:
    return [(s.receipt.delivered, s.receipt.verified) for s in store.receipts(KEY, destination)]


def test_a_report_counts_from_the_destination_that_was_asked(store: Store) -> None:
    store.open_transaction(KEY, "archive", "2.25.1")
    assert store.note_report(("other",), report("2.25.1", {A, B, C})) is None
    assert store.note_report(("archive",), report("2.25.2", {A, B, C})) is None
    assert known(store) == [(True, None)] * 3
    assert store.note_report(("archive",), report("2.25.1", {A, B, C, "9.9.9"})) == KEY
    assert known(store) == [(True, True)] * 3
    assert known(store, "other") == [(True, None)] * 3


def test_each_failure_has_its_consequence_and_what_is_not_named_stays_open(store: Store) -> None:
    store.open_transaction(KEY, "archive", "2.25.1")
    store.note_report(("archive",), report("2.25.1", set(), {A: 0x0112, B: 0x0119}))
    assert known(store) == [(False, None), (True, False), (True, None)]
    assert [item.sop_instance_uid for item in store.missing(KEY, "archive")] == [A, B]


def test_a_late_report_of_a_closed_transaction_is_believed(store: Store) -> None:
    store.open_transaction(KEY, "archive", "2.25.1")
    store.close_transactions(KEY, "archive")
    assert store.transaction(KEY, "archive") is None
    assert store.note_report(("archive",), report("2.25.1", {A})) == KEY
    assert known(store) == [(True, True), (True, None), (True, None)]


def test_the_latest_transaction_is_waited_for(store: Store) -> None:
    for uid in ("2.25.1", "2.25.2"):
        store.open_transaction(KEY, "archive", uid)
    latest = store.transaction(KEY, "archive")
    assert latest is not None
    assert (latest.uid, latest.answered) == ("2.25.2", False)


def test_a_report_that_came_before_the_wait_was_recorded_ends_it(store: Store) -> None:
    def waits() -> bool:
        shipment = next(s for s in store.shipments(KEY) if s.destination == "archive")
        return shipment.next_try_at is not None

    store.open_transaction(KEY, "archive", "2.25.1")
    store.ship(KEY, "archive", None, 3600.0, seconds=0.1, note="waits")
    assert waits()
    store.note_report(("archive",), report("2.25.1", {A, B, C}))
    assert not waits()
    store.ship(KEY, "archive", None, 3600.0, seconds=0.1, note="waits")
    assert not waits()


def test_how_long_a_delivery_fails_is_counted_from_its_first_failure(store: Store) -> None:
    def since() -> datetime | None:
        return next(s.failing_since for s in store.shipments(KEY) if s.destination == "archive")

    assert since() is None
    store.ship(KEY, "archive", FAILURE, 1.0, seconds=0.1)
    first = since()
    assert first is not None
    store.ship(KEY, "archive", FAILURE, 1.0, seconds=0.1)
    assert since() == first
    store.ship(KEY, "archive", None, 60.0, seconds=0.1, note="waits")
    assert since() is None


def test_patience_ends_by_number_or_by_age() -> None:
    ago = datetime.now(UTC) - timedelta(days=3)
    assert not Patience().is_over(1_000_000, ago)
    assert not Patience(max_attempts=5).is_over(4, ago)
    assert Patience(max_attempts=5).is_over(5, None)
    assert Patience(days=2.9).is_over(1, ago)
    assert not Patience(days=3.1).is_over(1_000_000, ago)
    assert not Patience(days=1).is_over(1, None)


class Archive:
    """Is asked for commitment; ``here``: it reports at once, over the same association."""

    wait_s = 3600.0

    def __init__(self) -> None:
        self.here = False
        self.asked: list[tuple[str, bool]] = []

    def ask(self, transaction_uid: str, objects, reported, *, linger: bool) -> Asked:
        self.asked.append((transaction_uid, linger))
        if self.here:
            reported(report(transaction_uid, set(), {A: 0x0213}))
        return Asked(answered=True, detail="0x0000")


def test_an_archive_that_reports_elsewhere_is_not_waited_for_on_the_line(
    store: Store, tmp_path: Path
) -> None:
    """Three in a row; one report over the same association, and it is waited for again."""
    config = from_document({"node": {"data_dir": "data"}}, base=tmp_path, name="test")
    archive, proofs = Archive(), Proofs(store, Auditor(config))

    def once(*, here: bool) -> bool:
        """Ask, have the report, and read it; whether the line was to stay open."""
        archive.here = here
        job = store.find(KEY)
        assert job is not None
        proofs.prove(job, "archive", Prover(commitment=archive), 1)
        uid, linger = archive.asked[-1]
        if not here:
            store.note_report({"archive"}, report(uid, set(), {A: 0x0213}))
        assert proofs.refused(job, "archive") is not None
        return linger

    assert [once(here=False) for _ in range(5)] == [True, True, True, False, False]
    assert [once(here=True), once(here=False), once(here=False)] == [False, True, True]
