"""The way into work: open while the service runs, closed while it drains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lfmri_node.node.errors import Drained


class Gate:
    """Lets stages begin until the service drains; tells when the last one has ended.

    Attributes
    ----------
    grace_over
        Set when the stages still inside are to stop where they are.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False
        self.grace_over = False

    @property
    def closed(self) -> bool:
        return self._closed

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside for the length of a stage.

        Raises
        ------
        Drained
            The gate is closed.
        """
        with self._changed:
            if self._closed:
                raise Drained
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let no further stage begin."""
        with self._changed:
            self._closed = True

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until nobody is inside; False where the time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout_s)
