"""Several destinations, each with its own fate; and only what was encoded leaves."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from lfmri_node.node.config import load
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.demo.pacs import dataset_sha256
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.retry import retry_job

ALL = [Stage.DECODED, Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED, Stage.SENT]


@contextmanager
def silent() -> Iterator[tuple[int, threading.Semaphore]]:
    """A PACS that accepts every connection and never says a word; its port, and who has come."""
    connections, came = [], threading.Semaphore(0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return
                came.release()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connections:
            connection.close()


def also_to(node, port: int, name: str = "silent") -> None:
    text = node.config.read_text()
    node.config.write_text(
        f"{text}\n[[destinations]]\nkind = 'dicom'\nname = '{name}'\nhost = '127.0.0.1'\nport = {port}\n"
        "ae_title = 'OTHER'\n"
    )


def test_a_silent_destination_keeps_no_place_from_a_healthy_one_nor_the_node_from_ending(
    node, pacs, make_scan
) -> None:
    """The healthy one gets everything, and SIGTERM is obeyed within drain_s."""
    with silent() as (port, came):
        also_to(node, port)
        node.start()
        scans = [make_scan(f"{n}.h5", seed=n, n_slices=1) for n in range(3)]
        for scan in scans:
            node.send(scan)
        assert came.acquire(timeout=300)
        node.wait_for(lambda jobs: len(jobs) == 3 and len(pacs.instances()) == 3)
        node.process.terminate()
        node.process.wait(timeout=20 + 10)  # drain_s, and room for a busy machine
        assert node.stop_waiting() == 0
    jobs = node.jobs()
    assert [job.stage for job in jobs] == [Stage.ENCODED] * 3
    ledger = Ledger(node.layout.job_table)
    assert [ledger.missing(job.key, "pacs") for job in jobs] == [[]] * 3


def test_a_delivery_that_does_not_move_ends_the_node_and_the_next_start_goes_on(
    node, pacs, make_scan
) -> None:
    """A call that never returns would keep all scans from its destination; here a second is never."""
    node.holds.mkdir(exist_ok=True)
    (node.holds / "stuck").write_text("1")
    with silent() as (port, came):
        also_to(node, port)
        node.start()
        node.send(make_scan())
        assert node.stop_waiting() == 1
        assert came.acquire(timeout=1)
    text = "".join(node.lines)
    assert "LF-JOB-075" in text
    assert "a delivery to 'silent' has not moved for 1 s" in text
    assert "Traceback" not in text
    (node.holds / "stuck").unlink()
    node.start()
    node.wait_for(lambda jobs: len(jobs) == 1 and len(pacs.instances()) == 3)
    (job,) = node.jobs()
    assert Ledger(node.layout.job_table).missing(job.key, "pacs") == []


def waits_for_an_hour(node, pacs, *scans) -> None:
    """Every scan is encoded and waits for a PACS that is down; the next try is an hour away."""
    node.config.write_text(
        node.config.read_text()
        .replace("base_s = 0.3", "base_s = 3600")
        .replace("cap_s = 0.5", "cap_s = 3600")
    )
    pacs.__exit__(None, None, None)
    node.start()
    for scan in scans:
        node.send(scan)
    node.wait_for(
        lambda jobs: len(jobs) == len(scans) and all(job.next_try_at and job.failure for job in jobs)
    )


def test_retry_wakes_what_waits_and_a_destination_that_answers_wakes_the_others(
    node, pacs, make_scan
) -> None:
    waits_for_an_hour(node, pacs, make_scan("a.h5", n_slices=1), make_scan("b.h5", seed=1, n_slices=1))
    with pacs:
        first = node.jobs()[0]
        # The destination is still shut for an hour to everybody but who asks on purpose.
        assert retry_job(load(node.config), first.name) == first.name
        jobs = node.wait_finished(2)
    assert [job.stage for job in jobs] == [Stage.SENT] * 2
    assert [(item.stores, item.conflicts) for item in pacs.instances()] == [(1, 0)] * 2


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone", "foreign"])
def test_objects_that_are_not_what_was_written_are_made_again_and_never_leave(
    node, pacs, make_scan, harm: str
) -> None:
    """A flipped byte, a short file, no file, another scan's file in its place."""
    pacs.__exit__(None, None, None)
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None)
    ledger = Ledger(node.layout.job_table)
    objects = ledger.objects(job.key)
    path, other = objects[0].path, objects[1].path
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"flipped": flipped, "cut": content[:-3000], "foreign": other.read_bytes()}[harm])
    with pacs:
        (job,) = node.wait_finished()
    assert job.summary["made_again"] == 1
    assert [item.sha256 for item in ledger.objects(job.key)] == [item.sha256 for item in objects]
    held = {item.sop_instance_uid: item for item in pacs.instances()}
    for item in ledger.objects(job.key):
        assert held[item.sop_instance_uid].dataset_sha256 == dataset_sha256(item.path)
        assert (held[item.sop_instance_uid].stores, held[item.sop_instance_uid].conflicts) == (1, 0)


