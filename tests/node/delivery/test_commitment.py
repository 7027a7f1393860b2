"""A job is verified when the archive has committed to it, and not before: reports late, failing, never."""

import json
import queue
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StorageCommitmentPushModel as Commitment
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.types import Proof
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger

INSTANCE = "1.2.840.10008.1.20.1.1"


class Archive:
    """Takes everything, and is asked for commitment, or queried; what it says of that is up to the test."""

    def __init__(self, *classes: str, found: Callable[[str], bool] = lambda _uid: True) -> None:
        self.stored: list[str] = []
        self.asked: queue.SimpleQueue[Dataset] = queue.SimpleQueue()
        self.found = found
        entity = AE("ARCHIVE")
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax)
        for sop_class in (Verification, *classes):
            entity.add_supported_context(sop_class)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._action),
            (evt.EVT_C_FIND, self._find),
        ]
        self.entity = entity
        self.port = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers).server_address[
            1
        ]

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event: evt.Event) -> tuple[int, None]:
        self.asked.put(event.action_information)
        return 0x0000, None

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        wanted = event.identifier.SOPInstanceUID
        for uid in [wanted] if isinstance(wanted, str) else wanted:
            if self.found(uid):
                match = Dataset()
                match.SOPInstanceUID = uid
                yield 0xFF00, match


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    with ExitStack() as stack:

        def start(*classes: str, **script: object) -> Archive:
            made = Archive(*classes, **script)
            stack.callback(made.entity.shutdown)
            return made

        yield start


def deliver_to(node, archive: Archive, extra: str) -> None:
    before, after = node.config.read_text().split("[[destinations]]")
    node.config.write_text(
        f"{before}[[destinations]]\nkind = 'dicom'\nname = 'archive'\nhost = '127.0.0.1'\n"
        f"port = {archive.port}\nae_title = 'ARCHIVE'\n{extra}\n[retry]{after.split('[retry]')[1]}"
    )


def report(node, request: Dataset, failed: dict[str, int] | None = None, *, calling: str = "ARCHIVE") -> int:
    """Report over an association of the archive's own; the node's answer, -1 where it has none."""
    failed = failed or {}
    information = Dataset()
    information.TransactionUID = request.TransactionUID
    items = list(request.ReferencedSOPSequence)
    for item in items:
        if item.ReferencedSOPInstanceUID in failed:
            item.FailureReason = failed[item.ReferencedSOPInstanceUID]
    information.ReferencedSOPSequence = [item for item in items if "FailureReason" not in item]
    if failed:
        information.FailedSOPSequence = [item for item in items if "FailureReason" in item]
    entity = AE(calling)
    entity.add_requested_context(Commitment)
    association = entity.associate("127.0.0.1", node.port, ae_title="LFMRI")
    if not association.is_established:
        return -1
    answer, _ = association.send_n_event_report(information, 2 if failed else 1, Commitment, INSTANCE)
    association.release()
    return int(answer.Status) if "Status" in answer else -1


def proofs(node, job) -> set[tuple[bool, bool | None, Proof]]:
    receipts = [stored.receipt for stored in Ledger(node.layout.job_table).receipts(job.key)]
    return {(r.delivered, r.verified, r.proof) for r in receipts}


def note(node, job) -> str:
    (shipment,) = Ledger(node.layout.job_table).shipments(job.key)
    return shipment.note


def test_committed_only_after_the_report_also_across_a_kill(node, archive, make_scan) -> None:
    there = archive(Commitment)
    deliver_to(node, there, "commitment = true")
    node.start()
    node.send(make_scan(n_slices=1))
    request = there.asked.get(timeout=120)
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].next_try_at is not None)
    assert (job.stage, job.finished_at, job.failure) == (Stage.ENCODED, None, None)
    assert proofs(node, job) == {(True, None, Proof.NONE)}
    assert "waits for the report" in note(node, job)
    assert report(node, request, calling="GATEWAY") == -1, "a gateway may not report"
    assert report(node, request, calling="STRANGER") == -1
    node.kill()
    node.start()
    stranger = Dataset()
    stranger.TransactionUID, stranger.ReferencedSOPSequence = "1.2.3", request.ReferencedSOPSequence
    assert report(node, stranger) == 0x0115, "a transaction of nobody"
    assert node.jobs()[0].finished_at is None
    assert report(node, request) == 0x0000
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED
    assert proofs(node, job) == {(True, True, Proof.COMMITMENT)}
    assert note(node, job) == "committed"
    assert len(there.stored) == len(set(there.stored)), "nothing was sent twice"
    assert report(node, request) == 0x0000, "a report that comes again is no failure"


