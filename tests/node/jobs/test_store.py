"""The job table: what is written is there after a crash, and what it says follows the job's life."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.job import Event, Failure, Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import ScanFound, Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
PARENT, CHILD, SIBLING = "aa" * 32, "bb" * 32, "cc" * 32
FAILURE = Failure(code="LF-X-001", message="a", hint="b", transient=True)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "state" / "node.sqlite"


@pytest.fixture
def store(table: Path) -> Store:
    return Store(table)


def received(store: Store, key: str = PARENT) -> Job:
    return store.add_measurement(
        key=key,
        source_sha256="dd" * 32,
        calling_ae="GATEWAY",
        received_at=NOW,
        recipe={"recon": 1},
        parts=[store_root(store) / "spool" / "one.dcm", store_root(store) / "spool" / "two.dcm"],
    )


def store_root(store: Store) -> Path:
    return Path(store._base)


def decoded(store: Store) -> Job:
    received(store)
    store.begin(PARENT, 0, Stage.DECODED)
    scans = [
        ScanFound(key=CHILD, contrast=0, repetition=0),
        ScanFound(key=SIBLING, contrast=1, repetition=0),
    ]
    return store.split(PARENT, scans, seconds=0.5, learned={"n_slices": 3})[0]


def encoded(store: Store) -> list[EncodedObject]:
    decoded(store)
    objects = [
        EncodedObject(
            path=store_root(store) / "objects" / f"{n}.dcm",
            sha256=f"{n}" * 64,
            role="lf-mri",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            sop_instance_uid=f"2.25.{n}",
            series_instance_uid="2.25.99",
        )
        for n in (2, 1, 3)
    ]
    for stage in (Stage.CALIBRATED, Stage.RECONSTRUCTED):
        store.begin(CHILD, 0, stage)
        store.finish(CHILD, Event(stage.value), seconds=1.0)
    store.begin(CHILD, 0, Stage.ENCODED)
    store.finish(CHILD, Event.ENCODED, seconds=1.0, objects=objects)
    return objects


def receipt(uid: str, *, delivered: bool, verified: bool | None = None) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=uid,
        destination="pacs",
        dimse_status=0 if delivered else 0xA700,
        delivered=delivered,
        verified=verified,
        detail="",
        answered_at=NOW,
    )


def test_receiving_twice_makes_one_job(store: Store) -> None:
    assert received(store) == received(store)
    assert len(store.jobs()) == 1
    assert [path.name for path in store.sources(PARENT)] == ["one.dcm", "two.dcm"]


def test_a_measurement_gives_way_to_its_scans(store: Store) -> None:
    decoded(store)
    assert [(job.key, job.contrast, job.stage) for job in store.jobs()] == [
        (CHILD, 0, Stage.DECODED),
        (SIBLING, 1, Stage.DECODED),
    ]
    assert [job.key for job in store.unfinished()] == [CHILD, SIBLING]
    assert store.sources(SIBLING) == store.sources(PARENT)
    assert store.job(CHILD).summary == {"n_slices": 3}
    assert store.job(CHILD).recipe == {"recon": 1}


def test_everything_survives_reopening(store: Store, table: Path) -> None:
    encoded(store)
    store.add_receipt(CHILD, receipt("2.25.1", delivered=True))
    store.postpone(CHILD, FAILURE, NOW + timedelta(seconds=9))
    before = (store.jobs(), store.objects(CHILD), store.receipts(CHILD), store.timings(CHILD))
    store.close()
    again = Ledger(table)
    assert (again.jobs(), again.objects(CHILD), again.receipts(CHILD), again.timings(CHILD)) == before
    assert again.job(CHILD).not_before == NOW + timedelta(seconds=9)
    assert again.job(CHILD).failure == FAILURE


def test_reading_while_another_connection_writes(store: Store, table: Path) -> None:
    received(store)
    reader = Ledger(table)
    store.begin(PARENT, 0, Stage.DECODED)
    assert reader.job(PARENT).running is Stage.DECODED
    with pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM jobs")


def test_begin_counts_and_a_stale_workflow_is_turned_away(store: Store) -> None:
    received(store)
    first = store.begin(PARENT, 0, Stage.DECODED)
    assert first is not None
    assert (first.attempts, first.running) == (1, Stage.DECODED)
    store.postpone(PARENT, FAILURE, NOW)
    assert store.begin(PARENT, 0, Stage.DECODED) is None
    second = store.begin(PARENT, 1, Stage.DECODED)
    assert second is not None
    assert second.attempts == 2


def test_deaths_are_tries_that_never_ended(store: Store) -> None:
    received(store)
    store.begin(PARENT, 0, Stage.DECODED)
    assert store.deaths(PARENT, Stage.DECODED) == 1
    store.release(PARENT)
    assert store.deaths(PARENT, Stage.DECODED) == 0
    assert store.job(PARENT).attempts == 0
    store.begin(PARENT, 0, Stage.DECODED)
    store.begin(PARENT, 0, Stage.DECODED)
    assert store.deaths(PARENT, Stage.DECODED) == 2
    store.clear_running()
    store.retry(PARENT)
    assert store.deaths(PARENT, Stage.DECODED) == 0


def test_only_what_is_not_held_is_missing(store: Store) -> None:
    objects = encoded(store)
    assert store.missing(CHILD, "pacs") == objects
    store.add_receipt(CHILD, receipt("2.25.2", delivered=True))
    store.add_receipt(CHILD, receipt("2.25.1", delivered=False))
    store.add_receipt(CHILD, receipt("2.25.3", delivered=True, verified=False))
    assert [item.sop_instance_uid for item in store.missing(CHILD, "pacs")] == ["2.25.1", "2.25.3"]
    assert store.missing(CHILD, "second") == objects
    store.add_receipt(CHILD, receipt("2.25.1", delivered=True))
    assert [item.sop_instance_uid for item in store.missing(CHILD, "pacs")] == ["2.25.3"]
    assert {s.receipt.sop_instance_uid: s.tries for s in store.receipts(CHILD)} == {
        "2.25.2": 1,
        "2.25.1": 2,
        "2.25.3": 1,
    }


def test_retry_forgets_bad_answers_and_keeps_good_ones(store: Store) -> None:
    encoded(store)
    store.add_receipt(CHILD, receipt("2.25.2", delivered=True))
    store.add_receipt(CHILD, receipt("2.25.1", delivered=False))
    store.quarantine(CHILD, FAILURE)
    back = store.retry(CHILD)
    assert back.stage is Stage.ENCODED
    assert [s.receipt.sop_instance_uid for s in store.receipts(CHILD)] == ["2.25.2"]


def test_retry_is_refused_while_running_and_when_finished(store: Store) -> None:
    received(store)
    store.begin(PARENT, 0, Stage.DECODED)
    with pytest.raises(JobError) as caught:
        store.retry(PARENT)
    assert caught.value.code == "LF-JOB-007"
    store.split(PARENT, [ScanFound(key=CHILD, contrast=0, repetition=0)], seconds=0.1, learned={})
    with pytest.raises(JobError) as caught:
        store.retry(PARENT)
    assert caught.value.code == "LF-JOB-006"


def test_a_failed_change_leaves_no_trace(store: Store) -> None:
    received(store)
    with pytest.raises(JobError):
        store.finish(PARENT, Event.SENT, seconds=1.0)
    assert store.job(PARENT).stage is Stage.RECEIVED
    store.begin(PARENT, 0, Stage.DECODED)  # the connection is usable: no transaction was left open


def test_names_are_prefixes_and_must_be_unique(store: Store) -> None:
    received(store)
    received(store, "ab" * 32)
    assert store.job("aaa").key == PARENT
    for name in ("a", "f"):
        with pytest.raises(JobError) as caught:
            store.job(name)
        assert caught.value.code == "LF-JOB-005"


def test_no_table_and_a_table_of_another_version(tmp_path: Path, store: Store, table: Path) -> None:
    with pytest.raises(JobError) as caught:
        Ledger(tmp_path / "state" / "absent.sqlite")
    assert caught.value.code == "LF-JOB-003"
    store._connection.execute("PRAGMA user_version=99")
    store.close()
    for opened in (Ledger, Store):
        with pytest.raises(JobError) as caught:
            opened(table)
        assert caught.value.code == "LF-JOB-004"