def test_objects_that_are_damaged_again_and_again_end_in_quarantine(node, pacs, make_scan) -> None:
    """Whatever changes them has to be found by a person; nothing of it is ever sent."""
    pacs.before_answer = lambda _uid: 0xA700
    node.start()
    node.send(make_scan(n_slices=1))

    def harmed(jobs) -> bool:
        with suppress(FileNotFoundError):  # it is being made again
            for path in node.layout.root.glob("objects/*/*.dcm"):
                path.write_bytes(b"harm")
        return len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED

    (job,) = node.wait_for(harmed)
    assert job.failure.code == "LF-DEL-005"
    assert all(item.conflicts == 0 for item in pacs.instances())


def test_sending_it_again_is_another_try_of_what_is_in_quarantine(node, pacs, make_scan) -> None:
    scan = make_scan()
    pacs.before_answer = lambda _uid: 0xC000
    node.start()
    node.send(scan)
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    pacs.before_answer = lambda _uid: 0x0000
    node.send(scan)
    (job,) = node.wait_finished()
    assert node.done_stages(job) == ALL
    assert job.summary["resent"] == 1
    node.send(scan)
    node.wait_for(lambda jobs: jobs[0].summary["resent"] == 2)
    node.stop()
    told = [line for line in node.lines if " measurement.resent " in line]
    assert [what for line in told for what in ("quarantined", "finished") if f"what={what}" in line] == [
        "quarantined",
        "finished",
    ], "what had become of it when it came again is told"
    assert {item.stores for item in pacs.instances()} == {2}, "one refused, one taken; a finished job stays"


def test_a_destination_that_leaves_the_configuration_is_waited_for_no_longer(node, pacs, make_scan) -> None:
    plain = node.config.read_text()
    also_to(node, 1, "away")
    node.start()
    node.send(make_scan(n_slices=1))
    node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].failure is not None and pacs.instances())
    node.stop()
    node.config.write_text(plain)
    node.start()
    (job,) = node.wait_finished()
    assert job.stage is Stage.SENT
    assert [item.stores for item in pacs.instances()] == [1]


def test_destinations_of_the_same_configuration_are_the_same(node) -> None:
    """So one that stays as it is keeps its way and its wait when the configuration is read again."""
    more = "[[destinations]]\nkind = '{0}'\nname = '{0}'\nurl = 'http://127.0.0.1:1'\n"
    text = node.config.read_text()
    node.config.write_text(text + more.format("orthanc") + more.format("stow") + "verify = 'query'\n")
    before = destinations_of(load(node.config))
    assert destinations_of(load(node.config)) == before
    node.config.write_text(
        node.config.read_text().replace("http://127.0.0.1:1'\nverify", "http://127.0.0.1:2'\nverify")
    )
    assert [one == two for one, two in zip(destinations_of(load(node.config)), before, strict=True)] == [
        True,
        True,
        False,
    ]