def test_what_the_archive_has_lost_is_sent_again_and_asked_for_anew(node, archive, make_scan) -> None:
    there = archive(Commitment)
    deliver_to(node, there, "commitment = true")
    node.start()
    node.send(make_scan())
    first = there.asked.get(timeout=120)
    lost, busy = (item.ReferencedSOPInstanceUID for item in list(first.ReferencedSOPSequence)[:2])
    assert report(node, first, {lost: 0x0112, busy: 0x0213}) == 0x0000
    second = there.asked.get(timeout=120)
    assert second.TransactionUID != first.TransactionUID
    assert {item.ReferencedSOPInstanceUID for item in second.ReferencedSOPSequence} == {lost, busy}
    assert (there.stored.count(lost), there.stored.count(busy)) == (2, 1)
    assert report(node, second) == 0x0000
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED


def test_what_it_will_never_keep_goes_into_quarantine(node, archive, make_scan) -> None:
    there = archive(Commitment)
    deliver_to(node, there, "commitment = true")
    node.start()
    node.send(make_scan(n_slices=1))
    request = there.asked.get(timeout=120)
    refused = request.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert report(node, request, {refused: 0x0122}) == 0x0000
    (job,) = node.wait_for(lambda jobs: jobs[0].stage is Stage.QUARANTINED)
    assert job.failure.code == "LF-DEL-003"
    assert "0x0122" in job.failure.message


def test_silence_is_asked_again_and_a_late_report_is_believed(node, archive, make_scan) -> None:
    there = archive(Commitment)
    deliver_to(node, there, "commitment = true\ncommitment_wait_s = 0.5")
    node.start()
    node.send(make_scan(n_slices=1))
    first, second = there.asked.get(timeout=120), there.asked.get(timeout=120)
    assert first.TransactionUID != second.TransactionUID
    (job,) = node.wait_for(lambda jobs: jobs[0].failure is not None)
    assert job.failure.code == "LF-DEL-006"
    assert report(node, first) == 0x0000
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED
    assert len(there.stored) == len(set(there.stored))


def test_a_clock_that_was_set_back_since_the_request_delays_no_other_request(
    node, archive, make_scan
) -> None:
    """As if it had been asked tomorrow: nobody waits until then, and the new request counts."""
    there = archive(Commitment)
    deliver_to(node, there, "commitment = true\ncommitment_wait_s = 60")
    node.start()
    node.send(make_scan(n_slices=1))
    there.asked.get(timeout=120)
    node.kill()
    while not there.asked.empty():
        there.asked.get()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with closing(sqlite3.connect(node.layout.state / "node.sqlite")) as table, table:
        assert table.execute("UPDATE transactions SET asked_at=?", (tomorrow,)).rowcount > 0
    node.start()
    request = there.asked.get(timeout=120)
    item = request.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert report(node, request, {item: 0x0110}) == 0x0000
    node.wait_line("code=LF-DEL-007")
    assert report(node, there.asked.get(timeout=120)) == 0x0000
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED


def test_where_commitment_is_not_offered_the_job_is_sent_and_says_why(node, archive, make_scan) -> None:
    there = archive()
    deliver_to(node, there, "commitment = true")
    node.start()
    node.send(make_scan(n_slices=1))
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert proofs(node, job) == {(True, None, Proof.NONE)}
    assert "no storage commitment there" in note(node, job)


def test_where_commitment_is_not_offered_a_query_tells(node, archive, make_scan) -> None:
    """What its index does not list at first is asked for again, then sent again."""
    missing: list[str] = []

    def found(uid: str) -> bool:
        if not missing:
            missing.append(uid)
        return uid != missing[0] or there.stored.count(uid) > 1

    there = archive(Find, found=found)
    deliver_to(node, there, "commitment = true\nverify = 'query'")
    node.start()
    node.send(make_scan(n_slices=1))
    (job,) = node.wait_finished()
    assert job.stage is Stage.VERIFIED
    assert proofs(node, job) == {(True, True, Proof.QUERY)}
    assert {uid: there.stored.count(uid) for uid in missing} == {missing[0]: 2}
    assert note(node, job) == "found"
    (path,) = node.layout.audit.glob("audit-*.jsonl")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    queries = [each for each in told if each["event"]["meaning"] == "Query"]
    assert {(each["outcome"], each["participants"][1]["ae_title"]) for each in queries} == {(0, "ARCHIVE")}
