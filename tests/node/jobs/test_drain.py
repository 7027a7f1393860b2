"""What waits inside a service: one after the other, and never past a SIGTERM."""

import threading
from collections.abc import Callable

import pytest

from lfmri_node.node.errors import Drained
from lfmri_node.node.jobs.drain import Drain, Line


def ended_by(action: Callable[[], object]) -> tuple[threading.Thread, list[type[BaseException]]]:
    """A thread that does ``action``, and what it raised, once it has ended."""
    raised: list[type[BaseException]] = []

    def run() -> None:
        try:
            action()
        except Drained as error:
            raised.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_first_come_first_served_but_for_those_who_go_ahead() -> None:
    drain = Drain()
    line = Line(drain)
    served: list[str] = []

    def come(name: str, *, ahead: bool = False) -> None:
        with line.alone(ahead=ahead):
            served.append(name)

    threads = []
    with line.alone():
        for n, (name, ahead) in enumerate([("a", False), ("b", False), ("c", True), ("d", False)]):
            threads.append(threading.Thread(target=come, args=(name,), kwargs={"ahead": ahead}))
            threads[-1].start()
            with drain.changed:
                assert drain.changed.wait_for(lambda n=n: len(line) == n + 2, 10)
        assert served == []
    for thread in threads:
        thread.join()
    assert served == ["c", "a", "b", "d"]


def test_a_drain_sends_home_who_waits_in_line_and_lets_nobody_begin() -> None:
    drain = Drain()
    line = Line(drain)

    def in_line() -> None:
        with line.alone():
            raise AssertionError("it was not its turn")

    with line.alone():
        thread, raised = ended_by(in_line)
        drain.begin()
        thread.join()
        assert raised == [Drained]
    with pytest.raises(Drained), drain.working():
        pass


def test_idle_is_when_the_last_has_ended() -> None:
    drain = Drain()
    with drain.working():
        assert not drain.wait_idle(0.0)
    assert drain.wait_idle(0.0)
