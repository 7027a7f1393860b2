"""Storage commitment and query: a scripted archive that answers when and where it likes, and Orthanc."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import StorageCommitmentPushModel as Commitment
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find
from pynetdicom.sop_class import Verification

from lfmri_node.dicom_io.commitment import FAILURE_REASONS, NoReport, Remedy, reason_of
from lfmri_node.dicom_io.deliver.asked import Asked
from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.deliver.proving import ask_for_commitment, look_for
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.types import CommitmentReport
from lfmri_node.dicom_io.uids import fresh_uid

ARCHIVE = AccessPolicy(
    callers=(
        AllowedCaller.of("GATEWAY", ["127.0.0.0/8"]),
        AllowedCaller.of("ARCHIVE", ["127.0.0.1"], reports=True),
    )
)


def to(port: int, **changes: object) -> DicomDestination:
    settings: dict[str, object] = {
        "name": "archive",
        "host": "127.0.0.1",
        "port": port,
        "ae_title": "ARCHIVE",
        "calling_ae_title": "LFNODE",
        "answer_timeout_s": 10,
    }
    return DicomDestination(**(settings | changes))


class Archive:
    """An SCP of storage commitment that answers ``status``, and reports at once over the same association
    where ``report`` makes it one; the queries of a test are answered by ``matches``."""

    def __init__(
        self,
        *,
        status: int = 0x0000,
        report: Callable[[Dataset], tuple[int, Dataset]] | None = None,
        matches: Callable[[Dataset], list[tuple[int, Dataset | None]]] = lambda _: [],
        classes: tuple[str, ...] = (Verification, Commitment, Find),
    ) -> None:
        self.requests: list[Dataset] = []
        self.answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.status, self.report, self.matches = status, report, matches
        entity = AE("ARCHIVE")
        for sop_class in classes:
            entity.add_supported_context(sop_class)
        handlers = [(evt.EVT_N_ACTION, self._asked), (evt.EVT_C_FIND, self._queried)]
        self.entity = entity
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        self.requests.append(event.action_information)
        assert event.action_type == 1
        assert event.request.RequestedSOPInstanceUID == "1.2.840.10008.1.20.1.1"
        if self.report is not None:
            kind, information = self.report(self.requests[-1])
            threading.Timer(0, self._send, (event.assoc, kind, information)).start()
        return self.status, None

    def _send(self, association, kind: int, information: Dataset) -> None:
        answer, _ = association.send_n_event_report(information, kind, Commitment, "1.2.840.10008.1.20.1.1")
        self.answers.put(answer.Status if "Status" in answer else -1)

    def _queried(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.requests.append(event.identifier)
        yield from self.matches(self.requests[-1])


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    with ExitStack() as stack:

        def start(**script: object) -> Archive:
            made = Archive(**script)
            stack.callback(made.entity.shutdown)
            return made

        yield start


def report_on(request: Dataset, failed: dict[str, int] | None = None) -> tuple[int, Dataset]:
    """What an archive says of a request: all committed but for those that failed."""
    failed = failed or {}
    information = Dataset()
    information.TransactionUID = request.TransactionUID
    for item in request.ReferencedSOPSequence:
        if item.ReferencedSOPInstanceUID in failed:
            item.FailureReason = failed[item.ReferencedSOPInstanceUID]
    items = list(request.ReferencedSOPSequence)
    information.ReferencedSOPSequence = [i for i in items if "FailureReason" not in i]
    if failed:
        information.FailedSOPSequence = [i for i in items if "FailureReason" in i]
    return (2 if failed else 1), information


def nobody(report: CommitmentReport) -> None:
    raise AssertionError(f"a report of {report.transaction_uid}")


def test_a_report_over_the_same_association(archive, make_image) -> None:
    objects = [make_image(n) for n in range(3)]
    first, second, third = (item.sop_instance_uid for item in objects)
    there = archive(report=lambda request: report_on(request, {second: 0x0112}))
    reports: list[CommitmentReport] = []
    uid = fresh_uid()
    assert ask_for_commitment(to(there.port), uid, objects, reports.append).answered
    assert reports == [
        CommitmentReport(transaction_uid=uid, committed=frozenset({first, third}), failed={second: 0x0112})
    ]
    assert there.answers.get(timeout=30) == 0x0000
    asked = there.requests[0].ReferencedSOPSequence
    assert [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in asked] == [
        (item.sop_class_uid, item.sop_instance_uid) for item in objects
    ]


def test_a_report_that_cannot_be_recorded_is_answered_as_a_failure(archive, make_image) -> None:
    def cannot(_report: CommitmentReport) -> None:
        raise OSError

    there = archive(report=report_on)
    assert ask_for_commitment(to(there.port), fresh_uid(), [make_image(1)], cannot).answered
    assert there.answers.get(timeout=30) == 0x0110


def test_a_report_that_comes_as_the_association_is_released_hangs_nothing(archive, make_image) -> None:
    there, objects, n = archive(report=report_on), [make_image(1)], 150
    done: list[Asked] = []

    def ask() -> None:
        while len(done) < n:
            done.append(ask_for_commitment(to(there.port), fresh_uid(), objects, lambda _: None))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads meet where they seldom do
    try:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(120)
    finally:
        sys.setswitchinterval(interval)
    assert done == [Asked(answered=True, detail="0x0000")] * n


def test_a_report_before_the_answer_to_its_request(archive, make_image) -> None:
    there = archive()
    reports: list[CommitmentReport] = []
    uid = fresh_uid()

    def report_first(event: evt.Event) -> tuple[int, None]:
        kind, information = report_on(event.action_information)
        sent = threading.Thread(target=there._send, args=(event.assoc, kind, information), daemon=True)
        sent.start()
        sent.join(0.2)  # the answer waits a while; so does the report, which is told after it
        return 0x0000, None

    there.server.bind(evt.EVT_N_ACTION, report_first)
    assert ask_for_commitment(to(there.port), uid, [make_image(1)], reports.append).answered
    assert [report.transaction_uid for report in reports] == [uid]
    assert there.answers.get(timeout=30) == 0x0000


def test_no_report_is_waited_for_without_end(archive, make_image) -> None:
    asked = ask_for_commitment(to(archive().port), fresh_uid(), [make_image(1)], nobody)
    assert asked == Asked(answered=True, detail="0x0000")


@pytest.mark.parametrize(
    ("status", "offered", "transient"),
    [
        (0x0110, True, True),
        (0x0213, True, True),
        (0x0131, True, True),
        (0x0124, True, False),
        (0x0122, False, False),
        (0x0211, False, False),
    ],
)
def test_a_request_that_is_refused(archive, make_image, status: int, offered: bool, transient: bool) -> None:
    there = archive(status=status)
    asked = ask_for_commitment(to(there.port), fresh_uid(), [make_image(1)], nobody)
    assert (asked.answered, asked.offered, asked.transient) == (False, offered, transient)
    assert f"0x{status:04X}" in asked.detail


def test_where_it_is_not_offered_or_nobody_answers(archive, make_image, free_port: int) -> None:
    there = archive(classes=(Verification,))
    for ask in (partial(ask_for_commitment, transaction_uid="1.2.3", reported=nobody), look_for):
        not_offered = ask(to(there.port), objects=[make_image(1)])
        assert (not_offered.answered, not_offered.offered) == (False, False)
        away = ask(to(free_port), objects=[make_image(1)])
        assert (away.answered, away.offered, away.transient) == (False, True, True)


@pytest.fixture
def reported(start_node, associate):
    """``reported(kind, information, calling=)``: what the listener answers, and what it passed on."""

    def send(kind: int, information: Dataset, *, calling: str = "ARCHIVE", on_report=None):
        passed: list[tuple[str, CommitmentReport]] = []
        node = start_node(
            policy=ARCHIVE, on_report=on_report or (lambda caller, report: passed.append((caller, report)))
        )
        association = associate(node.port, calling=calling, classes=(Commitment,), syntax="1.2.840.10008.1.2")
        if not association.is_established:
            return None, passed
        answer, _ = association.send_n_event_report(information, kind, Commitment, "1.2.840.10008.1.20.1.1")
        return (int(answer.Status) if "Status" in answer else -1), passed

    return send


def information(transaction: str = "1.2.3", committed: int = 1) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = []
    for n in range(committed):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2", f"1.2.{n}"
        request.ReferencedSOPSequence.append(item)
    return request


def no_transaction() -> Dataset:
    made = information()
    del made.TransactionUID
    return made


def test_a_report_over_another_association(reported) -> None:
    status, passed = reported(1, information())
    assert status == 0x0000
    assert passed == [
        ("ARCHIVE", CommitmentReport(transaction_uid="1.2.3", committed=frozenset({"1.2.0"}), failed={}))
    ]


def test_thousands_of_instances_are_a_report(reported) -> None:
    status, passed = reported(1, information(committed=3000))
    assert status == 0x0000
    assert len(passed[0][1].committed) == 3000


def test_a_gateway_may_not_report_and_an_archive_may_not_send(reported, start_node, associate) -> None:
    assert reported(1, information(), calling="GATEWAY") == (None, [])
    node = start_node(policy=ARCHIVE, on_report=lambda *_: None)
    assert not associate(node.port, calling="ARCHIVE").is_established
    assert associate(node.port, calling="GATEWAY").is_established


def test_nobody_may_report_where_nothing_takes_it(start_node, associate) -> None:
    node = start_node(policy=ARCHIVE)
    assert not associate(node.port, calling="ARCHIVE", classes=(Commitment,)).is_established


@pytest.mark.parametrize(
    ("kind", "made", "status"),
    [
        (3, information(), 0x0113),
        (1, information(transaction=""), 0x0115),
        (1, no_transaction(), 0x0115),
    ],
)
def test_what_is_no_report_is_answered(reported, kind: int, made: Dataset, status: int) -> None:
    assert reported(kind, made) == (status, [])


def test_what_the_node_says_of_a_report_is_answered(reported) -> None:
    def unknown(_caller: str, _report: CommitmentReport) -> None:
        raise NoReport(0x0115, "no such transaction")

    def fails(_caller: str, _report: CommitmentReport) -> None:
        raise OSError

    assert reported(1, information(), on_report=unknown)[0] == 0x0115
    assert reported(1, information(), on_report=fails)[0] == 0x0110


def test_a_report_without_end_ends_the_association(reported) -> None:
    assert reported(1, information(committed=60_000)) == (-1, [])


def match(uid: str) -> tuple[int, Dataset]:
    found = Dataset()
    found.SOPInstanceUID = uid
    return 0xFF00, found


def test_a_query_finds_what_is_listed(archive, make_image, source) -> None:
    objects = [make_image(n) for n in range(3)]
    held = objects[0].sop_instance_uid
    there = archive(matches=lambda _: [match(held), match("1.2.3.4")])
    asked = look_for(to(there.port), objects)
    assert asked.answered
    assert asked.found & {item.sop_instance_uid for item in objects} == {held}
    (query,) = there.requests
    assert query.QueryRetrieveLevel == "IMAGE"
    assert query.StudyInstanceUID == source["StudyInstanceUID"]
    assert query.SeriesInstanceUID == objects[0].series_instance_uid
    assert list(query.SOPInstanceUID) == [item.sop_instance_uid for item in objects]
    (sent,) = asked.queries
    assert sent.sop_class_uid == "1.2.840.10008.5.1.4.1.2.2.1"
    assert decode(BytesIO(sent.identifier), True, True) == query


@pytest.mark.parametrize(
    ("status", "offered", "transient"), [(0xA700, True, True), (0xA900, False, False), (0xC001, False, False)]
)
def test_a_query_that_fails(archive, make_image, status: int, offered: bool, transient: bool) -> None:
    there = archive(matches=lambda _: [(status, None)])
    asked = look_for(to(there.port), [make_image(1)])
    assert (asked.answered, asked.offered, asked.transient) == (False, offered, transient)


def test_files_that_are_gone_cannot_be_asked_for(archive, make_image) -> None:
    item = make_image(1)
    item.path.unlink()
    assert not look_for(to(archive().port), [item]).offered


def test_every_failure_reason_has_a_remedy() -> None:
    """Those of PS3.3 C.14.1.1; what is in no table may heal."""
    assert {row.code: row.remedy for row in FAILURE_REASONS} == {
        0x0110: Remedy.ASK_AGAIN,
        0x0112: Remedy.SEND_AGAIN,
        0x0119: Remedy.NONE,
        0x0122: Remedy.NONE,
        0x0131: Remedy.ASK_AGAIN,
        0x0213: Remedy.ASK_AGAIN,
    }
    assert reason_of(0x4242).remedy is Remedy.ASK_AGAIN


@pytest.mark.integration
def test_orthanc_commits_to_what_it_has_and_lists_it(orthanc, make_image, start_node) -> None:
    reports: queue.SimpleQueue[tuple[str, CommitmentReport]] = queue.SimpleQueue()
    policy = AccessPolicy(callers=(AllowedCaller.of("ORTHANC", ["127.0.0.1"], reports=True),))
    start_node(
        port=orthanc.report_port,
        policy=policy,
        on_report=lambda caller, report: reports.put((caller, report)),
    )
    objects = [make_image(500 + n) for n in range(3)]
    destination = to(orthanc.dicom_port, ae_title="ORTHANC")
    assert all(receipt.delivered for receipt in send_objects(destination, objects[:2]))
    uid = fresh_uid()
    assert ask_for_commitment(destination, uid, objects, nobody).answered
    caller, report = reports.get(timeout=60)
    first, second, missing = (item.sop_instance_uid for item in objects)
    assert caller == "ORTHANC"
    assert report == CommitmentReport(
        transaction_uid=uid, committed=frozenset({first, second}), failed={missing: 0x0112}
    )
    assert look_for(destination, objects).found == {first, second}
