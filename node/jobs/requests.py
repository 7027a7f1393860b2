"""What the engine is to do soon: start a piece of work, or start it again when a wait is over."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from lfmri_node.node.jobs.moves import Pause
from lfmri_node.node.jobs.work import Work

_AGAIN_S, _SHORTEST_S = 0.5, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something the engine is to do soon.

    Parameters
    ----------
    reopened
        The row was closed until now: a workflow that is still there is about to end and does not see
        that it was opened, so its end is waited for.
    broken_off
        The workflow is still called pending, but nobody runs it: its engine could not write.
    pause
        The wait that comes first.
    """

    work: Work
    reopened: bool = False
    broken_off: bool = False
    pause: Pause | None = None


class Requests:
    """One request a work: the latest, and what an earlier one knew of its workflow.

    Any thread may `put`; one thread takes and does them.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._left: dict[Work, Request] = {}

    @property
    def left(self) -> Mapping[Work, Request]:
        """What was taken and is not done."""
        return self._left

    def put(self, request: Request) -> None:
        """Ask for something; never waits."""
        self._asked.put(request)

    def take(self) -> None:
        """Take what was asked for; wait until there is something, a pause is over, or for half a second."""
        with suppress(queue.Empty):
            self._add(self._asked.get(timeout=self._patience_s()))
            while True:
                self._add(self._asked.get_nowait())

    def done(self, do: Callable[[Request], bool]) -> None:
        """Forget those for which ``do`` says that they are done."""
        self._left = {work: request for work, request in self._left.items() if not do(request)}

    def _add(self, request: Request) -> None:
        before = self._left.pop(request.work, request)
        self._left[request.work] = replace(
            request,
            reopened=request.reopened or before.reopened,
            broken_off=request.broken_off or before.broken_off,
        )

    def _patience_s(self) -> float:
        pauses = [request.pause for request in self._left.values() if request.pause is not None]
        return max(_SHORTEST_S, min([*(pause.due - time.monotonic() for pause in pauses), _AGAIN_S]))
