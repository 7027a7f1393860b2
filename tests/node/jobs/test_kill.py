"""kill -9 at every place of a job's life: after a restart it goes on, finishes once, doubles nothing."""

import threading

import pytest

from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.worker.task import ANSWER, CALIBRATION, RECONSTRUCTION

ALL = [Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT]
PLACES = [
    f"{operation}.{moment}"
    for operation in ("decode", "calibrate", "reconstruct", "encode")
    for moment in ("before", "after")
]


class Sending(threading.Thread):
    """A gateway that sends while the test goes on; keeps what it was told."""

    def __init__(self, node, scan) -> None:
        super().__init__()
        self._node, self._scan = node, scan
        self.refusal: NodeError | None = None

    def run(self) -> None:
        try:
            self._node.send(self._scan)
        except NodeError as error:
            self.refusal = error


def results(node) -> dict[str, tuple[int, int]]:
    """Every durable result of the job: name -> (inode, time of the last change)."""
    found = {}
    for pattern in (f"work/*/{CALIBRATION}", f"work/*/{RECONSTRUCTION}/{ANSWER}", f"objects/*/{ANSWER}"):
        for path in node.layout.root.glob(pattern):
            found[path.name if CALIBRATION in path.name else str(path)] = (
                path.stat().st_ino,
                path.stat().st_mtime_ns,
            )
    return found


def test_one_job_killed_at_every_place_finishes_once(node, pacs, make_scan) -> None:
    hold = node.hold(PLACES[0])
    node.start()
    node.send(make_scan())
    durable: dict[str, tuple[int, int]] = {}
    for n, place in enumerate(PLACES):
        hold.wait()
        node.kill()
        hold.remove()
        now_there = results(node)
        assert {name: now_there[name] for name in durable} == durable, f"repeated before {place}"
        durable = now_there
        if n + 1 < len(PLACES):
            hold = node.hold(PLACES[n + 1])
        node.start()
    (job,) = node.wait_finished()
    assert results(node).items() <= durable.items()  # the objects are those of before the last kill
    assert node.done_stages(job) == ALL
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 3


@pytest.mark.parametrize("place", ["received.before", "received.after"])
def test_killed_while_a_measurement_is_taken_in(node, pacs, make_scan, place: str) -> None:
    """The file is in the spool, the sender has no answer: one job, also when the sender repeats."""
    scan = make_scan()
    hold = node.hold(place)
    node.start()
    sending = Sending(node, scan)
    sending.start()
    hold.wait()
    assert len(node.jobs()) == (0 if place == "received.before" else 1)
    node.kill()
    hold.remove()
    sending.join()
    assert sending.refusal is not None
    node.start()
    node.wait_finished()
    node.send(scan)
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert [item.stores for item in pacs.instances()] == [1] * 3


def test_killed_between_two_objects_of_a_delivery(node, pacs, make_scan) -> None:
    """What was acknowledged is not sent again; what was on its way may be, with the same bytes."""
    second_is_there, go_on = threading.Event(), threading.Event()

    def answer(_uid: str) -> int:
        if len(pacs.instances()) == 2 and not second_is_there.is_set():
            second_is_there.set()
            go_on.wait()
        return 0x0000

    pacs.before_answer = answer
    node.start()
    node.send(make_scan())
    assert second_is_there.wait(60)
    node.kill()
    go_on.set()
    (job,) = node.jobs()
    assert job.stage is Stage.ENCODED
    assert [s.receipt.delivered for s in Ledger(node.layout.job_table).receipts(job.key)] == [True]
    node.start()
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0), (2, 0), (1, 0)]
