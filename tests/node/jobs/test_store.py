"""The job table: what is written is there after a crash, and what it says follows the job's life."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.database import PostgresTable, Table
from lfmri_node.node.jobs.job import Failure, Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.sqlite import SqliteDatabase
from lfmri_node.node.jobs.store import ScanFound, Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
PARENT, CHILD, SIBLING = "aa" * 32, "bb" * 32, "cc" * 32
FAILURE = Failure(code="LF-X-001", message="a", hint="b", transient=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "sqlite":
        return tmp_path / "state" / "node.sqlite"
    cluster = request.getfixturevalue("postgres")
    name = tmp_path.name
    cluster.database(name)
    return PostgresTable(url=cluster.url(name, password=PASSWORD), root=tmp_path)


@pytest.fixture
def store(table: Table) -> Iterator[Store]:
    with closing(Store(table)) as opened:
        yield opened


def received(store: Store, key: str = PARENT) -> Job:
    for part in ("one", "two"):
        (store_root(store) / "spool").mkdir(exist_ok=True)
        (store_root(store) / "spool" / f"{part}.dcm").touch()
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
    store.begin(PARENT, Stage.DECODED)
    scans = [
        ScanFound(key=CHILD, contrast=0, repetition=0),
        ScanFound(key=SIBLING, contrast=1, repetition=0),
    ]
    return store.split(PARENT, scans, seconds=0.5, learned={"n_slices": 3})[0]


def encoded(store: Store, destinations: tuple[str, ...] = ("pacs",)) -> list[EncodedObject]:
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
        store.begin(CHILD, stage)
        store.finish(CHILD, stage, seconds=1.0)
    store.begin(CHILD, Stage.ENCODED)
    store.encoded(CHILD, objects, destinations, seconds=1.0)
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
    assert [work.id for work in store.works()] == [f"compute:{CHILD}", f"compute:{SIBLING}"]
    assert store.sources(SIBLING) == store.sources(PARENT)
    assert store.job(CHILD).summary == {"n_slices": 3}
    assert store.job(CHILD).recipe == {"recon": 1}


def test_everything_survives_reopening(store: Store, table: Table) -> None:
    encoded(store)
    store.add_receipt(CHILD, receipt("2.25.1", delivered=True))
    store.ship(CHILD, "pacs", FAILURE, 9.0, seconds=1.0)
    before = (store.jobs(), store.objects(CHILD), store.receipts(CHILD), store.timings(CHILD))
    store.close()
    again = Ledger(table)
    assert (again.jobs(), again.objects(CHILD), again.receipts(CHILD), again.timings(CHILD)) == before
    (shipment,) = again.shipments(CHILD)
    assert (shipment.tries, shipment.failure, shipment.finished_at) == (1, FAILURE, None)
    job = again.job(CHILD)
    assert (job.attempts, job.failure, job.next_try_at) == (1, FAILURE, shipment.next_try_at)


def test_a_row_is_on_the_disk_before_it_is_promised(store: Store) -> None:
    """The database syncs at every commit: success is answered to a gateway on the strength of it."""
    if isinstance(store._connection, SqliteDatabase):
        assert store._connection.execute("PRAGMA synchronous")[0]["synchronous"] == 2  # FULL
    else:
        assert store._connection.execute("SHOW synchronous_commit")[0]["synchronous_commit"] == "on"


def test_reading_while_another_connection_writes(store: Store, table: Table) -> None:
    received(store)
    reader = Ledger(table)
    store.begin(PARENT, Stage.DECODED)
    assert reader.job(PARENT).running is Stage.DECODED
    with pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM jobs")


def test_failed_tries_count_and_say_when_the_next_is_due(store: Store) -> None:
    received(store)
    assert store.begin(PARENT, Stage.DECODED).running is Stage.DECODED
    for n in (1, 2):
        job = store.postpone(PARENT, FAILURE, 9.0)
        assert (job.attempts, job.running) == (n, None)
        assert job.next_try_at == job.updated_at + timedelta(seconds=9)
        store.begin(PARENT, Stage.DECODED)
    assert [t.outcome for t in store.timings(PARENT)] == ["LF-X-001", "LF-X-001", None]


def test_only_a_worker_that_ended_while_the_node_lived_counts_against_a_job(store: Store) -> None:
    """A node that was killed leaves a try without an outcome; one that drained gives it back."""
    received(store)
    for _ in range(5):
        store.begin(PARENT, Stage.DECODED)
        store.forget_running()
        store.begin(PARENT, Stage.DECODED)
        store.give_back(PARENT)
    assert store.crashes(PARENT, Stage.DECODED) == 0
    assert store.job(PARENT).attempts == 0
    for code in ("LF-JOB-011", "LF-JOB-012"):
        store.begin(PARENT, Stage.DECODED)
        store.postpone(PARENT, replace(FAILURE, code=code), 0.1)
    assert store.crashes(PARENT, Stage.DECODED) == 2
    store.retry(PARENT)
    assert store.crashes(PARENT, Stage.DECODED) == 0


def test_a_job_is_over_when_every_destination_is(store: Store) -> None:
    objects = encoded(store, ("one", "two"))
    assert [work.id for work in store.works(CHILD)] == [f"deliver:{CHILD}:one", f"deliver:{CHILD}:two"]
    store.begin(CHILD, Stage.SENT, "one")
    store.begin(CHILD, Stage.SENT, "two")
    assert store.ship(CHILD, "one", None, None, seconds=1.0).stage is Stage.ENCODED
    assert [work.id for work in store.works(CHILD)] == [f"deliver:{CHILD}:two"]
    job = store.ship(CHILD, "two", None, None, seconds=2.0)
    assert (job.stage, job.finished_at is not None) == (Stage.SENT, True)
    assert [(t.destination, t.outcome, t.seconds) for t in store.timings(CHILD)][-2:] == [
        ("one", "done", 1.0),
        ("two", "done", 2.0),
    ]
    assert store.works(CHILD) == []
    assert len(objects) == 3


def test_verified_needs_every_object_at_every_destination(store: Store) -> None:
    for item in encoded(store):
        store.add_receipt(CHILD, receipt(item.sop_instance_uid, delivered=True, verified=True))
    assert store.ship(CHILD, "pacs", None, None, seconds=1.0).stage is Stage.VERIFIED


def test_a_refusal_waits_for_the_other_destinations_and_a_retry_opens_it_alone(store: Store) -> None:
    encoded(store, ("one", "two"))
    final = replace(FAILURE, transient=False)
    job = store.ship(CHILD, "one", final, None, seconds=1.0)
    assert (job.stage, job.failure) == (Stage.ENCODED, final)
    job = store.ship(CHILD, "two", None, None, seconds=1.0)
    assert (job.stage, job.resume, job.failure) == (Stage.QUARANTINED, Stage.ENCODED, final)
    assert store.works(CHILD) == []
    assert store.retry(CHILD).stage is Stage.ENCODED
    assert [work.id for work in store.works(CHILD)] == [f"deliver:{CHILD}:one"]


def test_destinations_that_come_and_go_with_the_configuration(store: Store) -> None:
    encoded(store, ("old", "kept"))
    store.set_destinations(lambda _job: ["kept", "new"])
    assert [item.destination for item in store.shipments(CHILD)] == ["kept", "new"]
    store.ship(CHILD, "kept", None, None, seconds=1.0)
    store.set_destinations(lambda _job: ["kept"])
    assert store.job(CHILD).stage is Stage.SENT
    store.set_destinations(lambda _job: [])
    assert [item.destination for item in store.shipments(CHILD)] == ["kept"]


def test_without_destinations_nothing_is_left_after_encoding(store: Store) -> None:
    encoded(store, ())
    assert (store.job(CHILD).stage, store.works(CHILD)) == (Stage.ENCODED, [])
    assert store.job(CHILD).finished_at is not None


def test_made_again_once_for_all_who_found_the_damage(store: Store) -> None:
    objects = encoded(store)
    assert store.make_again(CHILD)
    assert not store.make_again(CHILD)
    assert (store.job(CHILD).stage, store.objects(CHILD)) == (Stage.DECODED, [])
    assert [work.id for work in store.works(CHILD)] == [f"compute:{CHILD}"]
    for stage in (Stage.CALIBRATED, Stage.RECONSTRUCTED):
        store.finish(CHILD, stage, seconds=1.0)
    store.encoded(CHILD, objects, ("pacs",), seconds=1.0)
    assert store.objects(CHILD) == objects


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
    store.begin(PARENT, Stage.DECODED)
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
        store.finish(PARENT, Stage.SENT, seconds=1.0)
    assert store.job(PARENT).stage is Stage.RECEIVED
    store.begin(PARENT, Stage.DECODED)  # the connection is usable: no transaction was left open


def test_names_are_prefixes_and_must_be_unique(store: Store) -> None:
    received(store)
    received(store, "ab" * 32)
    assert store.job("aaa").key == PARENT
    for name in ("a", "f"):
        with pytest.raises(JobError) as caught:
            store.job(name)
        assert caught.value.code == "LF-JOB-005"


def test_no_table_and_a_table_of_another_version(tmp_path: Path, store: Store, table: Table) -> None:
    with pytest.raises(JobError) as caught:
        Ledger(tmp_path / "state" / "absent.sqlite")
    assert caught.value.code == "LF-JOB-003"
    store._connection.set_version(99)
    store.close()
    for opened in (Ledger, Store):
        with pytest.raises(JobError) as caught:
            opened(table)
        assert caught.value.code == "LF-JOB-004"
