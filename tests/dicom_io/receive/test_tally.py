"""What callers can cause without end does not fill the log, nor the memory."""

import threading

import pytest
from peer import associate_request

from lfmri_node.dicom_io.receive import tally as tallies
from lfmri_node.dicom_io.receive.tally import Tally


@pytest.fixture
def lines(caplog):
    """``lines()``: what was logged since the last time."""

    def since() -> list[str]:
        said = [record.getMessage() for record in caplog.records if record.name == tallies.__name__]
        caplog.clear()
        return said

    return since


def test_the_first_is_told_at_once_and_the_others_by_their_number(lines) -> None:
    tally = Tally(quiet_s=3600)
    for _ in range(1000):
        tally.note("LF-NET-001", "rejected", "192.0.2.1", "'X' at 192.0.2.1")
    tally.note("LF-NET-002", "rejected", "192.0.2.1")
    tally.note("LF-NET-001", "rejected", "192.0.2.2")
    assert lines() == [
        "LF-NET-001: rejected: 'X' at 192.0.2.1",
        "LF-NET-002: rejected: 192.0.2.1",
        "LF-NET-001: rejected: 192.0.2.2",
    ]
    tally.tell()
    assert lines() == [], "the minute is not over"
    tally.tell(now=True)
    assert lines() == ["LF-NET-001: rejected: 192.0.2.1, 999 more since"]
    tally.tell(now=True)
    assert lines() == [], "told once"


def test_every_minute_begins_anew(lines) -> None:
    tally = Tally(quiet_s=0)
    for _ in range(2):
        tally.note("LF-NET-001", "rejected", "192.0.2.1")
    assert lines() == ["LF-NET-001: rejected: 192.0.2.1"] * 2


def test_more_addresses_than_anybody_has_are_one(lines) -> None:
    tally = Tally(quiet_s=3600)
    for n in range(100_000):
        tally.note("LF-NET-006", "nobody may call", f"2001:db8::{n:x}")
    assert len(lines()) < 300
    tally.tell(now=True)
    (line,) = lines()
    assert line.startswith("LF-NET-006: nobody may call: further addresses, 99")


def test_nothing_is_lost_between_threads(lines) -> None:
    tally = Tally(quiet_s=3600)

    def note() -> None:
        for _ in range(1000):
            tally.note("LF-NET-001", "rejected", "192.0.2.1")

    threads = [threading.Thread(target=note) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.tell(now=True)
    assert lines() == ["LF-NET-001: rejected: 192.0.2.1", "LF-NET-001: rejected: 192.0.2.1, 7999 more since"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (associate_request(calling=b"STRANGER"), "LF-NET-001"),
        (associate_request(called=b"SOMEBODY"), "LF-NET-003"),
        (b"GET / HTTP/1.1\r\n\r\n", "LF-NET-007"),
    ],
)
def test_who_is_turned_away_again_and_again(start_node, peers, lines, said: bytes, code: str) -> None:
    node = start_node()
    for _ in range(20):
        peer = peers(node.port)
        peer.say(said)
        assert peer.answer()[0] in (0, 3)
    node.listener.stop()
    first, rest = lines()
    assert first.startswith(code)
    assert rest.startswith(code)
    assert rest.endswith("127.0.0.1, 19 more since")
