"""The end of a service's life, and what waits inside it: nothing here outlives a SIGTERM."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from lfmri_node.node.errors import Drained


class Drain:
    """Lets work begin until the service drains; tells when the last of it has ended.

    Attributes
    ----------
    grace_over
        Set when the work still under way is to stop where it is.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._under_way = 0
        self._begun = False
        self.grace_over = False

    @property
    def begun(self) -> bool:
        return self._begun

    def begin(self) -> None:
        """Let nothing further begin; whoever waits is sent home."""
        with self.changed:
            self._begun = True
            self.changed.notify_all()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work for the length of the block.

        Raises
        ------
        Drained
            The service drains.
        """
        with self.changed:
            if self._begun:
                raise Drained
            self._under_way += 1
        try:
            yield
        finally:
            with self.changed:
                self._under_way -= 1
                self.changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nobody works; False where the time ran out first."""
        with self.changed:
            return self.changed.wait_for(lambda: self._under_way == 0, timeout_s)


class Line:
    """Lets one after the other have something to itself: first come, first served."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._waiting: deque[object] = deque()

    def __len__(self) -> int:
        """How many have it or wait for it."""
        return len(self._waiting)

    @contextmanager
    def alone(self, *, ahead: bool = False) -> Iterator[None]:
        """Have it for the length of the block; ``ahead`` of all who still wait for it.

        Raises
        ------
        Drained
            The service drains.
        """
        me, changed = object(), self._drain.changed
        with changed:
            self._waiting.insert(min(1, len(self)) if ahead else len(self), me)
            changed.notify_all()
        try:
            with changed:
                changed.wait_for(lambda: self._drain.begun or self._waiting[0] is me)
            if self._drain.begun:
                raise Drained
            yield
        finally:
            with changed:
                self._waiting.remove(me)
                changed.notify_all()
